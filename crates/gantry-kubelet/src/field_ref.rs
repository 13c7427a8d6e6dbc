//! Values of `fieldRef` and `resourceFieldRef`.

use k8s_openapi::{
    api::core::v1::{Container, Pod, ResourceFieldSelector},
    apimachinery::pkg::api::resource::Quantity,
};

use crate::{pod, quantity};

/// What a field reference may need beside the pod itself.
#[derive(Clone, Debug, Default)]
pub struct NodeFacts {
    /// The node's addresses, the primary one first.
    pub host_ips: Vec<String>,
    /// The pod's addresses, the primary one first.
    pub pod_ips: Vec<String>,
    /// Allocatable CPU in millicores: the limit of a container that sets none.
    pub allocatable_cpu_milli: i64,
    /// Allocatable memory in bytes.
    pub allocatable_memory: i64,
    /// Allocatable ephemeral storage in bytes.
    pub allocatable_storage: i64,
}

/// A map of labels or annotations as `key="value"` lines with escaped values.
fn format_map(map: &Option<std::collections::BTreeMap<String, String>>) -> String {
    let lines: Vec<String> = map.iter().flatten().map(|(k, v)| format!("{k}={v:?}")).collect();
    lines.join("\n")
}

/// The value of a pod field for `path`; an error names a path that is not supported.
pub fn field(pod: &Pod, facts: &NodeFacts, path: &str) -> Result<String, String> {
    let meta = &pod.metadata;
    if let Some((prefix, key)) = path.strip_suffix("']").and_then(|p| p.split_once("['")) {
        let map = match prefix {
            "metadata.labels" => &meta.labels,
            "metadata.annotations" => &meta.annotations,
            _ => return Err(format!("fieldPath {path:?} does not support subscript")),
        };
        return Ok(map.as_ref().and_then(|m| m.get(key)).cloned().unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => pod::name(pod).to_string(),
        "metadata.namespace" => pod::namespace(pod).to_string(),
        "metadata.uid" => pod::uid(pod).to_string(),
        "metadata.labels" => format_map(&meta.labels),
        "metadata.annotations" => format_map(&meta.annotations),
        "spec.nodeName" => pod::spec(pod).node_name.clone().unwrap_or_default(),
        "spec.serviceAccountName" => pod::spec(pod).service_account_name.clone().unwrap_or_default(),
        "status.hostIP" => facts.host_ips.first().cloned().unwrap_or_default(),
        "status.hostIPs" => facts.host_ips.join(","),
        "status.podIP" => facts.pod_ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => facts.pod_ips.join(","),
        _ => return Err(format!("unsupported fieldPath: {path}")),
    })
}

/// The value of a container's resource, divided and rounded up. Limits that are not set are the
/// node's allocatable amount.
pub fn resource(
    container: &Container,
    facts: &NodeFacts,
    selector: &ResourceFieldSelector,
) -> Result<String, String> {
    let (kind, name) = selector
        .resource
        .split_once('.')
        .ok_or_else(|| format!("unsupported container resource : {}", selector.resource))?;
    let list = match kind {
        "limits" => pod::limits(&container.resources),
        "requests" => pod::requests(&container.resources),
        _ => return Err(format!("unsupported container resource : {}", selector.resource)),
    };
    let set = list.and_then(|l| l.get(name)).cloned();
    let amount = set.unwrap_or_else(|| match (kind, name) {
        ("limits", "cpu") => quantity::from_cpu_milli(facts.allocatable_cpu_milli),
        ("limits", "memory") => Quantity(facts.allocatable_memory.to_string()),
        ("limits", "ephemeral-storage") => Quantity(facts.allocatable_storage.to_string()),
        _ => Quantity("0".into()),
    });
    let one = Quantity("1".into());
    let divisor = selector.divisor.as_ref().filter(|d| quantity::milli(&d.0) != Some(0)).unwrap_or(&one);
    Ok(quantity::divide(&amount, divisor).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_json::json;

    #[test]
    fn fields() {
        let pod: Pod = gantry_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"a": "1", "b": "x\"y"}},
            "spec": {"nodeName": "node", "serviceAccountName": "sa", "containers": []}}))
        .unwrap();
        let facts = NodeFacts {
            host_ips: vec!["10.0.0.1".into()],
            pod_ips: vec!["10.42.0.5".into(), "fd00::5".into()],
            ..Default::default()
        };
        for (path, expect) in [
            ("metadata.name", Ok("p")),
            ("metadata.labels['a']", Ok("1")),
            ("metadata.labels['z']", Ok("")),
            ("metadata.labels", Ok("a=\"1\"\nb=\"x\\\"y\"")),
            ("status.podIPs", Ok("10.42.0.5,fd00::5")),
            ("status.hostIP", Ok("10.0.0.1")),
            ("status.phase", Err("unsupported fieldPath: status.phase")),
        ] {
            assert_eq!(field(&pod, &facts, path), expect.map(String::from).map_err(String::from), "{path}");
        }
    }

    #[test]
    fn resources_default_to_allocatable() {
        let container: Container =
            gantry_json::from_value(json!({"name": "c", "resources": {"limits": {"memory": "64Mi"}}}))
                .unwrap();
        let facts = NodeFacts { allocatable_cpu_milli: 1900, ..Default::default() };
        for (resource_name, divisor, expect) in [
            ("limits.memory", "1Mi", "64"),
            ("limits.cpu", "1", "2"),
            ("requests.cpu", "1m", "0"),
            ("limits.cpu", "1m", "1900"),
        ] {
            let selector = ResourceFieldSelector {
                resource: resource_name.into(),
                divisor: Some(Quantity(divisor.into())),
                container_name: None,
            };
            assert_eq!(resource(&container, &facts, &selector).unwrap(), expect, "{resource_name}");
        }
    }
}
