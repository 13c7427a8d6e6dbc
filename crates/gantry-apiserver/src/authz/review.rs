//! The review kinds of `authorization.k8s.io`: what a client may learn about what is allowed.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Authorizer, Decision, Rule};
use crate::{Attributes, User};

/// The status of a SelfSubjectAccessReview with `spec`. The error is the reason of a 422.
pub fn self_subject_access_review(
    authorizer: &Authorizer,
    user: &User,
    spec: &Value,
) -> Result<Value, String> {
    access_review_attributes(spec, user.clone()).map(|attributes| status(authorizer, &attributes))
}

/// The status of a SubjectAccessReview with `spec`. The error is the reason of a 422.
pub fn subject_access_review(authorizer: &Authorizer, spec: &Value) -> Result<Value, String> {
    let user = spec_user(spec);
    if user.name.is_empty() && user.groups.is_empty() {
        return Err("spec.user: Required value: at least one of user or group must be specified".into());
    }
    access_review_attributes(spec, user).map(|attributes| status(authorizer, &attributes))
}

/// The status of a LocalSubjectAccessReview with `spec`, made in `namespace`. The error is the reason of
/// a 422.
pub fn local_subject_access_review(
    authorizer: &Authorizer,
    namespace: &str,
    spec: &Value,
) -> Result<Value, String> {
    let asked = spec.pointer("/resourceAttributes/namespace").and_then(Value::as_str).unwrap_or("");
    if asked != namespace {
        let value = json!(asked);
        return Err(format!(
            "spec.resourceAttributes.namespace: Invalid value: {value}: must match metadata.namespace"
        ));
    }
    if spec.get("nonResourceAttributes").is_some_and(|value| !value.is_null()) {
        return Err("spec.nonResourceAttributes: Forbidden: disallowed on this kind of request".into());
    }
    subject_access_review(authorizer, spec)
}

/// The status of a SelfSubjectRulesReview for `namespace`.
pub fn self_subject_rules_review(authorizer: &Authorizer, user: &User, namespace: &str) -> Value {
    authorizer.with_rbac(|rbac| {
        let rules = rbac.rules_of(user, namespace);
        let resources: Vec<Value> = rules
            .iter()
            .filter(|rule| !rule.resources.is_empty())
            .map(|rule| {
                let mut out = json!({
                    "verbs": rule.verbs, "apiGroups": rule.api_groups, "resources": rule.resources,
                });
                if !rule.resource_names.is_empty() {
                    out["resourceNames"] = json!(rule.resource_names);
                }
                out
            })
            .collect();
        let urls = |rule: &&&Rule| !rule.non_resource_urls.is_empty();
        let others: Vec<Value> = rules
            .iter()
            .filter(urls)
            .map(|rule| json!({"verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls}))
            .collect();
        json!({"resourceRules": resources, "nonResourceRules": others, "incomplete": false})
    })
}

/// What a review's `spec` asks about, for `user`.
pub fn access_review_attributes(spec: &Value, user: User) -> Result<Attributes, String> {
    let get = |value: &Value, field: &str| value[field].as_str().unwrap_or("").to_owned();
    let resource = spec.get("resourceAttributes").filter(|value| !value.is_null());
    let other = spec.get("nonResourceAttributes").filter(|value| !value.is_null());
    match (resource, other) {
        (Some(resource), None) => Ok(Attributes {
            user,
            verb: get(resource, "verb"),
            group: get(resource, "group"),
            version: get(resource, "version"),
            resource: get(resource, "resource"),
            subresource: get(resource, "subresource"),
            namespace: get(resource, "namespace"),
            name: get(resource, "name"),
            is_resource: true,
            field_selector: field_selector(&resource["fieldSelector"]),
            ..Attributes::default()
        }),
        (None, Some(other)) => Ok(Attributes {
            user,
            verb: get(other, "verb"),
            path: get(other, "path"),
            ..Attributes::default()
        }),
        (None, None) => Err("spec.resourceAttributes: Invalid value: null: exactly one of \
             nonResourceAttributes or resourceAttributes must be specified"
            .into()),
        (Some(_), Some(_)) => Err("spec.nonResourceAttributes: Invalid value: cannot be specified in \
             combination with resourceAttributes"
            .into()),
    }
}

fn field_selector(selector: &Value) -> String {
    if let Some(raw) = selector["rawSelector"].as_str() {
        return raw.to_owned();
    }
    let requirements = selector["requirements"].as_array().into_iter().flatten();
    let terms = requirements.filter(|each| each["operator"] == "In").filter_map(|each| {
        let values = each["values"].as_array().filter(|values| values.len() == 1)?;
        Some(format!("{}={}", each["key"].as_str()?, values[0].as_str()?))
    });
    terms.collect::<Vec<_>>().join(",")
}

fn spec_user(spec: &Value) -> User {
    let list = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
    };
    let extra: BTreeMap<_, _> = spec["extra"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, values)| (key.clone(), list(values)))
        .collect();
    User {
        name: spec["user"].as_str().unwrap_or("").to_owned(),
        uid: spec["uid"].as_str().unwrap_or("").to_owned(),
        groups: list(&spec["groups"]),
        extra,
    }
}

fn status(authorizer: &Authorizer, attributes: &Attributes) -> Value {
    let decision = authorizer.authorize(attributes);
    let mut status = json!({"allowed": decision.is_allowed()});
    if matches!(decision, Decision::Deny(_)) {
        status["denied"] = json!(true);
    }
    if !decision.reason().is_empty() {
        status["reason"] = json!(decision.reason());
    }
    status
}
