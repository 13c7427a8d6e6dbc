//! What kinds that make pods from a template have in common.

use gantry_json::{Map, Value};

use super::common::{label_selector, list, not_negative, text};
use super::{pod_spec, pod_warnings};
use crate::field::{FieldError, Path};

/// Checks the selector at `path`; `empty` are the words for one that selects everything.
pub(super) fn selector(path: &Path, selector: &Value, empty: &str, errors: &mut Vec<FieldError>) {
    if !selector.is_object() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    label_selector(path, selector, errors);
    if is_empty(selector) {
        errors.push(FieldError::invalid(path, selector.clone(), empty));
    }
}

/// Whether the selector selects everything.
pub(super) fn is_empty(selector: &Value) -> bool {
    list(selector, "matchExpressions").is_empty()
        && selector["matchLabels"].as_object().is_none_or(Map::is_empty)
}

/// Checks that the selector selects the template's pods.
pub(super) fn selected(path: &Path, selector: &Value, template: &Value, errors: &mut Vec<FieldError>) {
    let labels = &template["metadata"]["labels"];
    if !is_empty(selector) && !selects(selector, labels) {
        errors.push(FieldError::invalid(
            &path.child("metadata").child("labels"),
            labels.clone(),
            "`selector` does not match template `labels`",
        ));
    }
}

/// Checks a pod template.
pub(super) fn template(path: &Path, template: &Value, errors: &mut Vec<FieldError>) {
    let (metadata, spec) = (&template["metadata"], &template["spec"]);
    let notes = path.child("annotations");
    super::common::labels(&path.child("labels"), &metadata["labels"], errors);
    super::metadata::annotations(&notes, &metadata["annotations"], errors);
    pod_spec::annotations(&notes, &metadata["annotations"], spec, errors);
    pod_spec::validate(&path.child("spec"), spec, None, errors);
    if !list(spec, "ephemeralContainers").is_empty() {
        let path = path.child("spec").child("ephemeralContainers");
        errors.push(FieldError::forbidden(&path, "ephemeral containers not allowed in pod template"));
    }
}

/// Checks that the template's pods are restarted whenever they end.
pub(super) fn always_restarts(path: &Path, template: &Value, errors: &mut Vec<FieldError>) {
    let policy = text(&template["spec"], "restartPolicy");
    if policy != "Always" {
        let path = path.child("spec").child("restartPolicy");
        errors.push(FieldError::not_supported(&path, policy, &["Always"]));
    }
}

/// Checks the numbers of a workload's status: none below zero, none of `parts` above all replicas.
pub(super) fn status(new: &Value, old: &Value, parts: &[&str]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (path, status) = (Path::new("status"), &new["status"]);
    let replicas = status["replicas"].as_i64().unwrap_or(0);
    for key in ["replicas", "observedGeneration", "collisionCount"].iter().chain(parts) {
        not_negative(&path.child(key), &status[*key], &mut errors);
    }
    for key in parts {
        if status[*key].as_i64().is_some_and(|count| count > replicas) {
            let words = "cannot be greater than status.replicas";
            errors.push(FieldError::invalid(&path.child(key), status[*key].clone(), words));
        }
    }
    let count = |object: &Value| object["status"]["collisionCount"].as_i64().unwrap_or(0);
    if count(new) < count(old) {
        errors.push(FieldError::invalid(&path.child("collisionCount"), count(new), "cannot be decremented"));
    }
    errors
}

/// Whether a label selector selects the labels.
pub(super) fn selects(selector: &Value, labels: &Value) -> bool {
    let equal =
        selector["matchLabels"].as_object().into_iter().flatten().all(|(key, value)| labels[key] == *value);
    equal
        && list(selector, "matchExpressions").iter().all(|expression| {
            let value = labels.get(text(expression, "key"));
            let listed = value.is_some_and(|value| list(expression, "values").contains(value));
            match text(expression, "operator") {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

/// What is said about the name of a new workload, and about its template.
pub(super) fn warnings_with_name(new: &Value, old: Option<&Value>) -> Vec<String> {
    let name = pod_warnings::of_name(new).filter(|_| old.is_none());
    name.into_iter().chain(warnings(new, old)).collect()
}

/// What is said about the template of a workload that is new or changed.
pub(super) fn warnings(new: &Value, old: Option<&Value>) -> Vec<String> {
    let template = |object: &Value| object["spec"]["template"].clone();
    let path = Path::new("spec").child("template");
    pod_warnings::of_template(&path, &template(new), old.map(template).as_ref())
}
