//! ValidatingAdmissionPolicy: expressions that refuse writes, as objects of
//! `admissionregistration.k8s.io` say.
//!
//! Flow: policies and their bindings are followed in memory, with their expressions compiled. Each policy
//! that a request meets is asked once for each of its bindings that the request meets, and for each of the
//! binding's parameters. What does not hold is refused, told as a warning or noted in the audit, as the
//! binding says. Errors: an expression that fails, or a binding that cannot be followed, refuses the write
//! or does not, as the policy's `failurePolicy` says. What expressions cost is limited for each binding.

mod binding;
mod index;
mod policy;
pub(crate) mod status;
mod type_check;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use gantry_api::status::ApiError;
use gantry_store::{Snapshot, Store};
use serde_json::{Value, json};

use super::expression::Inputs;
use super::matching::{self, Versioned};
use super::{Request, WaitingPlugin};
use crate::Lookup;
use crate::authz::Authorizer;
use crate::authz::feed::Feed;
use crate::metrics::Metrics;
use binding::Binding;
use index::Policies;
use policy::{Outcome, Policy};

/// The longest value of an audit annotation, in bytes.
const LONGEST_ANNOTATION: usize = 10 << 10;
const FAILURES: &str = "validation.policy.admission.k8s.io/validation_failure";

pub(super) struct ValidatingAdmissionPolicy {
    policies: Feed<Policies>,
    authorizer: Arc<Authorizer>,
    metrics: Arc<Metrics>,
}

/// A refusal: by which policy, through which binding, and why.
struct Denial {
    policy: String,
    binding: Option<String>,
    message: String,
    reason: &'static str,
}

impl ValidatingAdmissionPolicy {
    pub fn new(store: &Store, authorizer: Arc<Authorizer>, metrics: Arc<Metrics>) -> Self {
        Self { policies: Feed::new(store), authorizer, metrics }
    }

    /// Asks one policy about `request`.
    async fn ask(
        &self,
        policy: &Policy,
        bindings: &[Arc<Binding>],
        request: &mut Request<'_>,
        objects: &Snapshot,
        denials: &mut Vec<Denial>,
    ) -> Result<(), ApiError> {
        let misconfigured = |binding: Option<&Binding>, why: String| Denial {
            policy: policy.name.clone(),
            message: format!(
                "failed to configure {}: {why}",
                if binding.is_some() { "binding" } else { "policy" }
            ),
            binding: binding.map(|binding| binding.name.clone()),
            reason: "Invalid",
        };
        let mut fail = |denial: Denial| {
            if !policy.fails_open {
                denials.push(denial);
            }
        };
        let kind = match policy.constraints.met(request, objects) {
            Ok(Some(kind)) => kind,
            Ok(None) => return Ok(()),
            Err(error) => {
                fail(misconfigured(None, error.message));
                return Ok(());
            }
        };
        let params_kind = match policy.params_kind(request.registry) {
            Ok(kind) => kind,
            Err(why) => {
                fail(misconfigured(None, why));
                return Ok(());
            }
        };
        let mut versioned = None;
        let mut published: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut refused = Vec::new();
        for binding in bindings {
            let met = match &binding.constraints {
                None => Ok(true),
                Some(constraints) => constraints.met(request, objects).map(|met| met.is_some()),
            };
            let params = match met {
                Ok(false) => continue,
                Ok(true) => binding.params(params_kind.as_deref(), request.namespace, objects),
                Err(error) => Err(error.message),
            };
            let params = match params {
                Ok(params) => params,
                Err(why) => {
                    fail(misconfigured(Some(binding), why));
                    continue;
                }
            };
            if versioned.is_none() {
                versioned = Some(Versioned::of(request, &kind).await?);
            }
            let Some(versioned) = &versioned else { continue };
            let namespace = match request.namespace {
                "" => None,
                name => Some(
                    Lookup::get(objects, "", "namespaces", "", name)
                        .ok_or_else(|| ApiError::not_found("", "namespaces", name))?,
                ),
            };
            for param in &params {
                let started = Instant::now();
                let resource = matching::Resource::of(&kind);
                let inputs = Inputs::new(request, versioned, resource, &self.authorizer);
                let inputs = inputs.with(param.as_ref(), namespace.as_ref());
                let outcome = policy.evaluate(&inputs);
                drop(inputs);
                let Outcome { failures, annotations, faults } = outcome;
                let action = match (failures.is_empty(), binding.action()) {
                    (true, _) => "allow",
                    (false, action) => action,
                };
                self.metrics.policies.checked(&policy.name, &binding.name, action, started.elapsed());
                for (at, message, reason) in failures {
                    if binding.denies {
                        refused.push((binding.name.clone(), message.clone(), reason));
                    }
                    if binding.audits {
                        let failure = json!([{"message": message, "policy": policy.name, "binding": binding.name,
                            "expressionIndex": at, "validationActions": binding.actions}]);
                        request.annotations.entry(FAILURES.to_owned()).or_insert(failure.to_string());
                    }
                    if binding.warns {
                        request.warnings.push(format!(
                            "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {message}",
                            policy.name, binding.name
                        ));
                    }
                }
                for (key, value) in annotations {
                    let values = published.entry(key).or_default();
                    if !values.contains(&value) {
                        values.push(value);
                    }
                }
                refused.extend(faults.into_iter().map(|fault| (binding.name.clone(), fault, "Invalid")));
            }
        }
        denials.extend(refused.into_iter().map(|(binding, message, reason)| Denial {
            policy: policy.name.clone(),
            binding: Some(binding),
            message,
            reason,
        }));
        for (key, values) in published {
            let mut value = values.join(", ");
            let mut end = value.len().min(LONGEST_ANNOTATION);
            while !value.is_char_boundary(end) {
                end -= 1;
            }
            value.truncate(end);
            request.annotations.insert(format!("{}/{key}", policy.name), value);
        }
        Ok(())
    }
}

/// The error that a client gets for a refusal.
fn refuse(request: &Request<'_>, denial: &Denial) -> ApiError {
    let by = match &denial.binding {
        Some(binding) => {
            format!("ValidatingAdmissionPolicy '{}' with binding '{binding}' denied request", denial.policy)
        }
        None => format!("ValidatingAdmissionPolicy '{}' denied request", denial.policy),
    };
    let message = format!("{by}: {}", denial.message);
    let mut error = request.forbidden(&message).with_causes(vec![json!({"message": message})]);
    error.reason = denial.reason;
    error.code = match denial.reason {
        "Forbidden" => 403,
        "Unauthorized" => 401,
        "RequestEntityTooLarge" => 413,
        _ => 422,
    };
    error
}

#[async_trait]
impl WaitingPlugin for ValidatingAdmissionPolicy {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionPolicy"
    }

    fn concerns(&self, request: &Request<'_>) -> bool {
        !self.policies.read(Policies::is_empty) && !matching::is_exempt(request)
    }

    async fn validate(&self, request: &mut Request<'_>, store: &Store) -> Result<(), ApiError> {
        let policies = self.policies.read(Policies::bound);
        let snapshot = store.snapshot();
        let mut denials = Vec::new();
        for (policy, bindings) in policies.iter() {
            self.ask(policy, bindings, request, &snapshot, &mut denials).await?;
        }
        denials.first().map_or(Ok(()), |denial| Err(refuse(request, denial)))
    }
}

/// The texts of a list, where it is one.
fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
