//! What is kept of one request, and the events that are made of it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::FutureExt;
use gantry_api::protobuf;
use gantry_api::schema::{Format, decode_free};
use gantry_api::status::ApiError;
use gantry_json::{Map, Value};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::BodyExt;
use jiff::Timestamp;
use parking_lot::Mutex;

use super::event::{Arrived, Event, Notes, Outcome, note};
use super::policy::Verdict;
use super::{Audit, Level, Stage};
use crate::body::Body;
use crate::negotiate::content_type;
use crate::request::RequestInfo;
use crate::rest::user_info;
use crate::{Attributes, User};

/// What the keys of annotations begin with that show what webhooks changed.
const PATCHES: &str = "patch.webhook.admission.k8s.io/";

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

    /// Notes the object that was sent, as it was understood, if it is kept.
    pub fn requested(&self, object: impl FnOnce() -> Value) {
        if self.keeps_request {
            self.noted.lock().requested = Some(object());
        }
    }
}

/// One request's audit.
pub(crate) struct Record {
    audit: Arc<Audit>,
    verdict: Verdict,
    id: HeaderValue,
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
    /// The record of a request of the user in `attributes`; `None`: the policy keeps nothing of it. The error
    /// is for the client: a backend insists on the event and does not have it.
    pub async fn begin(
        audit: &Arc<Audit>,
        attributes: &Attributes,
        info: &RequestInfo,
        parts: &Parts,
        id: &HeaderValue,
        received: Timestamp,
    ) -> Result<Option<Self>, ApiError> {
        let verdict = audit.policy.verdict(attributes);
        if verdict.level == Level::None {
            return Ok(None);
        }
        let record = Self {
            audit: audit.clone(),
            verdict,
            id: id.clone(),
            arrived: Arrived::new(attributes, info, parts, received),
            impersonated: None,
            requested: None,
            outcome: None,
            answer: None,
            notes: Notes::new(),
        };
        if !record.emit(Stage::RequestReceived).await {
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
    pub fn decided(&mut self, allowed: bool, reason: &str) {
        let decision = if allowed { "allow" } else { "forbid" };
        note(&mut self.notes, "authorization.k8s.io/decision".into(), decision.into());
        note(&mut self.notes, "authorization.k8s.io/reason".into(), Cow::Owned(reason.to_owned()));
    }

    /// Notes what was noted elsewhere.
    pub fn annotate(&mut self, annotations: &Annotations) {
        let Noted { annotations, requested } = std::mem::take(&mut *annotations.noted.lock());
        // What webhooks changed is part of the request.
        let kept = self.keeps_request();
        let noted = annotations.into_iter().filter(|(key, _)| kept || !key.starts_with(PATCHES));
        noted.for_each(|(key, value)| note(&mut self.notes, key.into(), value.into()));
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
        if !bytes.is_empty() {
            self.requested = self.object(headers, bytes);
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
        let body = if whole && (failed || self.keeps_answer()) {
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

fn forget_managers(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}
