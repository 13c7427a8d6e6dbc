//! APIService.

use gantry_json::Value;

use super::common::{dns_1035, dns_subdomain, drop_status, keep_status, required, text};
use super::webhook_configuration::service_defaults;
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The rules.
pub const RULES: Rules = Rules {
    default: |service| {
        if let Some(Value::Object(spec)) = service.get_mut("spec") {
            service_defaults(spec);
        }
    },
    prepare_create: |service| {
        drop_status(service);
        // What the server serves itself is there at once.
        if service["spec"]["service"].is_null() {
            let since = service["metadata"]["creationTimestamp"].clone();
            service["status"] = gantry_json::json!({"conditions": [{"type": "Available", "status": "True",
                "lastTransitionTime": since, "reason": "Local", "message": "Local APIServices are always available"}]});
        }
    },
    prepare_update: keep_status,
    validate,
    validate_status: |new, _, _| {
        let conditions = super::common::list(&new["status"], "conditions");
        let path = Path::new("status").child("conditions");
        let mut errors = Vec::new();
        for (at, condition) in conditions.iter().enumerate() {
            let status = text(condition, "status");
            if !matches!(status, "True" | "False" | "Unknown") {
                let known = ["False", "True", "Unknown"];
                errors.push(FieldError::not_supported(&path.index(at).child("status"), status, &known));
            }
        }
        errors
    },
    ..Rules::NONE
};

fn validate(service: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (path, spec) = (Path::new("spec"), &service["spec"]);
    let (group, version) = (text(spec, "group"), text(spec, "version"));
    let expected = format!("{version}.{group}");
    let name = text(&service["metadata"], "name");
    if name != expected {
        let at = Path::new("metadata").child("name");
        let words = format!("must be `spec.version+\".\"+spec.group`: {expected:?}");
        errors.push(FieldError::invalid(&at, name, words));
    }
    if group.is_empty() {
        if version != "v1" {
            let words = "only v1 may have an empty group and it better be legacy kube";
            errors.push(FieldError::required(&path.child("group"), words));
        }
    } else {
        dns_subdomain(&path.child("group"), group, &mut errors);
    }
    match version {
        "" => errors.push(FieldError::required(&path.child("version"), "")),
        version => dns_1035(&path.child("version"), version, &mut errors),
    }
    for (key, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1_000)] {
        let number = spec[key].as_i64().unwrap_or(0);
        let words = match number {
            ..=0 => format!("must be positive and less than {most}"),
            number if number > most => format!("must be positive and less than {most}"),
            _ => continue,
        };
        errors.push(FieldError::invalid(&path.child(key), number, words));
    }
    let bundle = !text(spec, "caBundle").is_empty();
    let insecure = spec["insecureSkipTLSVerify"] == true;
    if spec["service"].is_object() {
        let (path, service) = (path.child("service"), &spec["service"]);
        required(&path, service, "namespace", &mut errors);
        required(&path, service, "name", &mut errors);
        let port = &service["port"];
        if port.as_i64().is_some_and(|port| !(1..=65535).contains(&port)) {
            let words = "port is not valid: must be between 1 and 65535, inclusive";
            errors.push(FieldError::invalid(&path.child("port"), port.clone(), words));
        }
        if insecure && bundle {
            let words = "may not be true if caBundle is present";
            errors.push(FieldError::invalid(&Path::new("spec").child("insecureSkipTLSVerify"), true, words));
        }
    } else {
        for (key, present) in [("caBundle", bundle), ("insecureSkipTLSVerify", insecure)] {
            if present {
                let words = "local APIServices may not have a caBundle";
                let words = if key == "caBundle" {
                    words
                } else {
                    "local APIServices may not have insecureSkipTLSVerify"
                };
                errors.push(FieldError::invalid(&path.child(key), spec[key].clone(), words));
            }
        }
    }
    errors
}
