//! ValidatingAdmissionWebhook: webhooks that refuse writes, asked all at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use futures::future::join_all;
use gantry_api::registry::Kind;
use gantry_api::status::ApiError;
use gantry_store::Store;

use super::super::matching::{self, Versioned};
use super::super::{Request, Turns, WaitingPlugin};
use super::Failure;
use super::call::Caller;
use super::configuration::{Hook, Validating};
use super::response::{self, Response};
use crate::authz::feed::Feed;

pub(in super::super) struct ValidatingAdmissionWebhook {
    configurations: Feed<Validating>,
    caller: Arc<Caller>,
}

impl ValidatingAdmissionWebhook {
    pub fn new(store: &Store, caller: Arc<Caller>) -> Self {
        Self { configurations: Feed::new(store), caller }
    }

    async fn ask(&self, hook: &Hook, request: &Request<'_>, kind: &Kind) -> Result<Response, Failure> {
        let started = Instant::now();
        let asked = async {
            let versioned = Versioned::of(request, kind).await.map_err(Failure::Internal)?;
            self.caller.ask(hook, request, &versioned, kind, false).await
        };
        let mut asked = asked.await;
        if let Ok(response) = &asked
            && !response.allowed
        {
            // What it said beside its refusal is kept.
            let refusal = Failure::Rejected(response::refusal(&hook.name, &response.status));
            self.caller.count(hook, request, "validating", started, Some(&refusal));
            return asked;
        }
        if let Err(failure) = &mut asked {
            self.caller.count(hook, request, "validating", started, Some(failure));
        } else {
            self.caller.count(hook, request, "validating", started, None);
        }
        asked
    }
}

#[async_trait]
impl WaitingPlugin for ValidatingAdmissionWebhook {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionWebhook"
    }

    fn turns(&self) -> Turns {
        Turns::validating(Turns::ALL)
    }

    fn concerns(&self, request: &Request<'_>) -> bool {
        !self.configurations.read(|all| all.0.is_empty()) && !matching::is_exempt(request)
    }

    async fn validate(&self, request: &mut Request<'_>, store: &Store) -> Result<(), ApiError> {
        let hooks = self.configurations.read(|all| all.0.hooks());
        let snapshot = store.snapshot();
        let mut met = Vec::new();
        for hook in hooks.iter() {
            if let Some(kind) = hook.met(request, &snapshot)?
                && self.caller.wants(hook, request, &kind, "validating").await?
            {
                met.push((hook, kind));
            }
        }
        let asked = &*request;
        let answers = join_all(met.iter().map(|(hook, kind)| self.ask(hook, asked, kind))).await;
        let mut refusal = None;
        let mut annotations = BTreeMap::new();
        for (at, ((hook, _), answer)) in met.iter().zip(answers).enumerate() {
            let error = match answer {
                Ok(response) => {
                    for (key, value) in response.annotations {
                        annotations.insert(format!("{}/{key}", hook.name), value);
                    }
                    request.warnings.extend(response.warnings);
                    if response.allowed {
                        continue;
                    }
                    response::refusal(&hook.name, &response.status)
                }
                Err(Failure::Calling { message, .. }) if hook.fails_open => {
                    tracing::warn!("failed calling webhook, failing open {}: {message}", hook.name);
                    let key = format!("failed-open.validating.webhook.admission.k8s.io/round_0_index_{at}");
                    annotations.insert(key, hook.name.clone());
                    continue;
                }
                Err(failure) => failure.into_error(),
            };
            refusal.get_or_insert(error);
        }
        request.annotations.extend(annotations);
        refusal.map_or(Ok(()), Err)
    }
}
