//! FlowSchema.

use gantry_json::{Value, json};

use super::common::{
    default_zero, dns_label, dns_label_faults, dns_subdomain, drop_status, keep_status, list, object, one_of,
    required, text,
};
use crate::field::{FieldError, Path};
use crate::registry::Rules;

const HIGHEST_PRECEDENCE: i64 = 10_000;
/// The verbs of requests.
const VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

/// The rules.
pub const RULES: Rules = Rules {
    default: |schema| {
        if let Some(schema) = schema.as_object_mut() {
            default_zero(object(schema, "spec"), "matchingPrecedence", 1000);
        }
    },
    prepare_create: drop_status,
    prepare_update: keep_status,
    validate: |schema| {
        let mut errors = Vec::new();
        let (path, spec) = (Path::new("spec"), &schema["spec"]);
        precedence(&path.child("matchingPrecedence"), schema, &mut errors);
        if spec["distinguisherMethod"].is_object() {
            let at = path.child("distinguisherMethod").child("type");
            let method = text(&spec["distinguisherMethod"], "type");
            let known = ["ByNamespace", "ByUser"];
            if !known.contains(&method) {
                errors.push(FieldError::not_supported(&at, spec["distinguisherMethod"].clone(), &known));
            }
        }
        let at = path.child("priorityLevelConfiguration").child("name");
        match text(&spec["priorityLevelConfiguration"], "name") {
            "" => errors.push(FieldError::required(&at, "must reference a priority level")),
            name => dns_subdomain(&at, name, &mut errors),
        }
        for (at, rule) in list(spec, "rules").iter().enumerate() {
            rule_with_subjects(&path.child("rules").index(at), rule, &mut errors);
        }
        let name = text(&schema["metadata"], "name");
        if mandatory(name).is_some_and(|wanted| !alike(spec, &wanted)) {
            let words = format!("spec of '{name}' must equal the fixed value");
            errors.push(FieldError::invalid(&path, spec.clone(), words));
        }
        errors
    },
    validate_status: |new, _, _| conditions(new),
    ..Rules::NONE
};

/// The spec of a schema that every server has.
fn mandatory(name: &str) -> Option<Value> {
    let (precedence, groups, method) = match name {
        "exempt" => (1, ["system:masters"].as_slice(), Value::Null),
        "catch-all" => {
            let everybody = ["system:unauthenticated", "system:authenticated"].as_slice();
            (HIGHEST_PRECEDENCE, everybody, json!({"type": "ByUser"}))
        }
        _ => return None,
    };
    let subjects: Vec<_> =
        groups.iter().map(|group| json!({"kind": "Group", "group": {"name": group}})).collect();
    Some(json!({"priorityLevelConfiguration": {"name": name}, "matchingPrecedence": precedence,
        "distinguisherMethod": method, "rules": [{"subjects": subjects,
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true,
                "namespaces": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}]}))
}

/// Whether two values are the same where what is empty counts as absent.
pub(super) fn alike(one: &Value, other: &Value) -> bool {
    let empty = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
        Value::Object(_) | Value::Bool(true) => false,
    };
    match (one, other) {
        (Value::Object(fields), Value::Object(others)) => {
            fields.iter().all(|(name, value)| alike(value, &other[name]))
                && others.iter().all(|(name, value)| fields.contains_key(name) || empty(value))
        }
        (Value::Array(items), Value::Array(others)) => {
            items.len() == others.len() && items.iter().zip(others).all(|(one, other)| alike(one, other))
        }
        (one, other) => one == other || (empty(one) && empty(other)),
    }
}

/// What is wrong with the conditions of an object.
pub(super) fn conditions(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let path = Path::new("status").child("conditions");
    let conditions = list(&object["status"], "conditions");
    for (at, condition) in conditions.iter().enumerate() {
        let path = path.index(at).child("type");
        if conditions[..at].iter().any(|other| other["type"] == condition["type"]) {
            errors.push(FieldError::duplicate(&path, condition["type"].clone()));
        }
        if text(condition, "type").is_empty() {
            errors.push(FieldError::required(&path, "must not be empty"));
        }
    }
    errors
}

fn precedence(path: &Path, schema: &Value, errors: &mut Vec<FieldError>) {
    let precedence = schema["spec"]["matchingPrecedence"].as_i64().unwrap_or(0);
    if precedence <= 0 {
        errors.push(FieldError::invalid(path, precedence, "must be a positive value"));
    }
    if precedence > HIGHEST_PRECEDENCE {
        let words = format!("must not be greater than {HIGHEST_PRECEDENCE}");
        errors.push(FieldError::invalid(path, precedence, words));
    }
    if precedence == 1 && schema["metadata"]["name"] != "exempt" {
        let words = "only the schema named 'exempt' may have matchingPrecedence 1";
        errors.push(FieldError::invalid(path, precedence, words));
    }
}

fn rule_with_subjects(path: &Path, rule: &Value, errors: &mut Vec<FieldError>) {
    let subjects = list(rule, "subjects");
    if subjects.is_empty() {
        let words = "subjects must contain at least one value";
        errors.push(FieldError::required(&path.child("subjects"), words));
    }
    for (at, each) in subjects.iter().enumerate() {
        subject(&path.child("subjects").index(at), each, errors);
    }
    let (resources, others) = (list(rule, "resourceRules"), list(rule, "nonResourceRules"));
    if resources.is_empty() && others.is_empty() {
        let words = "at least one of resourceRules and nonResourceRules has to be non-empty";
        errors.push(FieldError::required(path, words));
    }
    for (at, each) in resources.iter().enumerate() {
        let path = path.child("resourceRules").index(at);
        verbs(&path, each, errors);
        let what = [
            ("apiGroups", "resource rules must supply at least one api group", "api groups"),
            ("resources", "resource rules must supply at least one resource", "resources"),
        ];
        for (key, missing, others) in what {
            let values = list(each, key);
            if values.is_empty() {
                errors.push(FieldError::required(&path.child(key), missing));
            } else {
                alone(&path.child(key), values, others, errors);
            }
        }
        namespaces(&path.child("namespaces"), each, errors);
    }
    for (at, each) in others.iter().enumerate() {
        let path = path.child("nonResourceRules").index(at);
        verbs(&path, each, errors);
        urls(&path.child("nonResourceURLs"), list(each, "nonResourceURLs"), errors);
    }
}

fn subject(path: &Path, subject: &Value, errors: &mut Vec<FieldError>) {
    const KINDS: [(&str, &str); 3] =
        [("Group", "group"), ("ServiceAccount", "serviceAccount"), ("User", "user")];
    let kind = text(subject, "kind");
    let Some((_, field)) = KINDS.iter().find(|(name, _)| *name == kind) else {
        one_of(&path.child("kind"), kind, &KINDS.map(|(name, _)| name), errors);
        return;
    };
    named(&path.child(field), kind, field, &subject[*field], errors);
    for (name, other) in KINDS.iter().filter(|(name, other)| *name != kind && subject[*other].is_object()) {
        let words = format!("{other} is forbidden when subject kind is not '{name}'");
        errors.push(FieldError::forbidden(&path.child(other), words));
    }
}

fn named(path: &Path, kind: &str, field: &str, named: &Value, errors: &mut Vec<FieldError>) {
    if !named.is_object() {
        let words = format!("{field} is required when subject kind is '{kind}'");
        errors.push(FieldError::required(path, words));
        return;
    }
    let name = required(path, named, "name", errors);
    if kind != "ServiceAccount" {
        return;
    }
    if let Some(name) = name.filter(|name| *name != "*") {
        dns_subdomain(&path.child("name"), name, errors);
    }
    match text(named, "namespace") {
        "" => {
            let words = "must specify namespace for service account";
            errors.push(FieldError::required(&path.child("namespace"), words));
        }
        namespace => dns_label(&path.child("namespace"), namespace, errors),
    }
}

/// Refuses other values beside one that stands for all.
fn alone(path: &Path, values: &[Value], what: &str, errors: &mut Vec<FieldError>) {
    if values.len() > 1 && values.iter().any(|value| value == "*") {
        let words = format!("if '*' is present, must not specify other {what}");
        errors.push(FieldError::invalid(path, values.to_vec(), words));
    }
}

fn verbs(path: &Path, rule: &Value, errors: &mut Vec<FieldError>) {
    let (path, verbs) = (path.child("verbs"), list(rule, "verbs"));
    if verbs.is_empty() {
        errors.push(FieldError::required(&path, "verbs must contain at least one value"));
    } else if verbs.iter().any(|verb| verb == "*") {
        alone(&path, verbs, "verbs", errors);
    } else if verbs.iter().any(|verb| !VERBS.contains(&verb.as_str().unwrap_or_default())) {
        errors.push(FieldError::not_supported(&path, verbs.to_vec(), VERBS));
    }
}

fn namespaces(path: &Path, rule: &Value, errors: &mut Vec<FieldError>) {
    let namespaces = list(rule, "namespaces");
    if namespaces.is_empty() && rule["clusterScope"] != true {
        let words = "resource rules that are not cluster scoped must supply at least one namespace";
        errors.push(FieldError::required(path, words));
    } else if namespaces.iter().any(|namespace| namespace == "*") {
        alone(path, namespaces, "namespaces", errors);
    } else {
        for (at, namespace) in namespaces.iter().enumerate() {
            let namespace = namespace.as_str().unwrap_or_default();
            for fault in dns_label_faults(namespace) {
                let words = format!("each member of this list must be '*' or a DNS-1123 label; {fault}");
                errors.push(FieldError::invalid(&path.index(at), namespace, words));
            }
        }
    }
}

fn urls(path: &Path, urls: &[Value], errors: &mut Vec<FieldError>) {
    if urls.is_empty() {
        let words = "nonResourceURLs must contain at least one value";
        errors.push(FieldError::required(path, words));
    } else if urls.iter().any(|url| url == "*") {
        alone(path, urls, "non-resource URLs", errors);
    } else {
        for (at, url) in urls.iter().enumerate() {
            let (path, url) = (path.index(at), url.as_str().unwrap_or_default());
            let words = if url.is_empty() {
                "must not be empty"
            } else if !url.starts_with('/') {
                "must start with slash"
            } else if url.contains(' ') {
                "must not contain white-space"
            } else if url.contains("//") {
                "must not contain double slash"
            } else if url.strip_suffix("/*").unwrap_or(url).contains('*') {
                "wildcard can only do suffix matching"
            } else {
                continue;
            };
            errors.push(FieldError::invalid(&path, url, words));
        }
    }
}
