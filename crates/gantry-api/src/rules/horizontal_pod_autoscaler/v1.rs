//! HorizontalPodAutoscaler of version v1: the share of CPU alone; whatever else a scaler of version
//! v2 has stands in annotations, so that it survives the way there and back.

use gantry_json::{Map, Value, json};

use super::{RULES as V2, cpu};
use crate::registry::{Rules, Stored};
use crate::rules::common::default;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// How scalers of version v1 are kept: as those of version v2.
pub static STORED: Stored =
    Stored { group: "autoscaling", plural: "horizontalpodautoscalers", pack, unpack, fields: &[] };

/// The rules: those of version v2, on the form that is kept.
pub const RULES: Rules = Rules {
    default: |scaler| {
        if let Some(Value::Object(spec)) = scaler.get_mut("spec") {
            default(spec, "minReplicas", 1);
        }
    },
    prepare_create: V2.prepare_create,
    prepare_update: V2.prepare_update,
    validate: |scaler| (V2.validate)(&packed(scaler)),
    validate_status: |new, old, subresource| (V2.validate_status)(&packed(new), &packed(old), subresource),
    ..Rules::NONE
};

fn packed(scaler: &Value) -> Value {
    let mut scaler = scaler.clone();
    pack(&mut scaler);
    scaler
}

type Object = Map;

/// A part of an object, made where it is missing.
fn part<'a>(object: &'a mut Object, key: &str) -> &'a mut Object {
    crate::rules::common::object(object, key)
}

/// Takes an annotation and reads what it holds.
fn take(annotations: &mut Object, key: &str) -> Option<Value> {
    let text = annotations.remove(key)?;
    gantry_json::from_str(text.as_str()?).ok()
}

fn pack(scaler: &mut Value) {
    let Some(scaler) = scaler.as_object_mut() else { return };
    scaler.insert("apiVersion".into(), "autoscaling/v2".into());
    let mut kept = [None, None, None, None];
    if let Some(Value::Object(metadata)) = scaler.get_mut("metadata")
        && let Some(Value::Object(annotations)) = metadata.get_mut("annotations")
    {
        kept = [METRICS, CURRENT_METRICS, CONDITIONS, BEHAVIOR].map(|key| take(annotations, key));
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    let [metrics, current, conditions, behavior] = kept;
    let spec = part(scaler, "spec");
    let share = spec.remove("targetCPUUtilizationPercentage").and_then(|share| share.as_i64());
    let mut all: Vec<Value> = share.map(cpu).into_iter().collect();
    all.extend(metrics.iter().filter_map(Value::as_array).flatten().map(|metric| widen(metric, "target")));
    if all.is_empty() {
        all.push(cpu(80));
    }
    spec.insert("metrics".into(), all.into());
    if let Some(behavior) = behavior {
        spec.insert("behavior".into(), behavior);
    }
    let Some(Value::Object(status)) = scaler.get_mut("status") else { return };
    let share = status.remove("currentCPUUtilizationPercentage").and_then(|share| share.as_i64());
    let mut all: Vec<Value> = share
        .map(|share| {
            let value = current.iter().filter_map(Value::as_array).flatten().find(|metric| is_cpu(metric));
            let value = value.map(|metric| metric["resource"]["currentAverageValue"].clone());
            let mut current = json!({"averageUtilization": share});
            if let Some(value) = value.filter(Value::is_string) {
                current["averageValue"] = value;
            }
            json!({"type": "Resource", "resource": {"name": "cpu", "current": current}})
        })
        .into_iter()
        .collect();
    let others = current.iter().filter_map(Value::as_array).flatten();
    all.extend(
        others.filter(|metric| share.is_none() || !is_cpu(metric)).map(|metric| widen(metric, "current")),
    );
    if !all.is_empty() {
        status.insert("currentMetrics".into(), all.into());
    }
    if let Some(conditions) = conditions {
        status.insert("conditions".into(), conditions);
    }
}

fn is_cpu(metric: &Value) -> bool {
    metric["type"] == "Resource" && metric["resource"]["name"] == "cpu"
}

fn unpack(scaler: &mut Value) {
    let Some(scaler) = scaler.as_object_mut() else { return };
    scaler.insert("apiVersion".into(), "autoscaling/v1".into());
    let mut kept: Vec<(&str, Value)> = Vec::new();
    let spec = part(scaler, "spec");
    let mut others = Vec::new();
    let mut share = None;
    for metric in spec.remove("metrics").iter().filter_map(Value::as_array).flatten() {
        let target = metric["resource"]["target"]["averageUtilization"].as_i64();
        match target.filter(|_| is_cpu(metric) && share.is_none()) {
            Some(target) => share = Some(target),
            None => others.push(narrow(metric, "target")),
        }
    }
    if let Some(share) = share {
        spec.insert("targetCPUUtilizationPercentage".into(), share.into());
    }
    if !others.is_empty() {
        kept.push((METRICS, others.into()));
    }
    if let Some(behavior) = spec.remove("behavior") {
        kept.push((BEHAVIOR, behavior));
    }
    if let Some(Value::Object(status)) = scaler.get_mut("status") {
        let current = status.remove("currentMetrics");
        let current: Vec<&Value> = current.iter().filter_map(Value::as_array).flatten().collect();
        let share = current.iter().find(|metric| is_cpu(metric));
        if let Some(share) =
            share.and_then(|metric| metric["resource"]["current"]["averageUtilization"].as_i64())
        {
            status.insert("currentCPUUtilizationPercentage".into(), share.into());
        }
        if !current.is_empty() {
            kept.push((CURRENT_METRICS, current.iter().map(|metric| narrow(metric, "current")).collect()));
        }
        if let Some(conditions) = status.remove("conditions") {
            kept.push((CONDITIONS, conditions));
        }
    }
    if !kept.is_empty() {
        let annotations = part(part(scaler, "metadata"), "annotations");
        annotations.extend(kept.into_iter().map(|(key, value)| (key.to_owned(), value.to_string().into())));
    }
}

/// A metric's kind with the field that describes it.
fn source(metric: &Value) -> (&str, &'static str) {
    let kind = metric["type"].as_str().unwrap_or_default();
    let field = super::SOURCES.iter().find(|(name, _)| *name == kind).map_or("", |(_, field)| field);
    (kind, field)
}

/// The names of a value in version v1: `target` becomes `targetValue` and the like.
fn names(side: &str, kind: &str) -> [(&'static str, String); 3] {
    // An object's average is the one name without the side before it.
    let average = if kind == "Object" { "averageValue".to_owned() } else { format!("{side}AverageValue") };
    [
        ("value", format!("{side}Value")),
        ("averageValue", average),
        ("averageUtilization", format!("{side}AverageUtilization")),
    ]
}

/// A metric of version v2 as version v1 writes it; `side` is `target` or `current`.
fn narrow(metric: &Value, side: &str) -> Value {
    let (kind, field) = source(metric);
    let Some(mut from) = metric[field].as_object().cloned() else { return metric.clone() };
    let amounts = from.remove(side).unwrap_or_default();
    if let Some(identity) = from.remove("metric") {
        from.insert("metricName".into(), identity["name"].clone());
        if !identity["selector"].is_null() {
            let name = if kind == "External" { "metricSelector" } else { "selector" };
            from.insert(name.into(), identity["selector"].clone());
        }
    }
    if let Some(object) = from.remove("describedObject") {
        from.insert("target".into(), object);
    }
    for (name, narrow) in names(side, kind) {
        if !amounts[name].is_null() {
            from.insert(narrow.into(), amounts[name].clone());
        }
    }
    json!({"type": kind, field: from})
}

/// A metric of version v1 as version v2 writes it.
fn widen(metric: &Value, side: &str) -> Value {
    let (kind, field) = source(metric);
    let Some(mut from) = metric[field].as_object().cloned() else { return metric.clone() };
    if let Some(object) = from.remove("target") {
        from.insert("describedObject".into(), object);
    }
    if let Some(name) = from.remove("metricName") {
        let mut identity = json!({"name": name});
        let selector = from.remove("selector").or_else(|| from.remove("metricSelector"));
        if let Some(selector) = selector {
            identity["selector"] = selector;
        }
        from.insert("metric".into(), identity);
    }
    let mut amounts = Map::new();
    for (name, narrow) in names(side, kind) {
        if let Some(value) = from.remove(&narrow) {
            amounts.insert(name.into(), value);
        }
    }
    if side == "target" {
        let kind = if amounts.contains_key("averageUtilization") {
            "Utilization"
        } else if amounts.contains_key("averageValue") {
            "AverageValue"
        } else {
            "Value"
        };
        amounts.insert("type".into(), kind.into());
    }
    from.insert(side.into(), amounts.into());
    json!({"type": kind, field: from})
}
