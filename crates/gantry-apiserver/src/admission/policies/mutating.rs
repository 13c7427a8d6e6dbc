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
use gantry_store::{Snapshot, Store};
use serde_json::{Value, json};

use super::super::expression::Inputs;
use super::super::matching::{self, Resource, Versioned};
use super::super::{Again, Operation, Request, WaitingPlugin};
use super::base::misconfigured;
use super::binding::Binding;
use super::index::Policies;
use super::mutation::{Failure, Policy};
use crate::Lookup;
use crate::authz::Authorizer;
use crate::authz::feed::Feed;
use crate::metrics::Metrics;

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
        authorizer: &Arc<Authorizer>,
    ) -> Inputs<'a> {
        let inputs = Inputs::new(request, versioned, Resource::of(&self.kind), authorizer);
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
        let again = request.again == Again::Running;
        if again {
            request.applied.resume(&request.object);
        }
        let namespace = match request.namespace {
            "" => None,
            name => Some(
                Lookup::get(objects, "", "namespaces", "", name)
                    .ok_or_else(|| ApiError::not_found("", "namespaces", name))?,
            ),
        };
        for each in uses {
            let mut versioned = Versioned::of(request, &each.kind).await?;
            let before = versioned.object.clone();
            if !self.change(each, request, &mut versioned, namespace.as_ref(), again, denials)? {
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
    fn change(
        &self,
        each: &Use,
        request: &Request<'_>,
        versioned: &mut Versioned,
        namespace: Option<&Value>,
        again: bool,
        denials: &mut Denials,
    ) -> Result<bool, ApiError> {
        let (policy, binding) = (&*each.policy, &*each.binding);
        let held = {
            let inputs = each.inputs(request, versioned, namespace, &self.authorizer);
            let variables = inputs.variables(Some(&policy.base.composition));
            policy.base.conditions.hold(&variables, policy.base.fails_open)
        };
        match held {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(why) => {
                denials.add(policy, Some(&binding.name), &why, "Invalid");
                return Ok(false);
            }
        }
        if again && !request.applied.is_required(&each.key()) {
            return Ok(false);
        }
        for mutation in &policy.mutations {
            if versioned.object.is_null() {
                break;
            }
            let started = Instant::now();
            let changed = {
                let inputs = each.inputs(request, versioned, namespace, &self.authorizer);
                mutation.change(&policy.base, &inputs, versioned, request.registry)
            };
            let kind = changed.as_ref().err().map_or("no_error", Failure::kind);
            self.metrics.policies.mutated(&policy.base.name, &binding.name, kind, started.elapsed());
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
            let met = policy.base.meet(bindings, request, &snapshot);
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
