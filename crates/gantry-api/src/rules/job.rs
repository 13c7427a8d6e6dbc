//! Job, and the job templates of CronJobs.

mod policies;

use gantry_json::{Map, Value, json};

use super::common::{
    default, dns_label, drop_status, immutable, items, keep_status, list, not_negative, object, one_of,
    restore, text,
};
use super::{pod, workload};
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The labels by which a Job's pods are found, and their names before they had a prefix.
const LABELS: [(&str, &str); 4] = [
    ("batch.kubernetes.io/controller-uid", "uid"),
    ("batch.kubernetes.io/job-name", "name"),
    ("controller-uid", "uid"),
    ("job-name", "name"),
];
/// The most pods of an indexed job at a time.
const MOST_PARALLEL: i64 = 100_000;

/// The rules.
pub const RULES: Rules = Rules {
    default: |job| {
        let Some(job) = job.as_object_mut() else { return };
        set_spec_defaults(object(job, "spec"));
        let labels = job["spec"]["template"]["metadata"]["labels"].clone();
        let metadata = object(job, "metadata");
        let own = metadata.get("labels").and_then(Value::as_object).is_some_and(|own| !own.is_empty());
        if labels.is_object() && !own {
            metadata.insert("labels".into(), labels);
        }
    },
    prepare_create: |job| {
        drop_status(job);
        if job["spec"]["manualSelector"] != true {
            generate_selector(job);
        }
    },
    prepare_update: keep_status,
    validate: |job| {
        let mut errors = Vec::new();
        generated_selector(job, &mut errors);
        let (path, spec) = (Path::new("spec"), &job["spec"]);
        validate_spec(&path, spec, &mut errors);
        if spec["selector"].is_object() {
            super::common::label_selector(&path.child("selector"), &spec["selector"], &mut errors);
        } else {
            errors.push(FieldError::required(&path.child("selector"), ""));
        }
        workload::selected(&path.child("template"), &spec["selector"], &spec["template"], &mut errors);
        host_names(job, &mut errors);
        errors
    },
    validate_update,
    validate_status: |new, _, _| {
        let mut errors = Vec::new();
        let (path, status) = (Path::new("status"), &new["status"]);
        for key in ["active", "succeeded", "failed", "ready", "terminating"] {
            not_negative(&path.child(key), &status[key], &mut errors);
        }
        let conditions = list(status, "conditions");
        let holds =
            |kind: &str| conditions.iter().any(|each| each["type"] == kind && each["status"] == "True");
        if holds("Complete") && holds("Failed") {
            let words = "cannot set Complete=True and Failed=true conditions";
            errors.push(FieldError::invalid(&path.child("conditions"), status["conditions"].clone(), words));
        }
        errors
    },
    selectable: |job| {
        vec![("status.successful", job["status"]["succeeded"].as_i64().unwrap_or_default().to_string())]
    },
    warn: workload::warnings_with_name,
    ..Rules::NONE
};

fn set_spec_defaults(spec: &mut Map) {
    if !spec.contains_key("parallelism") && !spec.contains_key("completions") {
        spec.insert("completions".into(), 1.into());
    }
    default(spec, "parallelism", 1);
    let limit = if spec.contains_key("backoffLimitPerIndex") { i32::MAX } else { 6 };
    default(spec, "backoffLimit", limit);
    default(spec, "completionMode", "NonIndexed");
    default(spec, "suspend", false);
    default(spec, "manualSelector", false);
    let replacement = if spec.contains_key("podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
    default(spec, "podReplacementPolicy", replacement);
    set_shared_defaults(spec);
}

/// Sets the defaults that templates of jobs have too.
pub(super) fn set_shared_defaults(spec: &mut Map) {
    pod::set_defaults(object(object(spec, "template"), "spec"));
    if let Some(Value::Object(policy)) = spec.get_mut("podFailurePolicy") {
        for rule in items(policy, "rules") {
            for condition in items(rule, "onPodConditions") {
                default(condition, "status", "True");
            }
        }
    }
}

/// Labels the template with what tells this job from all others, and selects by it.
fn generate_selector(job: &mut Value) {
    let metadata = job["metadata"].clone();
    let template = &mut job["spec"]["template"];
    for (label, field) in LABELS {
        let labels = &mut template["metadata"]["labels"];
        // What is there and wrong is for validation to tell.
        if labels[label].is_null() {
            labels[label] = metadata[field].clone();
        }
    }
    let (label, field) = LABELS[0];
    let matched = &mut job["spec"]["selector"]["matchLabels"];
    if matched[label].is_null() {
        matched[label] = metadata[field].clone();
    }
}

fn generated_selector(job: &Value, errors: &mut Vec<FieldError>) {
    let spec = &job["spec"];
    if spec["manualSelector"] == true || !spec["selector"].is_object() {
        return;
    }
    let path = Path::new("spec");
    let labels = &spec["template"]["metadata"]["labels"];
    let mut expected = json!({});
    for (label, field) in LABELS {
        let value = text(&job["metadata"], field);
        expected[label] = value.into();
        let path = path.child("template").child("metadata").child("labels").key(label);
        let words = format!("must be '{value}'");
        match labels[label].as_str() {
            None => errors.push(FieldError::required(&path, words)),
            Some(actual) if actual != value => errors.push(FieldError::invalid(&path, labels.clone(), words)),
            Some(_) => {}
        }
    }
    if !workload::selects(&spec["selector"], &expected) {
        let words = "`selector` not auto-generated";
        errors.push(FieldError::invalid(&path.child("selector"), spec["selector"].clone(), words));
    }
}

/// Pods of an indexed job are named by their number: the longest name must be a DNS label.
fn host_names(job: &Value, errors: &mut Vec<FieldError>) {
    let count = job["spec"]["completions"].as_i64().unwrap_or(0);
    if job["spec"]["completionMode"] != "Indexed" || count <= 0 {
        return;
    }
    let name = text(&job["metadata"], "name");
    let longest = format!("{name}-{}", count - 1);
    let path = Path::new("metadata").child("name");
    let mut faults = Vec::new();
    dns_label(&path, &longest, &mut faults);
    if !faults.is_empty() {
        let words = format!("will not able to create pod with invalid DNS label: {longest}");
        errors.push(FieldError::invalid(&path, name, words));
    }
}

/// Checks a job's spec but for its selector.
pub(super) fn validate_spec(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    for key in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        not_negative(&path.child(key), &spec[key], errors);
    }
    if !spec["maxFailedIndexes"].is_null() && spec["backoffLimitPerIndex"].is_null() {
        let words = "when maxFailedIndexes is specified";
        errors.push(FieldError::required(&path.child("backoffLimitPerIndex"), words));
    }
    let mode = spec["completionMode"].as_str().unwrap_or("NonIndexed");
    one_of(&path.child("completionMode"), mode, &["Indexed", "NonIndexed"], errors);
    if mode == "Indexed" {
        if spec["completions"].is_null() {
            let words = "when completion mode is Indexed";
            errors.push(FieldError::required(&path.child("completions"), words));
        }
        if spec["parallelism"].as_i64().is_some_and(|count| count > MOST_PARALLEL) {
            let words =
                format!("must be less than or equal to {MOST_PARALLEL} when completion mode is Indexed");
            errors.push(FieldError::invalid(&path.child("parallelism"), spec["parallelism"].clone(), words));
        }
        policies::failed_indexes(path, spec, errors);
    } else {
        for key in ["backoffLimitPerIndex", "maxFailedIndexes"] {
            if !spec[key].is_null() {
                let words = "requires indexed completion mode";
                errors.push(FieldError::invalid(&path.child(key), spec[key].clone(), words));
            }
        }
    }
    policies::failure(path, spec, errors);
    policies::success(path, spec, errors);
    policies::replacement(path, spec, errors);
    if !spec["managedBy"].is_null() {
        policies::managed_by(&path.child("managedBy"), text(spec, "managedBy"), errors);
    }
    workload::template(&path.child("template"), &spec["template"], errors);
    let at = path.child("template").child("spec").child("restartPolicy");
    match text(&spec["template"]["spec"], "restartPolicy") {
        "Always" => errors.push(FieldError::required(&at, "valid values: \"OnFailure\", \"Never\"")),
        "OnFailure" | "Never" => {}
        other => errors.push(FieldError::not_supported(&at, other, &["Never", "OnFailure"])),
    }
}

fn validate_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let path = Path::new("spec");
    let (spec, before) = (&new["spec"], &old["spec"]);
    let elastic = spec["completionMode"] == "Indexed"
        && spec["completions"].is_i64()
        && spec["parallelism"] == spec["completions"];
    if !elastic {
        immutable(&path.child("completions"), &spec["completions"], &before["completions"], &mut errors);
    }
    immutable(&path.child("selector"), &spec["selector"], &before["selector"], &mut errors);
    template_update(&path.child("template"), new, old, &mut errors);
    for key in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"] {
        immutable(&path.child(key), &spec[key], &before[key], &mut errors);
    }
    errors
}

/// A template is fixed, but for where pods go while a job waits for its first start.
fn template_update(path: &Path, new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let mut template = new["spec"]["template"].clone();
    let before = &old["spec"]["template"];
    let started = !old["status"]["startTime"].is_null();
    if old["spec"]["suspend"] == true && !started {
        for field in ["nodeSelector", "affinity", "tolerations", "schedulingGates"] {
            restore(&mut template["spec"], &before["spec"], field);
        }
        for field in ["annotations", "labels"] {
            restore(&mut template["metadata"], &before["metadata"], field);
        }
    }
    immutable(path, &template, before, errors);
}
