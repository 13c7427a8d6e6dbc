//! HorizontalPodAutoscaler of version v2, the form that is kept.

pub mod v1;

use gantry_json::{Map, Value, json};

use super::common::{
    default, dns_label, drop_status, keep_status, list, not_negative, object, one_of, path_segment, positive,
    text,
};
use super::persistent_volume_claim::quantity;
use super::resources;
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The longest time that earlier recommendations count, in seconds.
const LONGEST_WINDOW: i64 = 3600;
/// The longest period of a policy, in seconds.
const LONGEST_PERIOD: i64 = 1800;

/// The kinds of metrics and where each is described.
const SOURCES: [(&str, &str); 5] = [
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];

/// The rules.
pub const RULES: Rules = Rules {
    default: |scaler| {
        let Some(scaler) = scaler.as_object_mut() else { return };
        let spec = object(scaler, "spec");
        default(spec, "minReplicas", 1);
        if spec.get("metrics").and_then(Value::as_array).is_none_or(Vec::is_empty) {
            spec.insert("metrics".into(), json!([cpu(80)]));
        }
        if let Some(Value::Object(behavior)) = spec.get_mut("behavior") {
            behavior_defaults(behavior);
        }
    },
    prepare_create: drop_status,
    prepare_update: keep_status,
    validate: |scaler| {
        let mut errors = Vec::new();
        validate(&Path::new("spec"), &scaler["spec"], &mut errors);
        errors
    },
    validate_status: |new, _, _| {
        let mut errors = Vec::new();
        for key in ["currentReplicas", "desiredReplicas"] {
            not_negative(&Path::new("status").child(key), &new["status"][key], &mut errors);
        }
        errors
    },
    ..Rules::NONE
};

/// The metric of a share of the CPU that is requested.
fn cpu(percent: i64) -> Value {
    json!({"type": "Resource", "resource": {"name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": percent}}})
}

fn behavior_defaults(behavior: &mut Map) {
    let up = object(behavior, "scaleUp");
    default(up, "stabilizationWindowSeconds", 0);
    default(up, "selectPolicy", "Max");
    let fast = json!([{"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}]);
    default(up, "policies", fast);
    let down = object(behavior, "scaleDown");
    default(down, "selectPolicy", "Max");
    default(down, "policies", json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]));
}

fn validate(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    let number = |key: &str| spec[key].as_i64();
    let (least, most) = (number("minReplicas"), number("maxReplicas").unwrap_or(0));
    if least.is_some_and(|least| least < 1) {
        let words = "must be greater than or equal to 1";
        errors.push(FieldError::invalid(&path.child("minReplicas"), spec["minReplicas"].clone(), words));
    }
    if most < 1 {
        errors.push(FieldError::invalid(&path.child("maxReplicas"), most, "must be greater than 0"));
    }
    if least.is_some_and(|least| most < least) {
        let words = "must be greater than or equal to `minReplicas`";
        errors.push(FieldError::invalid(&path.child("maxReplicas"), most, words));
    }
    reference(&path.child("scaleTargetRef"), &spec["scaleTargetRef"], errors);
    for (at, metric) in list(spec, "metrics").iter().enumerate() {
        validate_metric(&path.child("metrics").index(at), metric, errors);
    }
    for direction in ["scaleUp", "scaleDown"] {
        let rules = &spec["behavior"][direction];
        if rules.is_object() {
            scaling_rules(&path.child("behavior").child(direction), rules, errors);
        }
    }
}

fn reference(path: &Path, reference: &Value, errors: &mut Vec<FieldError>) {
    for key in ["kind", "name"] {
        match text(reference, key) {
            "" => errors.push(FieldError::required(&path.child(key), "")),
            value => path_segment(&path.child(key), value, errors),
        }
    }
    let version = text(reference, "apiVersion");
    if version.matches('/').count() > 1 {
        let words = format!("unexpected GroupVersion string: {version}");
        errors.push(FieldError::invalid(&path.child("apiVersion"), version, words));
    }
}

fn validate_metric(path: &Path, metric: &Value, errors: &mut Vec<FieldError>) {
    let kind = text(metric, "type");
    if kind.is_empty() {
        errors.push(FieldError::required(&path.child("type"), "must specify a metric source type"));
    }
    let Some((_, field)) = SOURCES.iter().find(|(name, _)| *name == kind) else {
        let names: Vec<&str> = SOURCES.iter().map(|(name, _)| *name).collect();
        errors.push(FieldError::not_supported(&path.child("type"), kind, &names));
        return;
    };
    for (_, other) in SOURCES.iter().filter(|(_, other)| other != field && metric[*other].is_object()) {
        let words = "must populate the given metric source only";
        errors.push(FieldError::forbidden(&path.child(other), words));
    }
    let (path, source) = (path.child(field), &metric[*field]);
    if !source.is_object() {
        errors.push(FieldError::required(&path, "must populate information for the given metric source"));
        return;
    }
    let (at, target) = (path.child("target"), &source["target"]);
    let has = |key: &str| !target[key].is_null();
    match kind {
        "Object" | "Pods" | "External" => {
            if kind == "Object" {
                reference(&path.child("describedObject"), &source["describedObject"], errors);
            }
            let at = path.child("metric").child("name");
            match text(&source["metric"], "name") {
                "" => errors.push(FieldError::required(&at, "must specify a metric name")),
                name => path_segment(&at, name, errors),
            }
        }
        _ => {
            match text(source, "name") {
                "" => errors.push(FieldError::required(&path.child("name"), "must specify a resource name")),
                name if kind == "ContainerResource" => {
                    resources::container_name(&path.child("name"), name, errors);
                }
                _ => {}
            }
            let at = path.child("container");
            match text(source, "container") {
                _ if kind != "ContainerResource" => {}
                "" => errors.push(FieldError::required(&at, "must specify a container")),
                name => dns_label(&at, name, errors),
            }
        }
    }
    validate_target(&at, target, errors);
    let average = at.child("averageValue");
    match kind {
        "Object" if !has("value") && !has("averageValue") => {
            errors.push(FieldError::required(&average, "must set either a target value or averageValue"));
        }
        "Pods" if !has("averageValue") => {
            errors.push(FieldError::required(&average, "must specify a positive target averageValue"));
        }
        "External" => match (has("value"), has("averageValue")) {
            (true, true) => errors.push(FieldError::forbidden(
                &at.child("value"),
                "may not set both a target value for metric and a per-pod target",
            )),
            (false, false) => errors.push(FieldError::required(
                &average,
                "must set either a target value for metric or a per-pod target",
            )),
            _ => {}
        },
        "Resource" | "ContainerResource" => match (has("averageUtilization"), has("averageValue")) {
            (true, true) => errors.push(FieldError::forbidden(
                &average,
                "may not set both a target raw value and a target utilization",
            )),
            (false, false) => errors.push(FieldError::required(
                &at.child("averageUtilization"),
                "must set either a target raw value or a target utilization",
            )),
            _ => {}
        },
        _ => {}
    }
}

fn validate_target(path: &Path, target: &Value, errors: &mut Vec<FieldError>) {
    match text(target, "type") {
        "" => errors.push(FieldError::required(&path.child("type"), "must specify a metric target type")),
        "Utilization" | "Value" | "AverageValue" => {}
        other => errors.push(FieldError::invalid(
            &path.child("type"),
            other,
            "must be either Utilization, Value, or AverageValue",
        )),
    }
    for key in ["value", "averageValue"] {
        if quantity(&target[key]).is_some_and(|amount| amount.is_zero() || amount.is_negative()) {
            errors.push(FieldError::invalid(&path.child(key), target[key].clone(), "must be positive"));
        }
    }
    positive(&path.child("averageUtilization"), &target["averageUtilization"], errors);
}

fn scaling_rules(path: &Path, rules: &Value, errors: &mut Vec<FieldError>) {
    let (at, window) = (path.child("stabilizationWindowSeconds"), &rules["stabilizationWindowSeconds"]);
    if window.as_i64().is_some_and(|window| window < 0) {
        errors.push(FieldError::invalid(&at, window.clone(), "must be greater than or equal to zero"));
    }
    at_most(&at, window, LONGEST_WINDOW, errors);
    if !rules["selectPolicy"].is_null() {
        let policy = text(rules, "selectPolicy");
        one_of(&path.child("selectPolicy"), policy, &["Disabled", "Max", "Min"], errors);
    }
    let tolerance = &rules["tolerance"];
    if quantity(tolerance).is_some_and(|amount| amount.is_negative()) {
        let words = "must be greater or equal to 0";
        errors.push(FieldError::invalid(&path.child("tolerance"), tolerance.clone(), words));
    }
    let path = path.child("policies");
    let policies = list(rules, "policies");
    if policies.is_empty() {
        errors.push(FieldError::required(&path, "must specify at least one Policy"));
    }
    for (at, policy) in policies.iter().enumerate() {
        let path = path.index(at);
        one_of(&path.child("type"), text(policy, "type"), &["Percent", "Pods"], errors);
        for key in ["value", "periodSeconds"] {
            if policy[key].as_i64().unwrap_or(0) <= 0 {
                let words = "must be greater than zero";
                errors.push(FieldError::invalid(&path.child(key), policy[key].as_i64().unwrap_or(0), words));
            }
        }
        at_most(&path.child("periodSeconds"), &policy["periodSeconds"], LONGEST_PERIOD, errors);
    }
}

fn at_most(path: &Path, value: &Value, limit: i64, errors: &mut Vec<FieldError>) {
    if value.as_i64().is_some_and(|number| number > limit) {
        let words = format!("must be less than or equal to {limit}");
        errors.push(FieldError::invalid(path, value.clone(), words));
    }
}
