//! The columns of what extends, guards and parts the API, and of devices.

use gantry_json::{Value, json};
use k8s_openapi::api::{flowcontrol, resource};

use super::super::about::{field, words};
use super::{AGE, Column, NAME, column, count, list, named, text};

pub(super) const WEBHOOK_CONFIGURATION: &[Column] = &[
    NAME,
    column("Webhooks", "integer", 0, words("How many webhooks there are."), |object, _| {
        json!(list(&object["webhooks"]).count())
    }),
    AGE,
];

pub(super) const POLICY: &[Column] = &[
    NAME,
    column("Validations", "integer", 0, words("How many validations there are."), |object, _| {
        json!(list(&object["spec"]["validations"]).count())
    }),
    PARAM_KIND,
    AGE,
];

const PARAM_KIND: Column = column(
    "ParamKind",
    "string",
    0,
    words("The kind of the objects that the policy takes parameters from."),
    |object, _| {
        let kind = &object["spec"]["paramKind"];
        match kind.is_object() {
            true => json!(format!("{}/{}", named(kind, "apiVersion"), named(kind, "kind"))),
            false => json!("<unset>"),
        }
    },
);

pub(super) const MUTATING_POLICY: &[Column] = &[
    NAME,
    column("Mutations", "integer", 0, words("How many mutations there are."), |object, _| {
        json!(list(&object["spec"]["mutations"]).count())
    }),
    PARAM_KIND,
    AGE,
];

pub(super) const POLICY_BINDING: &[Column] = &[
    NAME,
    column("PolicyName", "string", 0, words("The policy that is bound."), |object, _| {
        text(&object["spec"]["policyName"], "")
    }),
    column("ParamRef", "string", 0, words("The objects that parameters are taken from."), |object, _| {
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
    column(
        "Service",
        "string",
        0,
        words("The Service that answers, where not this server itself."),
        |object, _| {
            let service = &object["spec"]["service"];
            match service.is_object() {
                true => json!(format!("{}/{}", named(service, "namespace"), named(service, "name"))),
                false => json!("Local"),
            }
        },
    ),
    column("Available", "string", 0, words("Whether there is somebody to answer."), |object, _| {
        json!(available(object))
    }),
    AGE,
];

pub(super) const FLOW_SCHEMA: &[Column] = &[
    NAME,
    column(
        "PriorityLevel",
        "string",
        0,
        field::<flowcontrol::v1::PriorityLevelConfigurationReference>("name"),
        |object, _| text(&object["spec"]["priorityLevelConfiguration"]["name"], "<none>"),
    ),
    column(
        "MatchingPrecedence",
        "string",
        0,
        field::<flowcontrol::v1::FlowSchemaSpec>("matchingPrecedence"),
        |object, _| json!(count(&object["spec"]["matchingPrecedence"])),
    ),
    column(
        "DistinguisherMethod",
        "string",
        0,
        field::<flowcontrol::v1::FlowSchemaSpec>("distinguisherMethod"),
        |object, _| text(&object["spec"]["distinguisherMethod"]["type"], "<none>"),
    ),
    AGE,
    column("MissingPL", "string", 0, words("Whether the priority level is missing."), |object, _| {
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
    column(
        "Type",
        "string",
        0,
        field::<flowcontrol::v1::PriorityLevelConfigurationSpec>("type"),
        |object, _| text(&object["spec"]["type"], ""),
    ),
    column(
        "NominalConcurrencyShares",
        "string",
        0,
        field::<flowcontrol::v1::LimitedPriorityLevelConfiguration>("nominalConcurrencyShares"),
        |object, _| {
            let shares = object["spec"]["limited"]["nominalConcurrencyShares"].as_i64();
            shares.map_or(json!("<none>"), |shares| json!(shares))
        },
    ),
    column("Queues", "string", 0, field::<flowcontrol::v1::QueuingConfiguration>("queues"), |object, _| {
        queuing(object, "queues")
    }),
    column(
        "HandSize",
        "string",
        0,
        field::<flowcontrol::v1::QueuingConfiguration>("handSize"),
        |object, _| queuing(object, "handSize"),
    ),
    column(
        "QueueLengthLimit",
        "string",
        0,
        field::<flowcontrol::v1::QueuingConfiguration>("queueLengthLimit"),
        |object, _| queuing(object, "queueLengthLimit"),
    ),
    AGE,
];

pub(super) const RESOURCE_CLAIM: &[Column] = &[
    NAME,
    column(
        "State",
        "string",
        0,
        words("How far the claim is: pending, allocated, reserved or deleted."),
        |object, _| {
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
        },
    ),
    AGE,
];

pub(super) const RESOURCE_SLICE: &[Column] = &[
    NAME,
    column("Node", "string", 0, field::<resource::v1::ResourceSliceSpec>("nodeName"), |object, _| {
        text(&object["spec"]["nodeName"], "<unset>")
    }),
    column("Driver", "string", 0, field::<resource::v1::ResourceSliceSpec>("driver"), |object, _| {
        text(&object["spec"]["driver"], "")
    }),
    column("Pool", "string", 0, field::<resource::v1::ResourcePool>("name"), |object, _| {
        text(&object["spec"]["pool"]["name"], "")
    }),
    AGE,
];

pub(super) const STORAGE_VERSION_MIGRATION: &[Column] = &[
    NAME,
    column("Resource", "string", 0, words("The resource whose objects are stored again."), |object, _| {
        let resource = &object["spec"]["resource"];
        let parts = [named(resource, "resource"), named(resource, "group")];
        json!(parts.iter().filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join("."))
    }),
];
