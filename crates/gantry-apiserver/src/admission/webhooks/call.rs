//! One call of one webhook, for both sorts of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gantry_api::registry::Kind;
use gantry_api::status::ApiError;

use super::super::Request;
use super::super::expression::Inputs;
use super::super::matching::{Resource, Versioned};
use super::super::questions::Questions;
use super::configuration::Hook;
use super::response::{self, Response};
use super::{Failure, review};
use crate::authz::Authorizer;
use crate::metrics::{Conditioned, Metrics};
use crate::trace;
use crate::webhook::{Credentials, Webhooks};

/// The longest answer that is read, in bytes.
const LONGEST: usize = 16 << 20;

/// What webhooks are called with.
pub(crate) struct Caller {
    pub webhooks: Arc<Webhooks>,
    pub authorizer: Arc<Authorizer>,
    pub metrics: Arc<Metrics>,
    /// How the server shows itself to webhooks that change objects, and to those that only look.
    pub credentials: [Arc<Credentials>; 2],
}

impl Caller {
    /// Whether the match conditions of `hook` hold for `request`, which it met as one for `kind`. Metrics call it
    /// one of a `type`.
    pub(super) async fn wants(
        &self,
        hook: &Hook,
        request: &Request<'_>,
        kind: &Kind,
        r#type: &'static str,
    ) -> Result<bool, ApiError> {
        if hook.conditions.is_empty() {
            return Ok(true);
        }
        let versioned = Versioned::of(request, kind).await?;
        let questions = Questions::new(&self.authorizer, request.user);
        let inputs = Inputs::new(request, &versioned, Resource::of(kind), &questions);
        let held = || hook.conditions.hold(&inputs.variables(None), hook.fails_open);
        let held = questions.settle(held).await;
        let (name, operation) = (hook.name.clone(), request.operation.word());
        let whose = Conditioned { name, kind: "webhook", r#type, operation };
        self.metrics.policies.conditioned(&whose, held.errors, held.excluded, held.took);
        held.matched.map_err(|why| request.forbidden(why))
    }

    /// Asks `hook` about `request`, which it met as one for `kind`.
    pub(super) async fn ask(
        &self,
        hook: &Hook,
        request: &Request<'_>,
        versioned: &Versioned,
        kind: &Kind,
        mutating: bool,
    ) -> Result<Response, Failure> {
        let name = &hook.name;
        if request.dry_run && !hook.dry_run {
            let why = format!("admission webhook {name:?} does not support dry run");
            return Err(Failure::Internal(ApiError::bad_request(why)));
        }
        let Some(version) = hook.review else {
            let why = "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)";
            return Err(Failure::calling(name, why, 400));
        };
        let target = hook
            .target
            .as_ref()
            .map_err(|error| Failure::calling(name, format!("could not get REST client: {error}"), 500))?;
        let uid = uuid::Uuid::new_v4().to_string();
        let body = review::of(request, versioned, kind, version, &uid);
        let step = if mutating { "Call mutating webhook" } else { "Call validating webhook" };
        let facts = trace::facts(|_| {
            let resource = format!("{}/{}, Resource={}", request.group, kind.version, request.resource);
            let said = [
                ("configuration", &*hook.configuration),
                ("webhook", name),
                ("resource", &resource),
                ("subresource", request.subresource),
                ("operation", request.operation.word()),
                ("UID", &uid),
            ];
            said.map(|(key, value)| trace::text(key, value)).into()
        });
        let user = self.credentials[usize::from(!mutating)].of(&target.authority());
        let asked = self.webhooks.post(target, user, body, hook.time, LONGEST);
        let answer = trace::step(step, facts, asked).await.map_err(|error| {
            Failure::calling(name, format!("failed to call webhook: {error}"), error.code())
        })?;
        response::read(&answer, version, &uid, mutating)
            .map_err(|why| Failure::calling(name, format!("received invalid webhook response: {why}"), 503))
    }

    /// Counts a webhook's turn, which began at `started`.
    pub(super) fn count(
        &self,
        hook: &Hook,
        request: &Request<'_>,
        sort: &'static str,
        started: Instant,
        failure: Option<&Failure>,
    ) {
        let open = matches!(failure, Some(Failure::Calling { .. })) && hook.fails_open;
        let took: Duration = started.elapsed();
        let operation = request.operation.word();
        let webhooks = &self.metrics.webhooks;
        let (error, code) = failure.map_or(("no_error", 200), Failure::kind);
        webhooks.called(&hook.name, sort, operation, code, failure.is_some() && !open, took);
        if open {
            webhooks.failed_open(&hook.name, sort);
        } else if failure.is_some() {
            let code = if error == "no_error" { code } else { 0 };
            webhooks.rejected(&hook.name, sort, operation, error, code);
        }
    }
}
