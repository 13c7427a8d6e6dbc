//! The webhook authorizer: asks somebody else's server with a SubjectAccessReview.
//!
//! Flow: the match conditions say whether it is asked at all; what was answered lately is remembered; else
//! the review is sent. Errors: without an answer the failure policy decides, no opinion or a refusal, and
//! either way the failure is told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gantry_api::field::Path;
use gantry_api::selector::{FieldSelector, LabelSelector, Requirement};
use gantry_cel::Budget;
use gantry_json::{Map, Value, json};

use super::Decision;
use super::configuration::{ConfigurationError, WebhookConfiguration};
use crate::expiring::{self, Expiring};
use crate::expression::Expression;
use crate::metrics::AccessMetrics;
use crate::review_client::ReviewClient;
use crate::{Attributes, Error};

/// Answers remembered, at most.
const REMEMBERED: usize = 8192;
/// Questions longer than this are not remembered: whoever asks could fill the memory with them.
const LONGEST: usize = 10_000;

/// A webhook that is asked.
pub struct Webhook {
    name: String,
    client: ReviewClient,
    version: String,
    conditions: Vec<Expression>,
    deny_on_failure: bool,
    authorized_ttl: Duration,
    unauthorized_ttl: Duration,
    answers: Expiring<Decision>,
    metrics: Arc<AccessMetrics>,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Webhook {
    /// The webhook `name`, as it is configured.
    pub(super) fn new(
        name: &str,
        configuration: &WebhookConfiguration,
        metrics: Arc<AccessMetrics>,
    ) -> Result<Self, Error> {
        let conditions = configuration
            .compile(&Path::new("webhook"))
            .map_err(|errors| Error::config("authorization", ConfigurationError::Invalid(errors)))?;
        let file = configuration.connection_info.kube_config_file.clone().unwrap_or_default();
        let kept = |cached: Option<bool>, time: Option<Duration>| match cached {
            Some(false) => Duration::ZERO,
            _ => time.unwrap_or_default(),
        };
        Ok(Self {
            name: name.to_owned(),
            client: ReviewClient::from_kubeconfig(&file, configuration.timeout.unwrap_or_default())?,
            version: configuration.subject_access_review_version.clone(),
            conditions,
            deny_on_failure: configuration.failure_policy == "Deny",
            authorized_ttl: kept(configuration.cache_authorized_requests, configuration.authorized_ttl),
            unauthorized_ttl: kept(configuration.cache_unauthorized_requests, configuration.unauthorized_ttl),
            answers: Expiring::new(REMEMBERED),
            metrics,
        })
    }

    pub(super) async fn authorize(&self, attributes: &Attributes) -> Decision {
        let spec = spec(attributes);
        match self.matches(&spec) {
            Ok(true) => {}
            Ok(false) => {
                self.metrics.condition_excluded(&self.name);
                return Decision::NoOpinion(String::new());
            }
            Err(error) => {
                self.metrics.condition_failed(&self.name);
                return self.failed(error);
            }
        }
        let text = spec.to_string();
        let key = expiring::key([text.as_bytes()]);
        if let Some(decision) = self.answers.get(&key) {
            return decision;
        }
        let started = Instant::now();
        let answer = self.client.ask(&review(&self.version, spec)).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let late = matches!(error, crate::remote::RemoteError::Late(..));
                let result = if late { "timeout" } else { "error" };
                self.metrics.webhook_asked(&self.name, result, started.elapsed(), !self.deny_on_failure);
                tracing::warn!(webhook = self.name, %error, "an authorization webhook gave no answer");
                return self.failed(error.to_string());
            }
        };
        self.metrics.webhook_asked(&self.name, "success", started.elapsed(), false);
        let decision = decision(&answer["status"]);
        if size(attributes) < LONGEST {
            let time = if decision.is_allowed() { self.authorized_ttl } else { self.unauthorized_ttl };
            self.answers.insert(key, decision.clone(), time);
        }
        decision
    }

    fn failed(&self, error: String) -> Decision {
        Decision::Failed { denied: self.deny_on_failure, error }
    }

    /// Whether all match conditions hold. One that does not is more than one that fails.
    fn matches(&self, spec: &Value) -> Result<bool, String> {
        let mut failures = Vec::new();
        let mut budget = Budget::new(Budget::MATCH_CONDITIONS);
        for condition in &self.conditions {
            match condition.evaluate(spec, &mut budget) {
                Ok(Value::Bool(true)) => {}
                Ok(Value::Bool(false)) => return Ok(false),
                Ok(_) => failures.push(format!("'{}' is no boolean", condition.text())),
                Err(error) => {
                    failures
                        .push(format!("cel evaluation error: expression '{}': {error}", condition.text()));
                }
            }
        }
        if failures.is_empty() { Ok(true) } else { Err(failures.join(", ")) }
    }
}

fn decision(status: &Value) -> Decision {
    let reason = status["reason"].as_str().unwrap_or_default().to_owned();
    match (status["allowed"] == true, status["denied"] == true) {
        (true, true) => Decision::Failed {
            denied: true,
            error: "webhook subject access review returned both allow and deny response".to_owned(),
        },
        (_, true) => Decision::Deny(reason),
        (true, _) => Decision::Allow(reason),
        _ => Decision::NoOpinion(reason),
    }
}

fn size(attributes: &Attributes) -> usize {
    let own = [
        &attributes.namespace,
        &attributes.verb,
        &attributes.group,
        &attributes.version,
        &attributes.resource,
        &attributes.subresource,
        &attributes.name,
        &attributes.path,
        &attributes.field_selector,
        &attributes.label_selector,
    ];
    own.iter().map(|text| text.len()).sum()
}

fn review(version: &str, mut spec: Value) -> Value {
    if version == "v1beta1"
        && let Some(spec) = spec.as_object_mut()
        && let Some(groups) = spec.remove("groups")
    {
        spec.insert("group".into(), groups);
    }
    json!({
        "kind": "SubjectAccessReview",
        "apiVersion": format!("authorization.k8s.io/{version}"),
        "metadata": {},
        "spec": spec,
        "status": {"allowed": false},
    })
}

/// The spec of the SubjectAccessReview that asks whether `attributes` are allowed.
pub(super) fn spec(attributes: &Attributes) -> Value {
    let filled = |fields: &[(&str, &str)]| -> Map {
        let filled = fields.iter().filter(|(_, value)| !value.is_empty());
        filled.map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
    };
    let user = &attributes.user;
    let mut spec = filled(&[("user", &user.name), ("uid", &user.uid)]);
    if !user.groups.is_empty() {
        spec.insert("groups".into(), json!(user.groups));
    }
    if !user.extra.is_empty() {
        spec.insert("extra".into(), json!(user.extra));
    }
    if !attributes.is_resource {
        let asked = filled(&[("path", &attributes.path), ("verb", &attributes.verb)]);
        spec.insert("nonResourceAttributes".into(), Value::Object(asked));
        return Value::Object(spec);
    }
    let mut asked = filled(&[
        ("namespace", &attributes.namespace),
        ("verb", &attributes.verb),
        ("group", &attributes.group),
        ("version", &attributes.version),
        ("resource", &attributes.resource),
        ("subresource", &attributes.subresource),
        ("name", &attributes.name),
    ]);
    for (field, requirements) in [
        ("fieldSelector", field_requirements(&attributes.field_selector)),
        ("labelSelector", label_requirements(&attributes.label_selector)),
    ] {
        if !requirements.is_empty() {
            asked.insert(field.into(), json!({"requirements": requirements}));
        }
    }
    spec.insert("resourceAttributes".into(), Value::Object(asked));
    Value::Object(spec)
}

fn field_requirements(selector: &str) -> Vec<Value> {
    let read = FieldSelector::parse(selector).unwrap_or_default();
    let operator = |equal| if equal { "In" } else { "NotIn" };
    let each = read.requirements().iter();
    each.map(|each| json!({"key": each.field, "operator": operator(each.equal), "values": [each.value]}))
        .collect()
}

fn label_requirements(selector: &str) -> Vec<Value> {
    let read = LabelSelector::parse(selector).unwrap_or_default();
    let each = read.requirements().iter();
    each.filter_map(|each| {
        Some(match each {
            Requirement::In(key, values) => json!({"key": key, "operator": "In", "values": values}),
            Requirement::NotIn(key, values) => json!({"key": key, "operator": "NotIn", "values": values}),
            Requirement::Exists(key) => json!({"key": key, "operator": "Exists"}),
            Requirement::DoesNotExist(key) => json!({"key": key, "operator": "DoesNotExist"}),
            // A review has no words for these.
            Requirement::GreaterThan(..) | Requirement::LessThan(..) => return None,
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::User;

    #[test]
    fn a_review_says_what_is_asked() {
        let mut attributes = Attributes {
            user: User::new("jane", ["dev"]).into(),
            verb: "list".into(),
            group: "apps".into(),
            version: "v1".into(),
            resource: "deployments".into(),
            namespace: "shop".into(),
            is_resource: true,
            field_selector: "metadata.name!=a".into(),
            label_selector: "tier in (x,y),!old".into(),
            ..Attributes::default()
        };
        let expect = json!({
            "user": "jane", "groups": ["dev", "system:authenticated"],
            "resourceAttributes": {
                "namespace": "shop", "verb": "list", "group": "apps", "version": "v1", "resource": "deployments",
                "fieldSelector": {"requirements": [
                    {"key": "metadata.name", "operator": "NotIn", "values": ["a"]}]},
                "labelSelector": {"requirements": [
                    {"key": "tier", "operator": "In", "values": ["x", "y"]}, {"key": "old", "operator": "DoesNotExist"}]},
            },
        });
        assert_eq!(spec(&attributes), expect);
        assert_eq!(review("v1beta1", spec(&attributes))["spec"]["group"], expect["groups"]);
        attributes.is_resource = false;
        attributes.path = "/metrics".into();
        assert_eq!(spec(&attributes)["nonResourceAttributes"], json!({"path": "/metrics", "verb": "list"}));
    }

    #[test]
    fn answers() {
        let check = |status: Value, expect: Decision| assert_eq!(decision(&status), expect);
        let because = || "because".to_owned();
        check(json!({"allowed": true, "reason": "because"}), Decision::Allow(because()));
        check(json!({"allowed": false, "reason": "because"}), Decision::NoOpinion(because()));
        check(json!({"denied": true, "reason": "because"}), Decision::Deny(because()));
        assert!(matches!(
            decision(&json!({"allowed": true, "denied": true})),
            Decision::Failed { denied: true, .. }
        ));
        check(Value::Null, Decision::NoOpinion(String::new()));
    }
}
