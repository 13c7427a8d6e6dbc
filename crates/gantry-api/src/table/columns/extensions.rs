//! The columns of what extends, guards and parts the API, and of devices.

use serde_json::{Value, json};

use super::{AGE, Column, NAME, column, count, list, named, text};

pub(super) const WEBHOOK_CONFIGURATION: &[Column] =
    &[NAME, column("Webhooks", "integer", 0, |object, _| json!(list(&object["webhooks"]).count())), AGE];

pub(super) const POLICY: &[Column] = &[
    NAME,
    column("Validations", "integer", 0, |object, _| json!(list(&object["spec"]["validations"]).count())),
    PARAM_KIND,
    AGE,
];

const PARAM_KIND: Column = column("ParamKind", "string", 0, |object, _| {
    let kind = &object["spec"]["paramKind"];
    match kind.is_object() {
        true => json!(format!("{}/{}", named(kind, "apiVersion"), named(kind, "kind"))),
        false => json!("<unset>"),
    }
});

pub(super) const MUTATING_POLICY: &[Column] = &[
    NAME,
    column("Mutations", "integer", 0, |object, _| json!(list(&object["spec"]["mutations"]).count())),
    PARAM_KIND,
    AGE,
];

pub(super) const POLICY_BINDING: &[Column] = &[
    NAME,
    column("PolicyName", "string", 0, |object, _| text(&object["spec"]["policyName"], "")),
    column("ParamRef", "string", 0, |object, _| {
        let reference = &object["spec"]["paramRef"];
        if !reference.is_object() {
            return json!("<unset>");
        }
        match reference["name"].as_str() {
            Some(name) if !name.is_empty() => {
                let namespace = reference["namespace"].as_str().unwrap_or("*");
                json!(format!("{namespace}/{name}"))
            }
            _ => super::workloads::selector(&reference["selector"]),
        }
    }),
    AGE,
];

fn available(service: &Value) -> String {
    let found = list(&service["status"]["conditions"]).find(|each| each["type"] == "Available");
    match found.map(|each| (named(each, "status"), named(each, "reason"))) {
        None => "Unknown".to_owned(),
        Some((status, _)) if status == "True" => status,
        Some((status, reason)) => format!("{status} ({reason})"),
    }
}

pub(super) const API_SERVICE: &[Column] = &[
    NAME,
    column("Service", "string", 0, |object, _| {
        let service = &object["spec"]["service"];
        match service.is_object() {
            true => json!(format!("{}/{}", named(service, "namespace"), named(service, "name"))),
            false => json!("Local"),
        }
    }),
    column("Available", "string", 0, |object, _| json!(available(object))),
    AGE,
];

pub(super) const FLOW_SCHEMA: &[Column] = &[
    NAME,
    column("PriorityLevel", "string", 0, |object, _| {
        text(&object["spec"]["priorityLevelConfiguration"]["name"], "<none>")
    }),
    column("MatchingPrecedence", "string", 0, |object, _| {
        json!(count(&object["spec"]["matchingPrecedence"]))
    }),
    column("DistinguisherMethod", "string", 0, |object, _| {
        text(&object["spec"]["distinguisherMethod"]["type"], "<none>")
    }),
    AGE,
    column("MissingPL", "string", 0, |object, _| {
        let found = list(&object["status"]["conditions"]).find(|each| each["type"] == "Dangling");
        text(found.map_or(&Value::Null, |each| &each["status"]), "?")
    }),
];

fn queuing<'a>(level: &'a Value, key: &str) -> Value {
    let queuing: &'a Value = &level["spec"]["limited"]["limitResponse"]["queuing"];
    queuing[key].as_i64().map_or(json!("<none>"), |number| json!(number))
}

pub(super) const PRIORITY_LEVEL: &[Column] = &[
    NAME,
    column("Type", "string", 0, |object, _| text(&object["spec"]["type"], "")),
    column("NominalConcurrencyShares", "string", 0, |object, _| {
        let spec = &object["spec"];
        let shares =
            [&spec["limited"], &spec["exempt"]].map(|part| part["nominalConcurrencyShares"].as_i64());
        shares.into_iter().flatten().next().map_or(json!("<none>"), |shares| json!(shares))
    }),
    column("Queues", "string", 0, |object, _| queuing(object, "queues")),
    column("HandSize", "string", 0, |object, _| queuing(object, "handSize")),
    column("QueueLengthLimit", "string", 0, |object, _| queuing(object, "queueLengthLimit")),
    AGE,
];

pub(super) const RESOURCE_CLAIM: &[Column] = &[
    NAME,
    column("State", "string", 0, |object, _| {
        let (status, deleted) = (&object["status"], object["metadata"]["deletionTimestamp"].is_string());
        let allocated = status["allocation"].is_object();
        let reserved = list(&status["reservedFor"]).next().is_some();
        let states = [
            (deleted, "deleted"),
            (!deleted && !allocated, "pending"),
            (allocated, "allocated"),
            (allocated && reserved, "reserved"),
        ];
        let states = states.iter().filter(|(holds, _)| *holds).map(|(_, state)| *state);
        json!(states.collect::<Vec<_>>().join(","))
    }),
    AGE,
];

pub(super) const RESOURCE_SLICE: &[Column] = &[
    NAME,
    column("Node", "string", 0, |object, _| text(&object["spec"]["nodeName"], "<unset>")),
    column("Driver", "string", 0, |object, _| text(&object["spec"]["driver"], "")),
    column("Pool", "string", 0, |object, _| text(&object["spec"]["pool"]["name"], "")),
    AGE,
];
