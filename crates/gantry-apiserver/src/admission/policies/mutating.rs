//! MutatingAdmissionPolicy: expressions that change what is written, before the webhooks that do.
//!
//! Flow: which policies, bindings and parameters a request meets is found first. Then they are carried out
//! one after another, each seeing what those before it made; conditions are looked at when it is a policy's
//! turn. Where the object has changed, all plugins see it once more, and so do the policies before it that
//! want to. What expressions cost is limited for each mutation.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use gantry_api::registry::Kind;
use gantry_api::status::ApiError;
use gantry_json::{Value, json};
use gantry_store::{Snapshot, Store};

use super::super::expression::Inputs;
use super::super::matching::{self, Resource, Versioned};
use super::super::questions::Questions;
use super::super::{Again, Operation, Request, Turns, WaitingPlugin};
use super::base::{NO_ERROR, misconfigured};
use super::binding::Binding;
use super::index::Policies;
use super::mutation::{Failure, Policy};
use crate::Lookup;
use crate::authz::Authorizer;
use crate::authz::feed::Feed;
use crate::metrics::{Conditioned, Metrics};

pub(in super::super) struct MutatingAdmissionPolicy {
    policies: Feed<Policies<Policy>>,
    authorizer: Arc<Authorizer>,
    metrics: Arc<Metrics>,
}

/// A policy as one binding uses it with one parameter.
struct Use {
    policy: Arc<Policy>,
    binding: Arc<Binding>,
    kind: Arc<Kind>,
    param: Option<Value>,
}

impl Use {
    /// What tells it from all others.
    fn key(&self) -> String {
        let param = self.param.as_ref().map(|param| &param["metadata"]);
        let text = |field: &str| param.and_then(|metadata| metadata[field].as_str()).unwrap_or_default();
        format!("{}/{}/{}/{}", self.policy.base.name, self.binding.name, text("namespace"), text("name"))
    }

    /// What its expressions may name.
    fn inputs<'a>(
        &'a self,
        request: &Request<'_>,
        versioned: &'a Versioned,
        namespace: Option<&'a Value>,
        questions: &Arc<Questions>,
    ) -> Inputs<'a> {
        let inputs = Inputs::new(request, versioned, Resource::of(&self.kind), questions);
        inputs.with(self.param.as_ref(), namespace)
    }
}

/// What refuses a request.
#[derive(Default)]
struct Denials {
    messages: Vec<String>,
    /// The reason that goes with the first message.
    reason: Option<&'static str>,
}

impl Denials {
    fn add(&mut self, policy: &Policy, binding: Option<&str>, why: &str, reason: &'static str) {
        if policy.base.fails_open {
            return;
        }
        let name = &policy.base.name;
        self.messages.push(match binding {
            Some(binding) => format!("policy '{name}' with binding '{binding}' denied request: {why}"),
            None => format!("policy {name:?} denied request: {why}"),
        });
        self.reason.get_or_insert(reason);
    }

    /// The error that a client gets.
    fn into_error(self, request: &Request<'_>) -> Option<ApiError> {
        let mut error = request.forbidden("admission request denied by policy");
        error.message = self.messages.first()?.clone();
        error.reason = self.reason.unwrap_or(error.reason);
        Some(error.with_causes(self.messages.iter().map(|message| json!({"message": message})).collect()))
    }
}

impl MutatingAdmissionPolicy {
    pub fn new(store: &Store, authorizer: Arc<Authorizer>, metrics: Arc<Metrics>) -> Self {
        Self { policies: Feed::new(store), authorizer, metrics }
    }

    /// Carries out what is met, in order.
    async fn carry_out(
        &self,
        uses: &[Use],
        request: &mut Request<'_>,
        objects: &Snapshot,
        denials: &mut Denials,
    ) -> Result<(), ApiError> {
        if request.again == Again::Running {
            request.applied.resume(&request.object);
        }
        let namespace = match request.namespace {
            "" => None,
            name => Some(
                Lookup::get(objects, "", "namespaces", "", name)
                    .ok_or_else(|| ApiError::not_found("", "namespaces", name))?,
            ),
        };
        let questions = Questions::new(&self.authorizer, request.user);
        for each in uses {
            let mut versioned = Versioned::of(request, &each.kind).await?;
            let before = versioned.object.clone();
            let wanted =
                self.change(each, request, &mut versioned, namespace.as_ref(), &questions, denials).await?;
            if !wanted {
                continue;
            }
            if versioned.object != before {
                let object = std::mem::take(&mut versioned.object);
                versioned.put_back(request, &each.kind, object).await?;
                request.applied.changed();
                request.run_again();
            }
            if each.policy.reinvoked {
                request.applied.watches(each.key());
            }
        }
        request.applied.leave(&request.object);
        Ok(())
    }

    /// Lets a policy change the object in `versioned`; false: it does not want to.
    async fn change(
        &self,
        each: &Use,
        request: &Request<'_>,
        versioned: &mut Versioned,
        namespace: Option<&Value>,
        questions: &Arc<Questions>,
        denials: &mut Denials,
    ) -> Result<bool, ApiError> {
        let (policy, binding) = (&*each.policy, &*each.binding);
        let name = &policy.base.name;
        if !policy.base.conditions.is_empty() {
            let held = {
                let inputs = each.inputs(request, versioned, namespace, questions);
                let held = || {
                    let variables = inputs.variables(Some(&policy.base.composition));
                    policy.base.conditions.hold(&variables, policy.base.fails_open)
                };
                questions.settle(held).await
            };
            let (name, operation) = (name.clone(), request.operation.word());
            let whose = Conditioned { name, kind: "policy", r#type: "validate", operation };
            self.metrics.policies.conditioned(&whose, held.errors, held.excluded, held.took);
            match held.matched {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(why) => {
                    denials.add(policy, Some(&binding.name), &why, "Invalid");
                    return Ok(false);
                }
            }
        }
        if request.again == Again::Running && !request.applied.is_required(&each.key()) {
            return Ok(false);
        }
        for mutation in &policy.mutations {
            if versioned.object.is_null() {
                break;
            }
            let (changed, took) = {
                let inputs = each.inputs(request, versioned, namespace, questions);
                let looked = &*versioned;
                let change = || {
                    let started = Instant::now();
                    let changed = mutation.change(&policy.base, &inputs, looked, request.registry);
                    (changed, started.elapsed())
                };
                questions.settle(change).await
            };
            let kind = changed.as_ref().err().map_or(NO_ERROR, Failure::kind);
            self.metrics.policies.mutated(name, &binding.name, kind, took);
            match changed {
                Ok(object) => versioned.object = object,
                Err(Failure::Request(error)) => return Err(error),
                Err(Failure::Own(why)) => denials.add(policy, Some(&binding.name), &why, "Invalid"),
            }
        }
        Ok(true)
    }
}

#[async_trait]
impl WaitingPlugin for MutatingAdmissionPolicy {
    fn name(&self) -> &'static str {
        "MutatingAdmissionPolicy"
    }

    fn turns(&self) -> Turns {
        Turns::mutating(Turns::ALL)
    }

    fn concerns(&self, request: &Request<'_>) -> bool {
        request.operation != Operation::Delete
            && !self.policies.read(Policies::is_empty)
            && !matching::is_exempt(request)
    }

    async fn mutate(&self, request: &mut Request<'_>, store: &Store) -> Result<(), ApiError> {
        let policies = self.policies.read(Policies::bound);
        let snapshot = store.snapshot();
        let mut denials = Denials::default();
        let mut uses = Vec::new();
        for (policy, bindings) in policies.iter() {
            let met = policy.base.meet(bindings, request, &snapshot).await;
            for (binding, why) in &met.faults {
                let binding = binding.as_deref();
                denials.add(policy, binding, &misconfigured(binding, why), "Forbidden");
            }
            let Some(kind) = met.kind else { continue };
            for (binding, params) in met.uses {
                uses.extend(params.into_iter().map(|param| Use {
                    policy: policy.clone(),
                    binding: binding.clone(),
                    kind: kind.clone(),
                    param,
                }));
            }
        }
        if !uses.is_empty() {
            self.carry_out(&uses, request, &snapshot, &mut denials).await?;
        }
        denials.into_error(request).map_or(Ok(()), Err)
    }
}
