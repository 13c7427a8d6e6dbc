//! Where pods may go: affinity to nodes and to other pods, spreading, terms that select nodes.

use gantry_json::Value;

use super::common::{
    dns_label, dns_subdomain, label_selector, label_value, label_value_faults, list, one_of, qualified_name,
    required_one_of, text,
};
use crate::field::{FieldError, Path};

/// What a taint does.
const EFFECTS: &[&str] = &["NoExecute", "NoSchedule", "PreferNoSchedule"];
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
        let path = path.index(at);
        node_selector_term(&path, term, errors);
        for (at, each) in list(term, "matchExpressions").iter().enumerate() {
            let path = path.child("matchExpressions").index(at).child("values");
            for (at, value) in list(each, "values").iter().filter_map(Value::as_str).enumerate() {
                label_value(&path.index(at), value, errors);
            }
        }
    }
}

/// Checks a term; what values are preferred may be any.
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
            continue;
        }
        for (at, name) in list(each, "values").iter().filter_map(Value::as_str).enumerate() {
            dns_subdomain(&path.child("values").index(at), name, errors);
        }
    }
}

fn topology_key(path: &Path, key: &str, errors: &mut Vec<FieldError>) {
    if key.is_empty() {
        errors.push(FieldError::required(path, "can not be empty"));
    }
}

fn pod_term(path: &Path, term: &Value, errors: &mut Vec<FieldError>) {
    for key in ["labelSelector", "namespaceSelector"] {
        label_selector(&path.child(key), &term[key], errors);
    }
    for namespace in list(term, "namespaces") {
        dns_label(&path.child("namespace"), namespace.as_str().unwrap_or_default(), errors);
    }
    let keys = |field: &str| list(term, field).iter().filter_map(Value::as_str);
    for field in ["matchLabelKeys", "mismatchLabelKeys"] {
        let at = path.child(field);
        if keys(field).next().is_some() && !term["labelSelector"].is_object() {
            let words = "must not be specified when labelSelector is not set";
            errors.push(FieldError::forbidden(&at, words));
            continue;
        }
        keys(field).enumerate().for_each(|(index, key)| qualified_name(&at.index(index), key, errors));
    }
    selected_twice(path, list(term, "matchLabelKeys"), &term["labelSelector"], errors);
    for (index, key) in keys("matchLabelKeys").enumerate() {
        if keys("mismatchLabelKeys").any(|other| other == key) {
            let words = "exists in both matchLabelKeys and mismatchLabelKeys";
            let at = path.child("matchLabelKeys").index(index);
            errors.push(FieldError::invalid(&at, key, words));
        }
    }
    let (at, key) = (path.child("topologyKey"), text(term, "topologyKey"));
    topology_key(&at, key, errors);
    qualified_name(&at, key, errors);
}

/// Checks that no key is selected both by the pod's own value and by another: the former has become an
/// expression of the selector already.
fn selected_twice(path: &Path, keys: &[Value], selector: &Value, errors: &mut Vec<FieldError>) {
    let labels = selector["matchLabels"].as_object();
    let mut seen: Vec<&str> = labels.into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    for expression in list(selector, "matchExpressions") {
        let key = text(expression, "key");
        if let Some(at) = keys.iter().rposition(|each| each == key).filter(|_| seen.contains(&key)) {
            let words = "exists in both matchLabelKeys and labelSelector";
            errors.push(FieldError::invalid(&path.index(at), key, words));
        }
        seen.push(key);
    }
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
        if constraints[at + 1..].iter().any(same) {
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
        let (at, keys) = (path.child("matchLabelKeys"), list(constraint, "matchLabelKeys"));
        if !keys.is_empty() && !constraint["labelSelector"].is_object() {
            let words = "must not be specified when labelSelector is not set";
            errors.push(FieldError::forbidden(&at, words));
        }
        for (index, key) in keys.iter().filter_map(Value::as_str).enumerate() {
            qualified_name(&at.index(index), key, errors);
        }
        selected_twice(&at, keys, &constraint["labelSelector"], errors);
        label_selector(&path.child("labelSelector"), &constraint["labelSelector"], errors);
    }
}

/// Checks tolerations.
pub(super) fn tolerations(path: &Path, tolerations: &[Value], errors: &mut Vec<FieldError>) {
    for (at, toleration) in tolerations.iter().enumerate() {
        let path = path.index(at);
        let (key, value, effect) =
            (text(toleration, "key"), text(toleration, "value"), text(toleration, "effect"));
        let (operator, at) = (text(toleration, "operator"), path.child("operator"));
        if !key.is_empty() {
            qualified_name(&path.child("key"), key, errors);
        } else if operator != "Exists" {
            let words =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(FieldError::invalid(&at, operator, words));
        }
        if !toleration["tolerationSeconds"].is_null() && effect != "NoExecute" {
            let words = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(FieldError::invalid(&path.child("effect"), effect, words));
        }
        match operator {
            "" | "Equal" => {
                let faults = label_value_faults(value);
                if !faults.is_empty() {
                    errors.push(FieldError::invalid(&at, value, faults.join(";")));
                }
            }
            "Exists" if !value.is_empty() => {
                let words = "value must be empty when `operator` is 'Exists'";
                errors.push(FieldError::invalid(&at, value, words));
            }
            "Exists" => {}
            other => errors.push(FieldError::not_supported(&at, other, &["Equal", "Exists"])),
        }
        if !effect.is_empty() {
            one_of(&path.child("effect"), effect, EFFECTS, errors);
        }
    }
}

/// Checks the taints of a node.
pub(super) fn taints(path: &Path, taints: &[Value], errors: &mut Vec<FieldError>) {
    for (at, taint) in taints.iter().enumerate() {
        let path = path.index(at);
        let (key, value, effect) = (text(taint, "key"), text(taint, "value"), text(taint, "effect"));
        qualified_name(&path.child("key"), key, errors);
        let faults = label_value_faults(value);
        if !faults.is_empty() {
            errors.push(FieldError::invalid(&path.child("value"), value, faults.join(";")));
        }
        required_one_of(&path.child("effect"), effect, EFFECTS, errors);
        if taints[..at].iter().any(|other| text(other, "key") == key && text(other, "effect") == effect) {
            let mut error = FieldError::duplicate(&path, taint.clone());
            error.detail = "taints must be unique by key and effect pair".to_owned();
            errors.push(error);
        }
    }
}
