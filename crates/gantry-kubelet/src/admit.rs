//! Whether the node takes a pod: the last check after the scheduler's.

use gantry_api::sysctls::is_safe;
use gantry_client::tolerates;
use k8s_openapi::api::core::v1::{Container, Node, Pod, Taint};

use crate::{
    pod::{self, Qos},
    quantity,
    resize::counted,
};

/// Why the node does not take a pod.
#[derive(Debug, PartialEq, Eq)]
pub struct Rejection {
    pub reason: &'static str,
    pub message: String,
}

fn rejected(reason: &'static str, message: impl Into<String>) -> Result<(), Rejection> {
    Err(Rejection { reason, message: message.into() })
}

/// Why the pod may not run here, or does not fit beside `others`. `pressures`: what the
/// node runs short of, as conditions are called.
pub fn admit(pod: &Pod, node: &Node, others: &[&Pod], pressures: &[&str]) -> Result<(), Rejection> {
    if !stands(pod, pressures) {
        return rejected("Evicted", format!("The node had condition: [{}]. ", pressures.join(" ")));
    }
    let spec = pod::spec(pod);
    if spec.os.as_ref().is_some_and(|os| os.name != "linux") {
        return rejected("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS");
    }
    for sysctl in spec.security_context.iter().flat_map(|s| s.sysctls.iter().flatten()) {
        // The kernel knows both spellings.
        let name = sysctl.name.replace('/', ".");
        if !is_safe(&name, u32::MAX) {
            return rejected("SysctlForbidden", format!("forbidden sysctl: {name:?} not allowlisted"));
        }
        let host = match name.split('.').next() {
            Some("kernel") if spec.host_ipc == Some(true) => "IPC",
            Some("net") if spec.host_network == Some(true) => "Net",
            _ => continue,
        };
        let message = format!("forbidden sysctl: {name:?} not allowed with host {host} enabled");
        return rejected("SysctlForbidden", message);
    }
    fits(pod, node, others)?;
    let labels = node.metadata.labels.clone().unwrap_or_default();
    let selected = spec.node_selector.iter().flatten().all(|(k, v)| labels.get(k) == Some(v));
    if !selected {
        let message = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
        return rejected("NodeAffinity", message);
    }
    let active = others.iter().filter(|p| !pod::is_terminal_phase(p));
    let taken: Vec<_> = active.flat_map(|pod| host_ports(pod)).collect();
    if host_ports(pod).any(|port| taken.iter().any(|other| conflict(port, *other))) {
        let message =
            "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
        return rejected("NodePorts", message);
    }
    Ok(())
}

/// Whether a pod may start on a node under pressure: who is critical may, and short of nothing but memory who
/// asks for resources or tolerates it.
fn stands(pod: &Pod, pressures: &[&str]) -> bool {
    if pressures.is_empty() || pod::is_critical(pod) {
        return true;
    }
    let taint = Taint {
        key: "node.kubernetes.io/memory-pressure".into(),
        effect: "NoSchedule".into(),
        ..Taint::default()
    };
    let tolerated = || pod::spec(pod).tolerations.iter().flatten().any(|each| tolerates(each, &taint));
    pressures == ["MemoryPressure"] && (pod::qos(pod) != Qos::BestEffort || tolerated())
}

/// Whether the node has enough left for the pod beside `others`.
pub fn fits(pod: &Pod, node: &Node, others: &[&Pod]) -> Result<(), Rejection> {
    let allocatable = node.status.as_ref().and_then(|s| s.allocatable.clone()).unwrap_or_default();
    let active: Vec<_> = others.iter().filter(|p| !pod::is_terminal_phase(p)).map(|p| counted(p)).collect();
    let max_pods = allocatable.get("pods").map_or(i64::MAX, quantity::value);
    let out_of = |reason, resource: &str, requested: i64, used: i64, capacity: i64| {
        let message = format!(
            "Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
        );
        rejected(reason, message)
    };
    if active.len() as i64 + 1 > max_pods {
        return out_of("OutOfpods", "pods", 1, active.len() as i64, max_pods);
    }
    for (reason, resource) in
        [("OutOfcpu", "cpu"), ("OutOfmemory", "memory"), ("OutOfephemeral-storage", "ephemeral-storage")]
    {
        let requested = pod::total_request(pod, resource);
        let Some(capacity) = allocatable.get(resource).filter(|_| requested > 0) else { continue };
        let capacity =
            if resource == "cpu" { quantity::cpu_milli(capacity) } else { quantity::value(capacity) };
        let used: i64 = active.iter().map(|p| pod::total_request(p, resource)).sum();
        if requested > capacity - used {
            return out_of(reason, resource, requested, used, capacity);
        }
    }
    Ok(())
}

/// Protocol, address and number of a port of the node.
type HostPort<'a> = (&'a str, &'a str, i32);

/// The ports of the node that a pod takes.
fn host_ports(pod: &Pod) -> impl Iterator<Item = HostPort<'_>> {
    let spec = pod::spec(pod);
    let stays = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten().filter(stays));
    containers.flat_map(|container| container.ports.iter().flatten()).filter_map(|port| {
        let number = port.host_port.filter(|number| *number > 0)?;
        let address = port.host_ip.as_deref().filter(|address| !address.is_empty()).unwrap_or(EVERY);
        Some((port.protocol.as_deref().unwrap_or("TCP"), address, number))
    })
}

/// Every address of the node.
const EVERY: &str = "0.0.0.0";

/// Whether two pods cannot have both.
fn conflict(one: HostPort<'_>, other: HostPort<'_>) -> bool {
    let same_address = one.1 == other.1 || one.1 == EVERY || other.1 == EVERY;
    (one.0, one.2) == (other.0, other.2) && same_address
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_json::json;

    #[test]
    fn rejects_what_does_not_fit() {
        let node: Node = gantry_json::from_value(json!({"metadata": {"labels": {"a": "1"}},
            "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "3"}}}))
        .unwrap();
        let make = |cpu: &str, selector: gantry_json::Value| -> Pod {
            gantry_json::from_value(json!({"spec": {"nodeSelector": selector,
                "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}}))
            .unwrap()
        };
        let other = make("1500m", json!({}));
        for (pod, expect) in [
            (make("500m", json!({"a": "1"})), None),
            (make("501m", json!({})), Some("OutOfcpu")),
            (make("1m", json!({"a": "2"})), Some("NodeAffinity")),
        ] {
            assert_eq!(admit(&pod, &node, &[&other], &[]).err().map(|e| e.reason), expect);
        }
        let with =
            |spec: gantry_json::Value| -> Pod { gantry_json::from_value(json!({"spec": spec})).unwrap() };
        let sysctl = |name: &str| json!({"sysctls": [{"name": name, "value": "1"}]});
        for (spec, expect) in [
            (json!({"containers": [], "securityContext": sysctl("kernel/shm_rmid_forced")}), None),
            (
                json!({"containers": [], "securityContext": sysctl("kernel.msgmax")}),
                Some(("SysctlForbidden", "forbidden sysctl: \"kernel.msgmax\" not allowlisted")),
            ),
            (
                json!({"containers": [], "os": {"name": "windows"}}),
                Some(("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS")),
            ),
        ] {
            let verdict = admit(&with(spec.clone()), &node, &[], &[]).err();
            let expect = expect.map(|(reason, message)| Rejection { reason, message: message.to_owned() });
            assert_eq!(verdict, expect, "{spec}");
        }
        let few = make("0", json!({}));
        assert_eq!(admit(&few, &node, &[&few, &few, &few], &[]).unwrap_err().reason, "OutOfpods");
    }

    #[test]
    fn a_node_under_pressure_takes_few() {
        let make =
            |spec: gantry_json::Value| -> Pod { gantry_json::from_value(json!({"spec": spec})).unwrap() };
        let plain = make(json!({"containers": []}));
        let asks = make(json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "1m"}}}]}));
        let stands = make(json!({"containers": [], "tolerations": [
            {"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"}]}));
        let critical = make(json!({"containers": [], "priority": 2_000_000_000}));
        for (pressures, taken) in [
            (&[][..], [true, true, true, true]),
            (&["MemoryPressure"], [false, true, true, true]),
            (&["DiskPressure"], [false, false, false, true]),
            (&["MemoryPressure", "PIDPressure"], [false, false, false, true]),
        ] {
            let verdicts = [&plain, &asks, &stands, &critical].map(|pod| super::stands(pod, pressures));
            assert_eq!(verdicts, taken, "{pressures:?}");
        }
        let node: Node =
            gantry_json::from_value(json!({"status": {"allocatable": {"cpu": "2", "pods": "3"}}})).unwrap();
        let refused = admit(&plain, &node, &[], &["MemoryPressure", "PIDPressure"]).unwrap_err();
        let message = "The node had condition: [MemoryPressure PIDPressure]. ".to_owned();
        assert_eq!(refused, Rejection { reason: "Evicted", message });
    }

    #[test]
    fn a_port_of_the_node_is_one_pods() {
        let make = |port: gantry_json::Value| -> Pod {
            gantry_json::from_value(json!({"spec": {"containers": [{"name": "c", "ports": [port]}]}}))
                .unwrap()
        };
        let other = make(json!({"containerPort": 80, "hostPort": 8080, "hostIP": "10.0.0.1"}));
        for (port, refused) in [
            (json!({"containerPort": 80}), false),
            (json!({"containerPort": 81, "hostPort": 8080}), true),
            (json!({"containerPort": 81, "hostPort": 8080, "hostIP": "10.0.0.1"}), true),
            (json!({"containerPort": 81, "hostPort": 8080, "hostIP": "10.0.0.2"}), false),
            (json!({"containerPort": 81, "hostPort": 8080, "protocol": "UDP"}), false),
            (json!({"containerPort": 80, "hostPort": 8081}), false),
        ] {
            let verdict =
                admit(&make(port.clone()), &Node::default(), &[&other], &[]).err().map(|why| why.reason);
            assert_eq!(verdict, refused.then_some("NodePorts"), "{port}");
        }
        let mut ended = other.clone();
        ended.status = gantry_json::from_value(json!({"phase": "Succeeded"})).unwrap();
        assert_eq!(admit(&other, &Node::default(), &[&ended], &[]), Ok(()));
    }
}
