//! Service. Addresses and node ports are given by the API server's allocator.

use serde_json::{Value, json};

use super::common::{
    default, dns_label, dns_subdomain, drop_status, items, keep_status, labels, list, object, one_of, port,
    text,
};
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The rules.
pub const RULES: Rules = Rules {
    default: |service| {
        let Some(service) = service.as_object_mut() else { return };
        service.entry("status").or_insert_with(|| json!({"loadBalancer": {}}));
        let spec = object(service, "spec");
        default(spec, "type", "ClusterIP");
        default(spec, "sessionAffinity", "None");
        let kind = spec.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        if spec.get("sessionAffinity").and_then(Value::as_str) == Some("ClientIP") {
            let client = object(object(spec, "sessionAffinityConfig"), "clientIP");
            default(client, "timeoutSeconds", 10800);
        }
        if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
            default(spec, "externalTrafficPolicy", "Cluster");
        }
        if kind == "LoadBalancer" {
            default(spec, "allocateLoadBalancerNodePorts", true);
        }
        if kind != "ExternalName" {
            default(spec, "internalTrafficPolicy", "Cluster");
        }
        for port in items(spec, "ports") {
            default(port, "protocol", "TCP");
            let unset = port.get("targetPort").is_none_or(|target| *target == 0 || *target == "");
            if let Some(number) = port.get("port").cloned().filter(|_| unset) {
                port.insert("targetPort".into(), number);
            }
        }
    },
    prepare_create: |service| {
        drop_status(service);
        service["status"] = json!({"loadBalancer": {}});
    },
    prepare_update: keep_status,
    validate,
    validate_update: |new, old| {
        let mut errors = Vec::new();
        let (spec, before) = (&new["spec"], &old["spec"]);
        let external = [spec, before].iter().any(|spec| text(spec, "type") == "ExternalName");
        let headless = [spec, before].iter().all(|spec| text(spec, "clusterIP") == "None");
        if !external && !headless {
            kept(spec, before, "clusterIPs", "clusterIP", &mut errors);
            kept(spec, before, "ipFamilies", "ipFamily", &mut errors);
        }
        errors
    },
    selectable: |service| {
        vec![
            ("spec.clusterIP", text(&service["spec"], "clusterIP").into()),
            ("spec.type", text(&service["spec"], "type").into()),
        ]
    },
    ..Rules::NONE
};

/// Checks that what was given in a list was not changed; a second one may come and go.
fn kept(spec: &Value, before: &Value, field: &str, one: &str, errors: &mut Vec<FieldError>) {
    let path = Path::new("spec").child(field);
    let (new, old) = (list(spec, field), list(before, field));
    let shown = || Value::Array(new.to_vec());
    if new.is_empty() && !old.is_empty() {
        let detail = format!("primary {one} can not be unset");
        errors.push(FieldError::invalid(&path.index(0), shown(), detail));
    }
    for (at, _) in new.iter().zip(old).enumerate().filter(|(_, (new, old))| new != old) {
        errors.push(FieldError::invalid(&path.index(at), shown(), "may not change once set"));
    }
    let policy = text(spec, "ipFamilyPolicy");
    if new.len() == 1 && old.len() == 2 && policy != "SingleStack" {
        let detail = format!("must be set to 'SingleStack' when releasing the secondary {one}");
        errors.push(FieldError::invalid(&Path::new("spec").child("ipFamilyPolicy"), policy, detail));
    }
}

fn validate(service: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (path, spec) = (Path::new("spec"), &service["spec"]);
    let kind = text(spec, "type");
    one_of(
        &path.child("type"),
        kind,
        &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"],
        &mut errors,
    );
    one_of(&path.child("sessionAffinity"), text(spec, "sessionAffinity"), &["ClientIP", "None"], &mut errors);
    labels(&path.child("selector"), &spec["selector"], &mut errors);
    let ports = list(spec, "ports");
    let headless = text(spec, "clusterIP") == "None";
    if ports.is_empty() && kind != "ExternalName" && !headless {
        errors.push(FieldError::required(&path.child("ports"), ""));
    }
    if headless && matches!(kind, "NodePort" | "LoadBalancer") {
        errors.push(FieldError::invalid(
            &path.child("clusterIPs").index(0),
            "None",
            format!("may not be set to 'None' for {kind} services"),
        ));
    }
    if kind == "ExternalName" {
        let name = text(spec, "externalName").trim_end_matches('.');
        if name.is_empty() {
            errors.push(FieldError::required(&path.child("externalName"), ""));
        } else {
            dns_subdomain(&path.child("externalName"), name, &mut errors);
        }
    }
    let affinity = &spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"];
    if affinity.as_i64().is_some_and(|seconds| !(1..=86400).contains(&seconds)) {
        errors.push(FieldError::invalid(
            &path.child("sessionAffinityConfig").child("clientIP").child("timeoutSeconds"),
            affinity.clone(),
            "must be greater than 0 and less than 86400",
        ));
    }
    let mut names: Vec<&str> = Vec::new();
    let mut seen: Vec<(&Value, &str)> = Vec::new();
    for (at, each) in ports.iter().enumerate() {
        let path = path.child("ports").index(at);
        let name = text(each, "name");
        match (name.is_empty(), ports.len()) {
            (true, 1) => {}
            (true, _) => errors.push(FieldError::required(&path.child("name"), "")),
            (false, _) => {
                dns_label(&path.child("name"), name, &mut errors);
                if names.contains(&name) {
                    errors.push(FieldError::duplicate(&path.child("name"), name));
                }
                names.push(name);
            }
        }
        port(&path.child("port"), &each["port"], &mut errors);
        one_of(&path.child("protocol"), text(each, "protocol"), &["SCTP", "TCP", "UDP"], &mut errors);
        if each["targetPort"].is_i64() {
            port(&path.child("targetPort"), &each["targetPort"], &mut errors);
        }
        let here = (&each["port"], text(each, "protocol"));
        if seen.contains(&here) {
            errors.push(FieldError::duplicate(&path, json!({"port": here.0, "protocol": here.1})));
        }
        seen.push(here);
    }
    errors
}
