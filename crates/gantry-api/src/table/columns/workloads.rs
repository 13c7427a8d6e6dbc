//! The columns of kinds that run pods.

use gantry_json::{Value, json};
use jiff::Timestamp;
use k8s_openapi::api::{apps, autoscaling, batch, core};

use super::super::about::{About, field, words};
use super::super::{age, duration};
use super::{AGE, Column, NAME, column, containers, count, joined, labels, list, named, text};

const CONTAINER_NAMES: About = words("The names of the containers.");
const CONTAINER_IMAGES: About = words("The images of the containers.");

pub(in super::super) const CONTAINERS: Column =
    column("Containers", "string", 1, CONTAINER_NAMES, |object, _| {
        joined(containers(object).map(|each| named(each, "name")))
    });
pub(in super::super) const IMAGES: Column = column("Images", "string", 1, CONTAINER_IMAGES, |object, _| {
    joined(containers(object).map(|each| named(each, "image")))
});

const fn selected(about: About) -> Column {
    column("Selector", "string", 1, about, |object, _| selector(&object["spec"]["selector"]))
}

/// A label selector as `kubectl` writes it in its own flags.
pub(in super::super) fn selector(selector: &Value) -> Value {
    let pairs = selector["matchLabels"].as_object().into_iter().flatten();
    let equal = pairs.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
    let others = list(&selector["matchExpressions"]).map(|each| {
        let key = named(each, "key");
        let values: Vec<&str> = list(&each["values"]).filter_map(Value::as_str).collect();
        match each["operator"].as_str().unwrap_or_default() {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key,
        }
    });
    joined(equal.chain(others))
}

pub(super) const DAEMON_SET: &[Column] = &[
    NAME,
    column(
        "Desired",
        "integer",
        0,
        field::<apps::v1::DaemonSetStatus>("desiredNumberScheduled"),
        |object, _| json!(count(&object["status"]["desiredNumberScheduled"])),
    ),
    column(
        "Current",
        "integer",
        0,
        field::<apps::v1::DaemonSetStatus>("currentNumberScheduled"),
        |object, _| json!(count(&object["status"]["currentNumberScheduled"])),
    ),
    column("Ready", "integer", 0, field::<apps::v1::DaemonSetStatus>("numberReady"), |object, _| {
        json!(count(&object["status"]["numberReady"]))
    }),
    column(
        "Up-to-date",
        "integer",
        0,
        field::<apps::v1::DaemonSetStatus>("updatedNumberScheduled"),
        |object, _| json!(count(&object["status"]["updatedNumberScheduled"])),
    ),
    column("Available", "integer", 0, field::<apps::v1::DaemonSetStatus>("numberAvailable"), |object, _| {
        json!(count(&object["status"]["numberAvailable"]))
    }),
    column("Node Selector", "string", 0, field::<core::v1::PodSpec>("nodeSelector"), |object, _| {
        labels(&object["spec"]["template"]["spec"]["nodeSelector"])
    }),
    AGE,
    CONTAINERS,
    IMAGES,
    selected(field::<apps::v1::DaemonSetSpec>("selector")),
];

pub(super) const STATEFUL_SET: &[Column] = &[
    NAME,
    column("Ready", "string", 0, words("How many pods are ready, of how many."), |object, _| {
        json!(format!("{}/{}", count(&object["status"]["readyReplicas"]), count(&object["spec"]["replicas"])))
    }),
    AGE,
    CONTAINERS,
    IMAGES,
];

pub(super) const CONTROLLER_REVISION: &[Column] = &[
    NAME,
    column("Controller", "string", 0, words("The object that the revision is of."), |object, _| {
        let owner = list(&object["metadata"]["ownerReferences"]).find(|each| each["controller"] == true);
        json!(owner.map_or("<none>".to_owned(), |owner| {
            let version = named(owner, "apiVersion");
            let group = version.split_once('/').map_or("", |(group, _)| group);
            let kind = named(owner, "kind").to_lowercase();
            let dot = if group.is_empty() { "" } else { "." };
            format!("{kind}{dot}{group}/{}", named(owner, "name"))
        }))
    }),
    column("Revision", "string", 0, field::<apps::v1::ControllerRevision>("revision"), |object, _| {
        json!(count(&object["revision"]))
    }),
    AGE,
];

pub(super) const JOB: &[Column] = &[
    NAME,
    column("Status", "string", 0, words("How the job is, by its conditions."), |object, _| {
        json!(job_status(object))
    }),
    column("Completions", "string", 0, field::<batch::v1::JobStatus>("succeeded"), |object, _| {
        let (spec, done) = (&object["spec"], count(&object["status"]["succeeded"]));
        let of = match (spec["completions"].as_i64(), count(&spec["parallelism"])) {
            (Some(completions), _) => completions.to_string(),
            (None, parallel) if parallel > 1 => format!("1 of {parallel}"),
            (None, _) => "1".to_owned(),
        };
        json!(format!("{done}/{of}"))
    }),
    column(
        "Duration",
        "string",
        0,
        words("How long the job has taken, or takes until now."),
        |object, now| json!(job_duration(object, now)),
    ),
    AGE,
    CONTAINERS,
    IMAGES,
    selected(field::<batch::v1::JobSpec>("selector")),
];

fn holds(object: &Value, kind: &str) -> bool {
    list(&object["status"]["conditions"]).any(|each| each["type"] == kind && each["status"] == "True")
}

fn job_status(job: &Value) -> &'static str {
    if holds(job, "Complete") {
        "Complete"
    } else if holds(job, "Failed") {
        "Failed"
    } else if job["metadata"]["deletionTimestamp"].is_string() {
        "Terminating"
    } else if holds(job, "Suspended") {
        "Suspended"
    } else if holds(job, "FailureTarget") {
        "FailureTarget"
    } else if holds(job, "SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

fn job_duration(job: &Value, now: Timestamp) -> String {
    let time = |field: &str| job["status"][field].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    match (time("startTime"), time("completionTime")) {
        (None, _) => String::new(),
        (Some(start), end) => duration((end.unwrap_or(now).as_second() - start.as_second()).max(0)),
    }
}

fn job_containers(object: &Value) -> impl Iterator<Item = &Value> {
    list(&object["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"])
}

pub(super) const CRON_JOB: &[Column] = &[
    NAME,
    column("Schedule", "string", 0, field::<batch::v1::CronJobSpec>("schedule"), |object, _| {
        object["spec"]["schedule"].clone()
    }),
    column("Timezone", "string", 0, field::<batch::v1::CronJobSpec>("timeZone"), |object, _| {
        text(&object["spec"]["timeZone"], "<none>")
    }),
    column("Suspend", "boolean", 0, field::<batch::v1::CronJobSpec>("suspend"), |object, _| {
        json!(if object["spec"]["suspend"] == true { "True" } else { "False" })
    }),
    column("Active", "integer", 0, field::<batch::v1::CronJobStatus>("active"), |object, _| {
        json!(list(&object["status"]["active"]).count())
    }),
    column(
        "Last Schedule",
        "string",
        0,
        field::<batch::v1::CronJobStatus>("lastScheduleTime"),
        |object, now| {
            let last = &object["status"]["lastScheduleTime"];
            json!(if last.is_null() { "<none>".to_owned() } else { age(last, now) })
        },
    ),
    AGE,
    column("Containers", "string", 1, CONTAINER_NAMES, |object, _| {
        joined(job_containers(object).map(|each| named(each, "name")))
    }),
    column("Images", "string", 1, CONTAINER_IMAGES, |object, _| {
        joined(job_containers(object).map(|each| named(each, "image")))
    }),
    column("Selector", "string", 1, field::<batch::v1::JobSpec>("selector"), |object, _| {
        selector(&object["spec"]["jobTemplate"]["spec"]["selector"])
    }),
];

pub(super) const POD_DISRUPTION_BUDGET: &[Column] = &[
    NAME,
    column("Min Available", "string", 0, words("How many pods have to be available."), |object, _| {
        amount(&object["spec"]["minAvailable"])
    }),
    column("Max Unavailable", "string", 0, words("How many pods may be unavailable."), |object, _| {
        amount(&object["spec"]["maxUnavailable"])
    }),
    column("Allowed Disruptions", "integer", 0, words("How many pods may be disrupted now."), |object, _| {
        json!(count(&object["status"]["disruptionsAllowed"]))
    }),
    AGE,
];

/// A number or share as text.
fn amount(value: &Value) -> Value {
    match value {
        Value::Null => json!("N/A"),
        Value::String(text) => json!(text),
        other => json!(other.to_string()),
    }
}

pub(super) const HORIZONTAL_POD_AUTOSCALER: &[Column] = &[
    NAME,
    column(
        "Reference",
        "string",
        0,
        field::<autoscaling::v2::HorizontalPodAutoscalerSpec>("scaleTargetRef"),
        |object, _| {
            let target = &object["spec"]["scaleTargetRef"];
            json!(format!("{}/{}", named(target, "kind"), named(target, "name")))
        },
    ),
    column(
        "Targets",
        "string",
        0,
        field::<autoscaling::v2::HorizontalPodAutoscalerSpec>("metrics"),
        |object, _| json!(targets(object)),
    ),
    column(
        "MinPods",
        "string",
        0,
        field::<autoscaling::v2::HorizontalPodAutoscalerSpec>("minReplicas"),
        |object, _| match object["spec"]["minReplicas"].as_i64() {
            Some(least) => json!(least.to_string()),
            None => json!("<unset>"),
        },
    ),
    column(
        "MaxPods",
        "string",
        0,
        field::<autoscaling::v2::HorizontalPodAutoscalerSpec>("maxReplicas"),
        |object, _| json!(count(&object["spec"]["maxReplicas"])),
    ),
    column(
        "Replicas",
        "string",
        0,
        field::<autoscaling::v2::HorizontalPodAutoscalerStatus>("currentReplicas"),
        |object, _| json!(count(&object["status"]["currentReplicas"])),
    ),
    AGE,
];

/// How far each metric is from its target; the first two and how many more there are.
fn targets(scaler: &Value) -> String {
    let metrics: Vec<&Value> = list(&scaler["spec"]["metrics"]).collect();
    if metrics.is_empty() {
        return "<none>".to_owned();
    }
    let current: Vec<&Value> = list(&scaler["status"]["currentMetrics"]).collect();
    let shown: Vec<String> = metrics
        .iter()
        .enumerate()
        .map(|(at, metric)| target(metric, current.get(at).copied().unwrap_or(&Value::Null)))
        .collect();
    let more = match shown.len() {
        0..=2 => String::new(),
        count => format!(" + {} more...", count - 2),
    };
    shown[..shown.len().min(2)].join(", ") + &more
}

fn target(metric: &Value, current: &Value) -> String {
    let field = match metric["type"].as_str().unwrap_or_default() {
        "ContainerResource" => "containerResource",
        "External" => "external",
        "Object" => "object",
        "Pods" => "pods",
        "Resource" => "resource",
        _ => return "<unknown type>".to_owned(),
    };
    let (source, now) = (&metric[field], &current[field]["current"]);
    let target = &source["target"];
    let amount = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let unknown = || "<unknown>".to_owned();
    let shown = if let Some(average) = amount(&target["averageValue"]) {
        let actual = amount(&now["averageValue"]).unwrap_or_else(unknown);
        let suffix = if matches!(field, "external" | "object") { " (avg)" } else { "" };
        format!("{actual}/{average}{suffix}")
    } else if matches!(field, "resource" | "containerResource") {
        let actual = now["averageUtilization"].as_i64().map_or_else(unknown, |share| format!("{share}%"));
        let wanted = target["averageUtilization"].as_i64();
        format!("{actual}/{}", wanted.map_or("<auto>".to_owned(), |share| format!("{share}%")))
    } else {
        let actual = amount(&now["value"]).unwrap_or_else(unknown);
        format!("{actual}/{}", amount(&target["value"]).unwrap_or_default())
    };
    match field {
        "resource" | "containerResource" => format!("{}: {shown}", named(source, "name")),
        _ => shown,
    }
}

pub(super) const REPLICATION_CONTROLLER: &[Column] = &[
    NAME,
    column("Desired", "integer", 0, field::<core::v1::ReplicationControllerSpec>("replicas"), |object, _| {
        json!(count(&object["spec"]["replicas"]))
    }),
    column(
        "Current",
        "integer",
        0,
        field::<core::v1::ReplicationControllerStatus>("replicas"),
        |object, _| json!(count(&object["status"]["replicas"])),
    ),
    column(
        "Ready",
        "integer",
        0,
        field::<core::v1::ReplicationControllerStatus>("readyReplicas"),
        |object, _| json!(count(&object["status"]["readyReplicas"])),
    ),
    AGE,
    CONTAINERS,
    IMAGES,
    column("Selector", "string", 1, field::<core::v1::ReplicationControllerSpec>("selector"), |object, _| {
        labels(&object["spec"]["selector"])
    }),
];

fn template_containers(object: &Value) -> impl Iterator<Item = &Value> {
    list(&object["template"]["spec"]["containers"])
}

pub(super) const POD_TEMPLATE: &[Column] = &[
    NAME,
    column("Containers", "string", 0, CONTAINER_NAMES, |object, _| {
        joined(template_containers(object).map(|each| named(each, "name")))
    }),
    column("Images", "string", 0, CONTAINER_IMAGES, |object, _| {
        joined(template_containers(object).map(|each| named(each, "image")))
    }),
    column("Pod Labels", "string", 0, words("The labels of the pods."), |object, _| {
        labels(&object["template"]["metadata"]["labels"])
    }),
];
