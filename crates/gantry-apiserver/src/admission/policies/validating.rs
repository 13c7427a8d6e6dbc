//! ValidatingAdmissionPolicy: what does not hold is refused, told as a warning or noted in the audit, as
//! the binding says. What expressions cost is limited for each binding.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use gantry_api::status::ApiError;
use gantry_json::json;
use gantry_store::{Snapshot, Store};

use super::super::expression::Inputs;
use super::super::matching::{self, Versioned};
use super::super::questions::Questions;
use super::super::{Request, Turns, WaitingPlugin};
use super::base::misconfigured;
use super::binding::Binding;
use super::index::Policies;
use super::policy::{Failure, Outcome, Policy};
use crate::Lookup;
use crate::authz::Authorizer;
use crate::authz::feed::Feed;
use crate::metrics::{Conditioned, Metrics};

/// The longest value of an audit annotation, in bytes.
const LONGEST_ANNOTATION: usize = 10 << 10;
const FAILURES: &str = "validation.policy.admission.k8s.io/validation_failure";

pub(in super::super) struct ValidatingAdmissionPolicy {
    policies: Feed<Policies<Policy>>,
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
        questions: &Arc<Questions>,
        denials: &mut Vec<Denial>,
    ) -> Result<(), ApiError> {
        let met = policy.base.meet(bindings, request, objects).await;
        if !policy.base.fails_open {
            denials.extend(met.faults.into_iter().map(|(binding, why)| Denial {
                policy: policy.base.name.clone(),
                message: misconfigured(binding.as_deref(), &why),
                binding,
                reason: "Invalid",
            }));
        }
        let Some(kind) = met.kind else { return Ok(()) };
        let mut versioned = None;
        let mut published: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut refused = Vec::new();
        for (binding, params) in met.uses {
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
                let resource = matching::Resource::of(&kind);
                let inputs = Inputs::new(request, versioned, resource, questions);
                let inputs = inputs.with(param.as_ref(), namespace.as_ref());
                let outcome = questions.settle(|| policy.evaluate(&inputs)).await;
                drop(inputs);
                let Outcome { failures, ignored, held, annotations, faults } = outcome;
                let (name, counts) = (&policy.base.name, &self.metrics.policies);
                if let Some(held) = held {
                    let (name, operation) = (name.clone(), request.operation.word());
                    let whose = Conditioned { name, kind: "policy", r#type: "validate", operation };
                    counts.conditioned(&whose, held.errors, held.excluded, held.took);
                }
                for (error, took) in ignored {
                    counts.checked(name, &binding.name, error, "allow", took);
                }
                for Failure { at, message, reason, error, took } in failures {
                    let count = |action| counts.checked(name, &binding.name, error, action, took);
                    if binding.denies {
                        count("deny");
                        refused.push((binding.name.clone(), message.clone(), reason));
                    }
                    if binding.audits {
                        count("audit");
                        let failure = json!([{"message": message, "policy": name, "binding": binding.name,
                            "expressionIndex": at, "validationActions": binding.actions}]);
                        request.annotations.entry(FAILURES.to_owned()).or_insert(failure.to_string());
                    }
                    if binding.warns {
                        count("warn");
                        request.warnings.push(format!(
                            "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {message}",
                            name, binding.name
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
            policy: policy.base.name.clone(),
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
            request.annotations.insert(format!("{}/{key}", policy.base.name), value);
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

    fn turns(&self) -> Turns {
        Turns::validating(Turns::ALL)
    }

    fn concerns(&self, request: &Request<'_>) -> bool {
        !self.policies.read(Policies::is_empty) && !matching::is_exempt(request)
    }

    async fn validate(&self, request: &mut Request<'_>, store: &Store) -> Result<(), ApiError> {
        let policies = self.policies.read(Policies::bound);
        let snapshot = store.snapshot();
        let mut denials = Vec::new();
        let questions = Questions::new(&self.authorizer, request.user);
        for (policy, bindings) in policies.iter() {
            self.ask(policy, bindings, request, &snapshot, &questions, &mut denials).await?;
        }
        denials.first().map_or(Ok(()), |denial| Err(refuse(request, denial)))
    }
}
