//! Where pods may go: affinity to nodes and to other pods, spreading, terms that select nodes.

use serde_json::Value;

use super::common::{dns_label, label_selector, list, one_of, qualified_name, text};
use crate::field::{FieldError, Path};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Checks a pod's affinity.
pub(super) fn affinity(path: &Path, affinity: &Value, errors: &mut Vec<FieldError>) {
    let (at, node) = (path.child("nodeAffinity"), &affinity["nodeAffinity"]);
    if node[REQUIRED].is_object() {
        node_selector(&at.child(REQUIRED), &node[REQUIRED], errors);
    }
    for (index, term) in list(node, PREFERRED).iter().enumerate() {
        let path = at.child(PREFERRED).index(index);
        weight(&path, term, errors);
        node_selector_term(&path.child("preference"), &term["preference"], errors);
    }
    for key in ["podAffinity", "podAntiAffinity"] {
        let (at, pods) = (path.child(key), &affinity[key]);
        for (index, term) in list(pods, REQUIRED).iter().enumerate() {
            pod_term(&at.child(REQUIRED).index(index), term, errors);
        }
        for (index, term) in list(pods, PREFERRED).iter().enumerate() {
            let path = at.child(PREFERRED).index(index);
            weight(&path, term, errors);
            pod_term(&path.child("podAffinityTerm"), &term["podAffinityTerm"], errors);
        }
    }
}

fn weight(path: &Path, term: &Value, errors: &mut Vec<FieldError>) {
    let weight = term["weight"].as_i64().unwrap_or(0);
    if !(1..=100).contains(&weight) {
        errors.push(FieldError::invalid(&path.child("weight"), weight, "must be in the range 1-100"));
    }
}

/// Checks terms that select nodes.
pub(super) fn node_selector(path: &Path, selector: &Value, errors: &mut Vec<FieldError>) {
    let (path, terms) = (path.child("nodeSelectorTerms"), list(selector, "nodeSelectorTerms"));
    if terms.is_empty() {
        errors.push(FieldError::required(&path, "must have at least one node selector term"));
    }
    for (at, term) in terms.iter().enumerate() {
        node_selector_term(&path.index(at), term, errors);
    }
}

fn node_selector_term(path: &Path, term: &Value, errors: &mut Vec<FieldError>) {
    for (at, each) in list(term, "matchExpressions").iter().enumerate() {
        let path = path.child("matchExpressions").index(at);
        let (at, values) = (path.child("values"), list(each, "values"));
        match text(each, "operator") {
            "In" | "NotIn" if values.is_empty() => {
                errors.push(FieldError::required(&at, "must be specified when `operator` is 'In' or 'NotIn'"))
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(FieldError::forbidden(
                &at,
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "Gt" | "Lt" if values.len() != 1 => errors.push(FieldError::required(
                &at,
                "must be specified single value when `operator` is 'Lt' or 'Gt'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            other => {
                let words = "not a valid selector operator";
                errors.push(FieldError::invalid(&path.child("operator"), other, words));
            }
        }
        qualified_name(&path.child("key"), text(each, "key"), errors);
    }
    for (at, each) in list(term, "matchFields").iter().enumerate() {
        let path = path.child("matchFields").index(at);
        match text(each, "operator") {
            "In" | "NotIn" if list(each, "values").len() != 1 => errors.push(FieldError::required(
                &path.child("values"),
                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
            )),
            "In" | "NotIn" => {}
            other => {
                let words = "not a valid selector operator";
                errors.push(FieldError::invalid(&path.child("operator"), other, words));
            }
        }
        let key = text(each, "key");
        if key != "metadata.name" {
            errors.push(FieldError::invalid(&path.child("key"), key, "not a valid field selector key"));
        }
    }
}

fn topology_key(path: &Path, key: &str, errors: &mut Vec<FieldError>) {
    match key {
        "" => errors.push(FieldError::required(path, "can not be empty")),
        key => qualified_name(path, key, errors),
    }
}

fn pod_term(path: &Path, term: &Value, errors: &mut Vec<FieldError>) {
    for key in ["labelSelector", "namespaceSelector"] {
        label_selector(&path.child(key), &term[key], errors);
    }
    for namespace in list(term, "namespaces") {
        dns_label(&path.child("namespace"), namespace.as_str().unwrap_or_default(), errors);
    }
    topology_key(&path.child("topologyKey"), text(term, "topologyKey"), errors);
}

/// Checks how pods are spread.
pub(super) fn spread(path: &Path, constraints: &[Value], errors: &mut Vec<FieldError>) {
    for (at, constraint) in constraints.iter().enumerate() {
        let path = path.index(at);
        let skew = constraint["maxSkew"].as_i64().unwrap_or(0);
        if skew <= 0 {
            errors.push(FieldError::invalid(&path.child("maxSkew"), skew, "must be greater than zero"));
        }
        let (key, action) = (text(constraint, "topologyKey"), text(constraint, "whenUnsatisfiable"));
        topology_key(&path.child("topologyKey"), key, errors);
        one_of(&path.child("whenUnsatisfiable"), action, &["DoNotSchedule", "ScheduleAnyway"], errors);
        let same =
            |other: &Value| text(other, "topologyKey") == key && text(other, "whenUnsatisfiable") == action;
        if constraints[..at].iter().any(same) {
            let path = path.child("{topologyKey, whenUnsatisfiable}");
            errors.push(FieldError::duplicate(&path, format!("{{{key}, {action}}}")));
        }
        let least = &constraint["minDomains"];
        if least.as_i64().is_some_and(|least| least <= 0) {
            let words = "must be greater than zero";
            errors.push(FieldError::invalid(&path.child("minDomains"), least.clone(), words));
        }
        if !least.is_null() && action != "DoNotSchedule" {
            let words = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
            errors.push(FieldError::invalid(&path.child("minDomains"), least.clone(), words));
        }
        for key in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            if !constraint[key].is_null() {
                one_of(&path.child(key), text(constraint, key), &["Honor", "Ignore"], errors);
            }
        }
        label_selector(&path.child("labelSelector"), &constraint["labelSelector"], errors);
    }
}
