//! Values that follow from others or from the Service's earlier state, before anything is allocated.

use gantry_json::{Value, json};

use super::{may_have_node_ports, service_type, strings, text, wants_cluster_ip};

/// Keeps `clusterIP` and `clusterIPs` in step and drops what the type cannot have.
pub(super) fn normalize(service: &mut Value, old: Option<&Value>) {
    if !service["spec"].is_object() {
        service["spec"] = json!({});
    }
    let first = text(service, "/spec/clusterIP").to_owned();
    let all = strings(service, "/spec/clusterIPs");
    match old {
        None if all.is_empty() && !first.is_empty() => service["spec"]["clusterIPs"] = json!([first]),
        None if first.is_empty() && !all.is_empty() => service["spec"]["clusterIP"] = json!(all[0]),
        Some(old) => {
            // A client that knows only the singular field changed or cleared it.
            let singular = text(old, "/spec/clusterIP") != first;
            let plural = strings(old, "/spec/clusterIPs") != all;
            match (singular, plural) {
                (true, false) if first.is_empty() => remove(service, &["clusterIPs"]),
                (true, false) => service["spec"]["clusterIPs"] = json!([first]),
                (false, true) if all.is_empty() => remove(service, &["clusterIP"]),
                (false, true) => service["spec"]["clusterIP"] = json!(all[0]),
                _ => {}
            }
        }
        None => {}
    }
    let became = old.is_some_and(|old| service_type(old) != service_type(service));
    if service_type(service) == "ExternalName" && became {
        remove(
            service,
            &["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"],
        );
    }
    if became && !may_have_node_ports(service) {
        for port in service.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(port) = port.as_object_mut() {
                port.remove("nodePort");
            }
        }
        let outside = service.pointer("/spec/externalIPs").and_then(Value::as_array);
        if outside.is_none_or(|addresses| addresses.is_empty()) {
            remove(service, &["externalTrafficPolicy"]);
        }
    }
    if became && service_type(service) != "LoadBalancer" {
        remove(service, &["healthCheckNodePort", "allocateLoadBalancerNodePorts", "loadBalancerClass"]);
    }
    defaults(service);
}

/// Takes over allocated values that an update left out.
pub(super) fn carry_over(service: &mut Value, old: &Value) {
    if wants_cluster_ip(old) && wants_cluster_ip(service) {
        if text(service, "/spec/clusterIP").is_empty() {
            service["spec"]["clusterIP"] = old["spec"]["clusterIP"].clone();
        }
        if strings(service, "/spec/clusterIPs").is_empty() {
            service["spec"]["clusterIPs"] = old["spec"]["clusterIPs"].clone();
        }
        for field in ["ipFamilies", "ipFamilyPolicy"] {
            if service["spec"].get(field).is_none_or(Value::is_null) {
                service["spec"][field] = old["spec"][field].clone();
            }
        }
    }
    if may_have_node_ports(old) && may_have_node_ports(service) {
        let old_ports = old["spec"]["ports"].as_array().cloned().unwrap_or_default();
        let key =
            |port: &Value| (port["port"].clone(), port["protocol"].as_str().unwrap_or("TCP").to_owned());
        let number = |port: &Value| port["nodePort"].as_u64().unwrap_or(0);
        let mut ports = service.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
        let asked: Vec<u64> = ports.iter().flat_map(|ports| ports.iter()).map(number).collect();
        for port in ports.iter_mut().flat_map(|ports| ports.iter_mut()).filter(|port| number(port) == 0) {
            let before = old_ports.iter().find(|before| key(before) == key(port)).map_or(0, number);
            if before != 0 && !asked.contains(&before) {
                port["nodePort"] = json!(before);
            }
        }
    }
    let health = old.pointer("/spec/healthCheckNodePort").cloned();
    let local = text(service, "/spec/externalTrafficPolicy") == "Local";
    if let Some(health) = health
        && service_type(service) == "LoadBalancer"
        && local
        && service["spec"]["healthCheckNodePort"].as_u64().unwrap_or(0) == 0
    {
        service["spec"]["healthCheckNodePort"] = health;
    }
}

/// Defaults that depend on the type or on other fields.
fn defaults(service: &mut Value) {
    let kind = service_type(service).to_owned();
    let spec = &mut service["spec"];
    let absent = |spec: &Value, field: &str| spec.get(field).is_none_or(Value::is_null);
    if spec["sessionAffinity"] == "ClientIP"
        && spec.pointer("/sessionAffinityConfig/clientIP/timeoutSeconds").is_none()
    {
        spec["sessionAffinityConfig"] = json!({"clientIP": {"timeoutSeconds": 10800}});
    }
    if spec["sessionAffinity"] == "None"
        && let Some(spec) = spec.as_object_mut()
    {
        spec.remove("sessionAffinityConfig");
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") && absent(spec, "externalTrafficPolicy") {
        spec["externalTrafficPolicy"] = json!("Cluster");
    }
    if kind != "ExternalName" && absent(spec, "internalTrafficPolicy") {
        spec["internalTrafficPolicy"] = json!("Cluster");
    }
    if kind == "LoadBalancer" && absent(spec, "allocateLoadBalancerNodePorts") {
        spec["allocateLoadBalancerNodePorts"] = json!(true);
    }
}

fn remove(service: &mut Value, fields: &[&str]) {
    if let Some(spec) = service["spec"].as_object_mut() {
        for field in fields {
            spec.remove(field);
        }
    }
}
