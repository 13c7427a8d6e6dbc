//! Events as text: what a request's events have in common is written once, when it arrives.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use gantry_json::{Map, Value};
use http::request::Parts;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::{Level, PeerAddress, Stage};
use crate::request::RequestInfo;
use crate::{Attributes, User};

/// The longest name of a client that is kept, in characters.
const USER_AGENT: usize = 1024;
/// What an event without its objects is annotated with.
const TRUNCATED: &str = "audit.k8s.io/truncated";

/// What is noted with an event.
pub(super) type Notes = BTreeMap<Cow<'static, str>, Cow<'static, str>>;

/// What all events of a request say, the text of an object.
#[derive(Debug)]
pub(super) struct Arrived(Vec<u8>);

/// One event of a request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event<'a> {
    pub kind: &'static str,
    pub api_version: &'static str,
    #[serde(serialize_with = "level")]
    pub level: Level,
    #[serde(rename = "auditID")]
    pub id: &'a str,
    #[serde(serialize_with = "stage")]
    pub stage: Stage,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impersonated_user: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_status: Option<&'a Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_object: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_object: Option<&'a Value>,
    #[serde(serialize_with = "micro_time")]
    pub stage_timestamp: Timestamp,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: Cow<'a, Notes>,
    #[serde(skip)]
    pub arrived: &'a Arrived,
}

/// What a request came to: the Status that it was answered with, or what one would say.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub metadata: Map,
    /// `status`, `message`, `reason` and `details`.
    #[serde(flatten)]
    pub said: Map,
    pub code: u16,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Arrival<'a> {
    #[serde(rename = "requestURI")]
    uri: &'a str,
    verb: &'a str,
    user: Who<'a>,
    #[serde(rename = "sourceIPs")]
    sources: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object_ref: Option<Reference<'a>>,
    #[serde(serialize_with = "micro_time")]
    request_received_timestamp: Timestamp,
}

#[derive(Serialize)]
struct Who<'a> {
    username: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    uid: &'a str,
    groups: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extra: &'a BTreeMap<String, Vec<String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reference<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    resource: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    namespace: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    api_group: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    api_version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    subresource: &'a str,
}

impl Arrived {
    /// Of a request that arrived then.
    pub fn new(attributes: &Attributes, info: &RequestInfo, parts: &Parts, received: Timestamp) -> Self {
        let User { name, uid, groups, extra } = &attributes.user;
        let agent = parts.headers.get(http::header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        let arrival = Arrival {
            uri: parts.uri.path_and_query().map_or("/", |uri| uri.as_str()),
            verb: &attributes.verb,
            user: Who { username: name, uid, groups, extra },
            sources: sources(parts),
            // What a header may say is ASCII.
            user_agent: agent.map(|agent| &agent[..agent.len().min(USER_AGENT)]),
            object_ref: attributes.is_resource.then(|| Reference {
                resource: &attributes.resource,
                namespace: &attributes.namespace,
                name: &info.name,
                api_group: &attributes.group,
                api_version: &attributes.version,
                subresource: &attributes.subresource,
            }),
            request_received_timestamp: received,
        };
        let mut text = Vec::with_capacity(512);
        write(&mut text, &arrival);
        Self(text)
    }
}

impl Event<'_> {
    /// The event's JSON.
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.arrived.0.len() + 512);
        write(&mut text, self);
        // The fields of both objects are those of one.
        text.pop();
        text.push(b',');
        text.extend_from_slice(&self.arrived.0[1..]);
        text
    }

    /// The event without its objects, which says so.
    pub fn without_objects(&self) -> Event<'_> {
        let mut annotations = self.annotations.clone();
        annotations.to_mut().insert(TRUNCATED.into(), "true".into());
        Event { request_object: None, response_object: None, annotations, ..*self }
    }
}

/// Writes an object that is made of text and numbers alone, which does not fail.
fn write(text: &mut Vec<u8>, object: &impl Serialize) {
    if gantry_json::to_writer(&mut *text, object).is_err() {
        text.clear();
        text.extend_from_slice(b"{}");
    }
}

fn micro_time<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{at:.6}"))
}

fn level<S: Serializer>(level: &Level, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(level.word())
}

fn stage<S: Serializer>(stage: &Stage, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(stage.word())
}

/// Whom a request comes from: what proxies say, and who connected.
fn sources(parts: &Parts) -> Vec<String> {
    let said = |name: &str| {
        let values = parts.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        let listed = values.flat_map(|value| value.split(',')).map(str::trim);
        listed.filter(|text| text.parse::<IpAddr>().is_ok()).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut sources = said("x-forwarded-for");
    if sources.is_empty() {
        sources = said("x-real-ip");
    }
    let peer = parts.extensions.get::<PeerAddress>().map(|peer| peer.0.ip().to_canonical().to_string());
    let peer = peer.unwrap_or_else(|| "127.0.0.1".to_owned());
    if sources.last() != Some(&peer) {
        sources.push(peer);
    }
    sources
}

#[cfg(test)]
impl Default for Arrived {
    /// Of a request of which nothing is known.
    fn default() -> Self {
        Self(b"{\"verb\":\"get\"}".to_vec())
    }
}

#[cfg(test)]
impl<'a> Event<'a> {
    /// The last event of a request, with `notes`.
    pub fn example(level: Level, arrived: &'a Arrived, notes: &'a Notes) -> Self {
        Self {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            level,
            id: "1",
            stage: Stage::ResponseComplete,
            impersonated_user: None,
            response_status: None,
            request_object: None,
            response_object: None,
            stage_timestamp: Timestamp::UNIX_EPOCH,
            annotations: Cow::Borrowed(notes),
            arrived,
        }
    }
}
