//! MutatingAdmissionWebhook: webhooks that change objects, asked one after another.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use gantry_api::patch::{json_patch, json_patch_operations};
use gantry_api::registry::Kind;
use gantry_api::status::ApiError;
use gantry_json::json;
use gantry_store::Store;

use super::super::matching::{self, Versioned};
use super::super::{Again, Request, Turns, WaitingPlugin};
use super::Failure;
use super::call::Caller;
use super::configuration::{Hook, Mutating};
use super::response;
use crate::authz::feed::Feed;

pub(in super::super) struct MutatingAdmissionWebhook {
    configurations: Feed<Mutating>,
    caller: Arc<Caller>,
}

/// Which call of a request it is.
#[derive(Clone, Copy)]
struct Turn {
    round: usize,
    index: usize,
}

impl Turn {
    fn key(self, kind: &str) -> String {
        format!("{kind}.webhook.admission.k8s.io/round_{}_index_{}", self.round, self.index)
    }
}

impl MutatingAdmissionWebhook {
    pub fn new(store: &Store, caller: Arc<Caller>) -> Self {
        Self { configurations: Feed::new(store), caller }
    }

    /// Asks `hook` and carries out what it wants changed; whether something was.
    async fn call(
        &self,
        hook: &Hook,
        request: &mut Request<'_>,
        kind: &Kind,
        turn: Turn,
    ) -> Result<bool, Failure> {
        let name = &hook.name;
        let versioned = Versioned::of(request, kind).await.map_err(Failure::Internal)?;
        let response = self.caller.ask(hook, request, &versioned, kind, true).await?;
        for (key, value) in response.annotations {
            request.annotations.insert(format!("{name}/{key}"), value);
        }
        request.warnings.extend(response.warnings);
        if !response.allowed {
            return Err(Failure::Rejected(response::refusal(name, &response.status)));
        }
        let Some((patch, patch_type)) = response.patch else { return Ok(false) };
        let internal = |why: String| Failure::Internal(ApiError::internal(why));
        let operations = json_patch_operations(&patch).map_err(|why| {
            Failure::calling(name, format!("received undecodable patch in webhook response: {why}"), 503)
        })?;
        if operations.is_empty() {
            return Ok(false);
        }
        if versioned.object.is_null() {
            return Err(internal(format!(
                "admission webhook {name:?} attempted to modify the object, which is not supported for this operation"
            )));
        }
        if patch_type != "JSONPatch" {
            return Err(Failure::calling(name, format!("unsupported patch type {patch_type:?}"), 400));
        }
        let patched = json_patch(&versioned.object, &patch).map_err(|fault| internal(fault.to_string()))?;
        let kind_of_object = versioned.kind.each_ref().map(String::as_str);
        let mut read = matching::read(request.registry, kind_of_object, patched).map_err(internal)?;
        let changed = read != versioned.object;
        matching::default(request.registry, kind_of_object, &mut read);
        versioned.put_back(request, kind, read).await.map_err(Failure::Internal)?;
        let patch = json!({"configuration": hook.configuration, "webhook": name, "patch": operations,
            "patchType": patch_type});
        request.annotations.insert(turn.key("patch"), patch.to_string());
        Ok(changed)
    }

    /// Notes in the audit that `hook` was called, and whether it changed something.
    fn note(hook: &Hook, request: &mut Request<'_>, turn: Turn, mutated: bool) {
        let note = json!({"configuration": hook.configuration, "webhook": hook.name, "mutated": mutated});
        request.annotations.insert(turn.key("mutation"), note.to_string());
    }
}

#[async_trait]
impl WaitingPlugin for MutatingAdmissionWebhook {
    fn name(&self) -> &'static str {
        "MutatingAdmissionWebhook"
    }

    fn turns(&self) -> Turns {
        Turns::mutating(Turns::ALL)
    }

    fn concerns(&self, request: &Request<'_>) -> bool {
        !self.configurations.read(|all| all.0.is_empty()) && !matching::is_exempt(request)
    }

    async fn mutate(&self, request: &mut Request<'_>, store: &Store) -> Result<(), ApiError> {
        let hooks = self.configurations.read(|all| all.0.hooks());
        let again = request.again == Again::Running;
        if again {
            request.called.resume(&request.object);
        }
        let snapshot = store.snapshot();
        let mut called = false;
        for (index, hook) in hooks.iter().enumerate() {
            let Some(kind) = hook.met(request, &snapshot)? else { continue };
            if !self.caller.wants(hook, request, &kind, "admit").await? {
                continue;
            }
            if again && !request.called.is_required(&hook.uid) {
                continue;
            }
            called = true;
            let turn = Turn { round: usize::from(again), index };
            let started = Instant::now();
            let result = self.call(hook, request, &kind, turn).await;
            self.caller.count(hook, request, "admit", started, result.as_ref().err());
            if matches!(result, Ok(true)) {
                request.called.changed();
                request.run_again();
            }
            if hook.reinvoked {
                request.called.watches(hook.uid.clone());
            }
            Self::note(hook, request, turn, matches!(result, Ok(true)));
            match result {
                Ok(_) => {}
                Err(Failure::Calling { message, .. }) if hook.fails_open => {
                    tracing::warn!("failed calling webhook, failing open {}: {message}", hook.name);
                    request.annotations.insert(turn.key("failed-open.mutation"), hook.name.clone());
                }
                Err(failure) => return Err(failure.into_error()),
            }
        }
        if called && !again {
            request.called.leave(&request.object);
        }
        Ok(())
    }
}
