//! What is kept of one request, and the events that are made of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::FutureExt;
use gantry_api::protobuf;
use gantry_api::schema::{Format, decode_free};
use gantry_api::status::ApiError;
use http::request::Parts;
use http::{HeaderMap, Response};
use http_body_util::BodyExt;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::policy::Verdict;
use super::{Audit, Level, Stage};
use crate::body::Body;
use crate::negotiate::content_type;
use crate::request::RequestInfo;
use crate::rest::user_info;
use crate::{Attributes, User};

/// Where a request's connection comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerAddress(pub SocketAddr);

/// What is noted with a request's events while it is carried out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Annotations(Arc<Mutex<BTreeMap<String, String>>>);

impl Annotations {
    /// Adds `annotations`; what is noted already stays.
    pub fn extend(&self, annotations: BTreeMap<String, String>) {
        let mut noted = self.0.lock();
        for (key, value) in annotations {
            noted.entry(key).or_insert(value);
        }
    }
}

/// One request's audit.
pub(crate) struct Record {
    audit: Arc<Audit>,
    verdict: Verdict,
    event: Map<String, Value>,
}

/// Makes the last event of a stream when it ends.
pub(crate) struct AtEnd(Record);

impl Drop for AtEnd {
    fn drop(&mut self) {
        let Some(event) = self.0.event(Stage::ResponseComplete) else { return };
        let (audit, level) = (self.0.audit.clone(), self.0.verdict.level);
        let mut emitted = Box::pin(async move { audit.emit(level, &event).await });
        // Only a webhook that blocks is waited for, and nobody waits for it here.
        if emitted.as_mut().now_or_never().is_none()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(emitted);
        }
    }
}

fn time(at: Timestamp) -> Value {
    format!("{at:.6}").into()
}

impl Record {
    /// The record of a request of the user in `attributes`; `None`: the policy keeps nothing of it. The error
    /// is for the client: a backend insists on the event and does not have it.
    pub async fn begin(
        audit: &Arc<Audit>,
        attributes: &Attributes,
        info: &RequestInfo,
        parts: &Parts,
        id: &str,
        received: Timestamp,
    ) -> Result<Option<Self>, ApiError> {
        let verdict = audit.policy.verdict(attributes);
        if verdict.level == Level::None {
            return Ok(None);
        }
        let mut event = Map::new();
        let mut set = |name: &str, value: Value| drop(event.insert(name.to_owned(), value));
        set("kind", "Event".into());
        set("apiVersion", "audit.k8s.io/v1".into());
        set("level", verdict.level.word().into());
        set("auditID", id.into());
        set("stage", Value::Null);
        set("requestURI", parts.uri.path_and_query().map_or("/", |uri| uri.as_str()).into());
        set("verb", attributes.verb.as_str().into());
        set("user", user_info(&attributes.user));
        set("sourceIPs", sources(parts).into());
        if let Some(agent) = parts.headers.get(http::header::USER_AGENT).and_then(|agent| agent.to_str().ok())
        {
            set("userAgent", agent.chars().take(1024).collect::<String>().into());
        }
        if attributes.is_resource {
            set("objectRef", reference(attributes, info));
        }
        set("requestReceivedTimestamp", time(received));
        let mut record = Self { audit: audit.clone(), verdict, event };
        if !record.emit(Stage::RequestReceived).await {
            audit.metrics.audit_rejected();
            let why = format!("Internal Server Error: {:?}: failed to store audit event", attributes.path);
            return Err(ApiError::internal(why));
        }
        Ok(Some(record))
    }

    /// Notes who the request is made as.
    pub fn impersonated(&mut self, user: &User) {
        self.event.insert("impersonatedUser".into(), user_info(user));
    }

    /// Notes what authorization said.
    pub fn decided(&mut self, allowed: bool, reason: &str) {
        let decision = if allowed { "allow" } else { "forbid" };
        let annotations =
            json!({"authorization.k8s.io/decision": decision, "authorization.k8s.io/reason": reason});
        self.event.insert("annotations".into(), annotations);
    }

    /// Notes what was noted elsewhere.
    pub fn annotate(&mut self, annotations: &Annotations) {
        let noted = std::mem::take(&mut *annotations.0.lock());
        if noted.is_empty() {
            return;
        }
        // What webhooks changed is part of the request.
        let kept = self.keeps_request();
        let all = self.event.entry("annotations").or_insert_with(|| json!({}));
        for (key, value) in noted {
            if !kept && key.starts_with("patch.webhook.admission.k8s.io/") {
                continue;
            }
            all[key] = value.into();
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

    /// Notes the request's object.
    pub fn requested(&mut self, headers: &HeaderMap, bytes: &[u8]) {
        if !bytes.is_empty()
            && let Some(object) = self.object(headers, bytes)
        {
            self.event.insert("requestObject".into(), object);
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
        let mut status = json!({"metadata": {}, "code": code});
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
                        status[field] = value.clone();
                    }
                }
            }
            if let Some(object) = object.filter(|_| self.keeps_answer()) {
                self.event.insert("responseObject".into(), object);
            }
            Body::from(bytes)
        } else {
            body
        };
        self.event.insert("responseStatus".into(), status);
        let response = Response::from_parts(parts, body);
        if panicked {
            self.emit(Stage::Panic).await;
            return response;
        }
        if stream && !failed {
            self.emit(Stage::ResponseStarted).await;
            return response.map(|body| Body::Held(Box::new(body), Box::new(AtEnd(self))));
        }
        self.emit(Stage::ResponseComplete).await;
        response
    }

    /// The object that is written in `bytes`, as it is kept.
    fn object(&self, headers: &HeaderMap, bytes: &[u8]) -> Option<Value> {
        let kind = content_type(headers);
        let mut object = if kind == protobuf::MEDIA_TYPE {
            protobuf::decode(bytes, None).ok()?
        } else {
            let format = if kind.contains("yaml") { Format::Yaml } else { Format::Json };
            decode_free(bytes, format).ok()?.value
        };
        if self.verdict.omit_managed_fields {
            forget_managers(&mut object);
            let items = object.get_mut("items").and_then(Value::as_array_mut);
            items.into_iter().flatten().for_each(forget_managers);
        }
        Some(object)
    }

    /// The event of a stage; `None`: the policy leaves it out.
    fn event(&mut self, stage: Stage) -> Option<Value> {
        if self.verdict.omit_stages.contains(&stage) {
            return None;
        }
        self.event.insert("stage".into(), stage.word().into());
        self.event.insert("stageTimestamp".into(), time(Timestamp::now()));
        Some(Value::Object(std::mem::take(&mut self.event)))
    }

    /// Makes the event of a stage; whether backends that insist on it have it.
    async fn emit(&mut self, stage: Stage) -> bool {
        let Some(event) = self.event(stage) else { return true };
        let kept = self.audit.emit(self.verdict.level, &event).await;
        if let Value::Object(event) = event {
            self.event = event;
        }
        kept
    }
}

fn forget_managers(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

fn reference(attributes: &Attributes, info: &RequestInfo) -> Value {
    let mut reference = Map::new();
    for (name, text) in [
        ("resource", &attributes.resource),
        ("namespace", &attributes.namespace),
        ("name", &info.name),
        ("apiGroup", &attributes.group),
        ("apiVersion", &attributes.version),
        ("subresource", &attributes.subresource),
    ] {
        if !text.is_empty() {
            reference.insert(name.into(), text.as_str().into());
        }
    }
    reference.into()
}

/// Whom a request comes from: what proxies say, and who connected.
fn sources(parts: &Parts) -> Vec<Value> {
    let said = |name: &str| {
        let values = parts.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        let listed = values.flat_map(|value| value.split(',')).map(str::trim);
        listed.filter(|text| text.parse::<std::net::IpAddr>().is_ok()).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut sources = said("x-forwarded-for");
    sources.extend(said("x-real-ip").into_iter().filter(|_| sources.is_empty()).collect::<Vec<_>>());
    let peer = parts.extensions.get::<PeerAddress>().map(|peer| peer.0.ip().to_canonical().to_string());
    let peer = peer.unwrap_or_else(|| "127.0.0.1".to_owned());
    if sources.last() != Some(&peer) {
        sources.push(peer);
    }
    sources.into_iter().map(Value::from).collect()
}
