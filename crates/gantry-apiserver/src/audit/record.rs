//! What is kept of one request, and the events that are made of it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::FutureExt;
use gantry_api::protobuf;
use gantry_api::schema::{Format, decode_free};
use gantry_api::status::ApiError;
use gantry_json::{Map, Value, json};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::BodyExt;
use jiff::Timestamp;
use parking_lot::Mutex;

use super::event::{Arrived, Event, Notes, Outcome, Sent, note};
use super::policy::Verdict;
use super::{Audit, Level, Stage};
use crate::authz::Decision;
use crate::body::Body;
use crate::negotiate::content_type;
use crate::request::RequestInfo;
use crate::rest::user_info;
use crate::{Attributes, User};

/// What the keys of annotations begin with that show what webhooks changed.
const PATCHES: &str = "patch.webhook.admission.k8s.io/";

/// No Status of what went well is longer, in bytes.
const SHORT: usize = 1024;

/// Where a request's connection comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerAddress(pub SocketAddr);

/// What is noted with a request's events while it is carried out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Annotations {
    noted: Arc<Mutex<Noted>>,
    keeps_request: bool,
}

#[derive(Debug, Default)]
struct Noted {
    annotations: BTreeMap<String, String>,
    /// What the object that was sent says of itself.
    sent: Option<Box<Sent>>,
    /// The object that was sent, as it was understood.
    requested: Option<Value>,
}

impl Annotations {
    /// The same notes, with the request's object if it `keeps` that.
    pub fn keeping(&self, keeps: bool) -> Self {
        Self { noted: self.noted.clone(), keeps_request: keeps }
    }

    /// Adds `annotations`; what is noted already stays.
    pub fn extend(&self, annotations: BTreeMap<String, String>) {
        let noted = &mut self.noted.lock().annotations;
        for (key, value) in annotations {
            noted.entry(key).or_insert(value);
        }
    }

    /// Notes the object that was sent, as it was `understood` if it is kept.
    pub fn requested(&self, object: &Value, understood: impl FnOnce() -> Value) {
        self.sent(object);
        if self.keeps_request {
            self.noted.lock().requested = Some(understood());
        }
    }

    /// Notes what the object that was sent says of itself.
    pub fn sent(&self, object: &Value) {
        let sent = Box::new(Sent::of(object));
        self.noted.lock().sent = Some(sent);
    }
}

/// One request's audit.
pub(crate) struct Record {
    audit: Arc<Audit>,
    verdict: Verdict,
    id: HeaderValue,
    verb: &'static str,
    /// Nobody knows who asks: the beginning of the answer is all that is told.
    refused: bool,
    arrived: Arrived,
    impersonated: Option<Value>,
    requested: Option<Value>,
    outcome: Option<Outcome>,
    answer: Option<Value>,
    notes: Notes,
}

/// Makes the last event of a stream when it ends.
pub(crate) struct AtEnd(Option<Record>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        let Some(record) = self.0.take() else { return };
        let mut emitted = Box::pin(async move { record.emit(Stage::ResponseComplete).await });
        // Only a webhook that blocks is waited for, and nobody waits for it here.
        if emitted.as_mut().now_or_never().is_none()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(emitted);
        }
    }
}

impl Record {
    /// The record of a request of the user in `attributes`, or of one that is `refused` because that is
    /// nobody; `None`: the policy keeps nothing of it. The error is for the client: a backend insists on the
    /// event and does not have it.
    pub async fn begin(
        audit: &Arc<Audit>,
        attributes: &Attributes,
        info: &RequestInfo,
        parts: &Parts,
        id: &HeaderValue,
        received: Timestamp,
        refused: bool,
    ) -> Result<Option<Self>, ApiError> {
        let verdict = audit.policy.verdict(attributes);
        if verdict.level == Level::None {
            return Ok(None);
        }
        let record = Self {
            audit: audit.clone(),
            verdict,
            id: id.clone(),
            verb: info.verb,
            refused,
            arrived: Arrived::new(attributes, parts, received),
            impersonated: None,
            requested: None,
            outcome: None,
            answer: None,
            notes: Notes::new(),
        };
        if !refused && !record.emit(Stage::RequestReceived).await {
            audit.metrics.audit_rejected();
            let why = format!("Internal Server Error: {:?}: failed to store audit event", attributes.path);
            return Err(ApiError::internal(why));
        }
        Ok(Some(record))
    }

    /// Notes who the request is made as.
    pub fn impersonated(&mut self, user: &User) {
        self.impersonated = Some(user_info(user));
    }

    /// Notes what authorization said.
    pub fn decided(&mut self, decision: &Decision) {
        note_decision(&mut self.notes, decision);
    }

    /// Notes what was noted elsewhere.
    pub fn annotate(&mut self, annotations: &Annotations) {
        let Noted { annotations, sent, requested } = std::mem::take(&mut *annotations.noted.lock());
        // What webhooks changed is part of the request.
        let kept = self.keeps_request();
        let noted = annotations.into_iter().filter(|(key, _)| kept || !key.starts_with(PATCHES));
        noted.for_each(|(key, value)| note(&mut self.notes, key.into(), value.into()));
        if let Some(sent) = sent {
            self.arrived.refer(*sent);
        }
        if let Some(understood) = requested {
            self.requested = Some(self.kept(understood));
        }
    }

    /// Whether the request's object is kept.
    pub fn keeps_request(&self) -> bool {
        self.verdict.level >= Level::Request
    }

    /// Whether the answer's object is kept.
    pub fn keeps_answer(&self) -> bool {
        self.verdict.level >= Level::RequestResponse
    }

    /// Notes what was sent; an object is noted as it was understood, later ([`Annotations::requested`]).
    pub fn requested(&mut self, headers: &HeaderMap, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.requested = self.object(headers, bytes);
        if matches!(self.verb, "delete" | "deletecollection")
            && let Some(options) = self.requested.as_mut().and_then(Value::as_object_mut)
        {
            // Upstream writes options down in its own form, whatever version they were sent in.
            options.insert("kind".into(), json!("DeleteOptions"));
            options.insert("apiVersion".into(), json!("meta.k8s.io/__internal"));
        }
    }

    /// Notes the answer: makes the events of its stages, of a stream's end when that has come.
    pub async fn answered(
        mut self,
        response: Response<Body>,
        stream: bool,
        panicked: bool,
    ) -> Response<Body> {
        let code = response.status().as_u16();
        let mut said = Map::new();
        let (parts, body) = response.into_parts();
        let whole = !matches!(body, Body::Stream(_) | Body::Incoming(_) | Body::Held(..) | Body::Boxed(_));
        let failed = code >= 400;
        let tells = failed || self.keeps_answer() || self.may_be_status(&body);
        let body = if whole && tells {
            // What is in memory already comes at once and without fail.
            let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            let object = self.object(&parts.headers, &bytes);
            if let Some(Value::Object(object)) = &object
                && object.get("kind").is_some_and(|kind| kind == "Status")
            {
                for field in ["status", "message", "reason", "details"] {
                    if let Some(value) = object.get(field) {
                        said.insert(field.into(), value.clone());
                    }
                }
            }
            self.answer = object.filter(|_| self.keeps_answer());
            Body::from(bytes)
        } else {
            body
        };
        self.outcome = Some(Outcome { said, code });
        let response = Response::from_parts(parts, body);
        if self.refused {
            self.emit(Stage::ResponseStarted).await;
            return response;
        }
        if panicked {
            self.emit(Stage::Panic).await;
            return response;
        }
        if stream && !failed {
            self.emit(Stage::ResponseStarted).await;
            return response.map(|body| Body::Held(Box::new(body), Box::new(AtEnd(Some(self)))));
        }
        self.emit(Stage::ResponseComplete).await;
        response
    }

    /// Whether a successful answer may be a Status.
    fn may_be_status(&self, body: &Body) -> bool {
        matches!(self.verb, "create" | "delete" | "deletecollection") && names_status(body)
    }

    /// The object that is written in `bytes`, as it is kept.
    fn object(&self, headers: &HeaderMap, bytes: &[u8]) -> Option<Value> {
        let kind = content_type(headers);
        let object = if kind == protobuf::MEDIA_TYPE {
            protobuf::decode(bytes, None).ok()?
        } else {
            let format = if kind.contains("yaml") { Format::Yaml } else { Format::Json };
            decode_free(bytes, format).ok()?.value
        };
        Some(self.kept(object))
    }

    /// What is kept of an object.
    fn kept(&self, mut object: Value) -> Value {
        if self.verdict.omit_managed_fields {
            forget_managers(&mut object);
            let items = object.get_mut("items").and_then(Value::as_array_mut);
            items.into_iter().flatten().for_each(forget_managers);
        }
        object
    }

    /// Makes the event of a stage; whether backends that insist on it have it.
    async fn emit(&self, stage: Stage) -> bool {
        if self.verdict.omitted.has(stage) {
            return true;
        }
        let event = Event {
            level: self.verdict.level,
            id: self.id.to_str().unwrap_or_default(),
            stage,
            impersonated_user: self.impersonated.as_ref(),
            response_status: self.outcome.as_ref(),
            request_object: self.requested.as_ref(),
            response_object: self.answer.as_ref(),
            stage_timestamp: Timestamp::now(),
            annotations: Cow::Borrowed(&self.notes),
            arrived: &self.arrived,
        };
        self.audit.emit(&event).await
    }
}

/// Notes what authorization said; of one that failed, only that it did.
fn note_decision(notes: &mut Notes, decision: &Decision) {
    let (word, reason) = match decision {
        Decision::Allow(reason) => (Some("allow"), reason.as_str()),
        Decision::Deny(reason) | Decision::NoOpinion(reason) => (Some("forbid"), reason.as_str()),
        Decision::Failed { .. } => (None, "internal error"),
    };
    if let Some(word) = word {
        note(notes, "authorization.k8s.io/decision".into(), word.into());
    }
    note(notes, "authorization.k8s.io/reason".into(), Cow::Owned(reason.to_owned()));
}

/// Whether what is in memory says `Status` in a few words, as a Status does in any encoding.
fn names_status(body: &Body) -> bool {
    const NAME: &[u8] = b"Status";
    let Body::Buffers(buffers) = body else { return false };
    let Some(text) = buffers.front().filter(|text| text.len() <= SHORT) else { return false };
    text.windows(NAME.len()).any(|part| part == NAME)
}

fn forget_managers(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::respond;

    #[test]
    fn what_authorization_said() {
        let check = |decision: Decision, expect: &[(&str, &str)]| {
            let mut notes = Notes::new();
            note_decision(&mut notes, &decision);
            let seen: Vec<(&str, &str)> = notes.iter().map(|(key, value)| (&**key, &**value)).collect();
            assert_eq!(seen, expect, "{decision:?}");
        };
        const DECISION: &str = "authorization.k8s.io/decision";
        const REASON: &str = "authorization.k8s.io/reason";
        check(Decision::Allow("a role".into()), &[(DECISION, "allow"), (REASON, "a role")]);
        check(Decision::Deny("no".into()), &[(DECISION, "forbid"), (REASON, "no")]);
        check(Decision::NoOpinion(String::new()), &[(DECISION, "forbid"), (REASON, "")]);
        let failed = |denied| Decision::Failed { denied, error: "connection refused".into() };
        check(failed(false), &[(REASON, "internal error")]);
        check(failed(true), &[(REASON, "internal error")]);
    }

    #[test]
    fn a_short_answer_may_be_a_status() {
        use crate::negotiate::{Encoding, Output};
        let details = json!({"kind": "pods", "name": "a".repeat(253), "uid": "u".repeat(36)});
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "details": details});
        let pod = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}});
        for encoding in [Encoding::Json, Encoding::Yaml, Encoding::Protobuf] {
            for pretty in [false, true] {
                let output = Output { encoding, pretty, ..Output::JSON };
                let may_be = |value| names_status(respond::json(http::StatusCode::OK, value, output).body());
                assert_eq!((may_be(&status), may_be(&pod)), (true, false), "{encoding:?}");
            }
        }
    }
}
