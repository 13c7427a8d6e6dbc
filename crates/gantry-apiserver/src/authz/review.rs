//! The review kinds of `authorization.k8s.io`: what a client may learn about what is allowed.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_api::field::{FieldError, Path};
use gantry_json::{Text, Value, json};

use super::{Authorizer, Decision, Rule, review_selectors as selectors};
use crate::{Attributes, User};

const RESOURCE: &str = "resourceAttributes";
const NON_RESOURCE: &str = "nonResourceAttributes";

/// The status of a SelfSubjectAccessReview with `spec`, or what is wrong with it.
pub async fn self_subject_access_review(
    authorizer: &Authorizer,
    user: &User,
    spec: &Value,
) -> Result<Value, Vec<FieldError>> {
    let errors = spec_errors(spec);
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(status(authorizer, spec, user.clone()).await)
}

/// The status of a SubjectAccessReview with `spec`, or what is wrong with it.
pub async fn subject_access_review(authorizer: &Authorizer, spec: &Value) -> Result<Value, Vec<FieldError>> {
    let errors = subject_errors(spec);
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(status(authorizer, spec, spec_user(spec)).await)
}

/// The status of a LocalSubjectAccessReview with `spec`, made in `namespace`, or what is wrong with it.
pub async fn local_subject_access_review(
    authorizer: &Authorizer,
    namespace: &str,
    spec: &Value,
) -> Result<Value, Vec<FieldError>> {
    let mut errors = subject_errors(spec);
    if let Some(resource) = given(spec, RESOURCE) {
        let asked = resource["namespace"].as_str().unwrap_or_default();
        if asked != namespace {
            let path = Path::new("spec").child(RESOURCE).child("namespace");
            errors.push(FieldError::invalid(&path, asked, "must match metadata.namespace"));
        }
    }
    if let Some(other) = given(spec, NON_RESOURCE) {
        let path = Path::new("spec").child(NON_RESOURCE);
        errors.push(FieldError::invalid(&path, other.clone(), "disallowed on this kind of request"));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(status(authorizer, spec, spec_user(spec)).await)
}

fn given<'a>(spec: &'a Value, field: &str) -> Option<&'a Value> {
    spec.get(field).filter(|value| !value.is_null())
}

fn spec_errors(spec: &Value) -> Vec<FieldError> {
    let mut errors = target_errors(spec);
    selectors::check(spec, &mut errors);
    errors
}

fn target_errors(spec: &Value) -> Vec<FieldError> {
    let path = Path::new("spec");
    match (given(spec, RESOURCE), given(spec, NON_RESOURCE)) {
        (Some(_), Some(other)) => vec![FieldError::invalid(
            &path.child(NON_RESOURCE),
            other.clone(),
            "cannot be specified in combination with resourceAttributes",
        )],
        (None, None) => vec![FieldError::invalid(
            &path.child(RESOURCE),
            Value::Null,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        )],
        _ => Vec::new(),
    }
}

fn subject_errors(spec: &Value) -> Vec<FieldError> {
    let mut errors = target_errors(spec);
    let user = spec_user(spec);
    if user.name.is_empty() && user.groups.is_empty() {
        let detail = "at least one of user or group must be specified";
        errors.push(FieldError::invalid(&Path::new("spec").child("user"), "", detail));
    }
    selectors::check(spec, &mut errors);
    errors
}

/// What a user may do, as a SelfSubjectRulesReview shows it.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// Rules for resources.
    pub resources: Vec<Value>,
    /// Rules for other paths.
    pub paths: Vec<Value>,
    /// Why that is not all.
    pub unknown: Vec<&'static str>,
}

impl Rules {
    /// Adds RBAC's rules.
    pub fn extend(&mut self, rules: &[&Rule]) {
        for rule in rules.iter().filter(|rule| !rule.resources.is_empty()) {
            let mut shown = json!({
                "verbs": rule.verbs, "apiGroups": rule.api_groups, "resources": rule.resources,
            });
            if !rule.resource_names.is_empty() {
                shown["resourceNames"] = json!(rule.resource_names);
            }
            self.resources.push(shown);
        }
        let paths = rules.iter().filter(|rule| !rule.non_resource_urls.is_empty());
        let shown = paths.map(|rule| json!({"verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls}));
        self.paths.extend(shown);
    }
}

/// The status of a SelfSubjectRulesReview for `namespace`.
pub fn self_subject_rules_review(authorizer: &Authorizer, user: &User, namespace: &str) -> Value {
    let Rules { resources, paths, unknown } = authorizer.rules_of(user, namespace);
    let mut status = json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false});
    if !unknown.is_empty() {
        status["incomplete"] = json!(true);
        status["evaluationError"] = match unknown.as_slice() {
            [one] => json!(one),
            several => json!(format!("[{}]", several.join(", "))),
        };
    }
    status
}

/// What a review's `spec` asks about, for `user`. What of a selector cannot be read is left out, which only asks for more.
pub fn access_review_attributes(spec: &Value, user: impl Into<Arc<User>>) -> Attributes {
    let user = user.into();
    let get = |value: &Value, field: &str| Text::new(value[field].as_str().unwrap_or(""));
    let other = &spec[NON_RESOURCE];
    match given(spec, RESOURCE) {
        Some(resource) => Attributes {
            user,
            verb: get(resource, "verb"),
            group: get(resource, "group"),
            version: Some(get(resource, "version"))
                .filter(|version| !version.is_empty())
                .unwrap_or_else(|| "*".into()),
            resource: get(resource, "resource"),
            subresource: get(resource, "subresource"),
            namespace: get(resource, "namespace"),
            name: get(resource, "name"),
            is_resource: true,
            field_selector: selectors::fields(&resource["fieldSelector"]).text.into(),
            label_selector: selectors::labels(&resource["labelSelector"]).text.into(),
            ..Attributes::default()
        },
        None => {
            Attributes { user, verb: get(other, "verb"), path: get(other, "path"), ..Attributes::default() }
        }
    }
}

fn spec_user(spec: &Value) -> User {
    let list = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
    };
    let extra: BTreeMap<_, _> = spec["extra"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, values)| (key.to_string(), list(values)))
        .collect();
    User {
        name: spec["user"].as_str().unwrap_or("").to_owned(),
        uid: spec["uid"].as_str().unwrap_or("").to_owned(),
        groups: list(&spec["groups"]),
        extra,
    }
}

async fn status(authorizer: &Authorizer, spec: &Value, user: User) -> Value {
    let decision = authorizer.authorize(&access_review_attributes(spec, user)).await;
    let mut status = json!({"allowed": decision.is_allowed()});
    if matches!(decision, Decision::Deny(_) | Decision::Failed { denied: true, .. }) {
        status["denied"] = json!(true);
    }
    let mut failures = Vec::new();
    if let Decision::Failed { error, .. } = &decision {
        failures.push(error.clone());
    } else if !decision.reason().is_empty() {
        status["reason"] = json!(decision.reason());
    }
    failures.extend(selectors::ignored(spec));
    if !failures.is_empty() {
        status["evaluationError"] = json!(failures.join("; "));
    }
    status
}
