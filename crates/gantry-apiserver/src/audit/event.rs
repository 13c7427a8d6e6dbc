//! Events as text: what a request's events have in common is written once, when it arrives.

use std::borrow::Cow;
use std::io::Write;
use std::net::IpAddr;

use gantry_json::{Map, Text, Value, write_text};
use http::request::Parts;
use jiff::Timestamp;
use jiff::tz::Offset;

use super::{Level, PeerAddress, Stage};
use crate::{Attributes, User};

/// The longest name of a client that is kept, in characters.
const USER_AGENT: usize = 1024;
/// What a longer one ends in.
const CUT: &str = "...TRUNCATED";
/// The fields of an event's `objectRef`.
const REFERENCE: [&str; 8] =
    ["resource", "namespace", "name", "uid", "apiGroup", "apiVersion", "resourceVersion", "subresource"];
// Where those of them stand that an object says of itself.
const NAMESPACE: usize = 1;
const NAME: usize = 2;
const UID: usize = 3;
const RESOURCE_VERSION: usize = 6;
/// What an event without its objects is annotated with.
const TRUNCATED: &str = "audit.k8s.io/truncated";

/// What is noted with an event, in the order of the keys.
pub(super) type Notes = Vec<(Cow<'static, str>, Cow<'static, str>)>;

/// Notes something, in place of what is noted under the same key.
pub(super) fn note(notes: &mut Notes, key: Cow<'static, str>, value: Cow<'static, str>) {
    match notes.binary_search_by(|(noted, _)| noted.cmp(&key)) {
        Ok(at) => notes[at].1 = value,
        Err(at) => notes.insert(at, (key, value)),
    }
}

/// What all events of a request say.
#[derive(Debug)]
pub(super) struct Arrived {
    /// The text of an object, but for its `objectRef` and its end.
    text: Vec<u8>,
    /// The values of the fields of `objectRef`, which not every request has.
    reference: Option<[Text; REFERENCE.len()]>,
}

/// What an object that was sent says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    pub namespace: Text,
    pub name: Text,
    pub uid: Text,
    pub resource_version: Text,
}

impl Sent {
    pub fn of(object: &Value) -> Self {
        let metadata = &object["metadata"];
        let text = |field: usize| Text::new(metadata[REFERENCE[field]].as_str().unwrap_or_default());
        Self {
            namespace: text(NAMESPACE),
            name: text(NAME),
            uid: text(UID),
            resource_version: text(RESOURCE_VERSION),
        }
    }
}

/// One event of a request.
#[derive(Debug)]
pub(super) struct Event<'a> {
    pub level: Level,
    pub id: &'a str,
    pub stage: Stage,
    pub impersonated_user: Option<&'a Value>,
    pub response_status: Option<&'a Outcome>,
    pub request_object: Option<&'a Value>,
    pub response_object: Option<&'a Value>,
    pub stage_timestamp: Timestamp,
    pub annotations: Cow<'a, Notes>,
    pub arrived: &'a Arrived,
}

/// What a request came to: the Status that it was answered with, or what one would say.
#[derive(Debug)]
pub(super) struct Outcome {
    /// `status`, `message`, `reason` and `details`.
    pub said: Map,
    pub code: u16,
}

impl Arrived {
    /// Of a request that arrived then.
    pub fn new(attributes: &Attributes, parts: &Parts, received: Timestamp) -> Self {
        let User { name: user, uid, groups, extra } = &*attributes.user;
        let agent = parts.headers.get(http::header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        let mut text = Vec::with_capacity(512);
        text.push(b'{');
        put(&mut text, "requestURI", parts.uri.path_and_query().map_or("/", |uri| uri.as_str()));
        put(&mut text, "verb", &attributes.verb);
        within(&mut text, "user", b"{}", |text| {
            put_filled(text, "username", user);
            put_filled(text, "uid", uid);
            if !groups.is_empty() {
                within(text, "groups", b"[]", |text| groups.iter().for_each(|group| put_item(text, group)));
            }
            if !extra.is_empty() {
                within(text, "extra", b"{}", |text| {
                    for (key, values) in extra {
                        within(text, key, b"[]", |text| {
                            values.iter().for_each(|value| put_item(text, value))
                        });
                    }
                });
            }
        });
        within(&mut text, "sourceIPs", b"[]", |text| put_sources(text, parts));
        match agent {
            // What a header may say is ASCII.
            Some(agent) if agent.len() > USER_AGENT => {
                put(&mut text, "userAgent", &[&agent[..USER_AGENT], CUT].concat());
            }
            Some(agent) => put(&mut text, "userAgent", agent),
            None => {}
        }
        put_time(&mut text, "requestReceivedTimestamp", received);
        let reference = attributes.is_resource.then(|| {
            let Attributes { resource, namespace, name, group, version, subresource, .. } =
                attributes.clone();
            let unknown = Text::new_static("");
            [resource, namespace, name, unknown.clone(), group, version, unknown, subresource]
        });
        Self { text, reference }
    }

    /// Has the reference say of the object that was sent what the request does not.
    pub fn refer(&mut self, sent: Sent) {
        let Sent { namespace, name, uid, resource_version } = sent;
        let said = [(NAMESPACE, namespace), (NAME, name), (UID, uid), (RESOURCE_VERSION, resource_version)];
        if let Some(reference) = &mut self.reference {
            for (at, said) in said {
                if reference[at].is_empty() {
                    reference[at] = said;
                }
            }
        }
    }
}

impl Event<'_> {
    /// The event's JSON.
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.arrived.text.len() + 512);
        text.extend_from_slice(br#"{"kind":"Event","apiVersion":"audit.k8s.io/v1""#);
        put(&mut text, "level", self.level.word());
        put(&mut text, "auditID", self.id);
        put(&mut text, "stage", self.stage.word());
        put_value(&mut text, "impersonatedUser", self.impersonated_user);
        if let Some(Outcome { said, code }) = self.response_status {
            within(&mut text, "responseStatus", b"{}", |text| {
                text.extend_from_slice(br#""metadata":{}"#);
                said.iter().for_each(|(name, value)| put_value(text, name, Some(value)));
                name(text, "code");
                put_number(text, (*code).into());
            });
        }
        put_value(&mut text, "requestObject", self.request_object);
        put_value(&mut text, "responseObject", self.response_object);
        put_time(&mut text, "stageTimestamp", self.stage_timestamp);
        if !self.annotations.is_empty() {
            within(&mut text, "annotations", b"{}", |text| {
                self.annotations.iter().for_each(|(key, value)| put(text, key, value));
            });
        }
        // The fields of both objects are those of one.
        text.push(b',');
        text.extend_from_slice(&self.arrived.text[1..]);
        if let Some(values) = &self.arrived.reference {
            within(&mut text, "objectRef", b"{}", |text| {
                for (field, value) in REFERENCE.into_iter().zip(values) {
                    put_filled(text, field, value);
                }
            });
        }
        text.push(b'}');
        text
    }

    /// The event without its objects, which says so.
    pub fn without_objects(&self) -> Event<'_> {
        let mut annotations = self.annotations.clone();
        note(annotations.to_mut(), TRUNCATED.into(), "true".into());
        Event { request_object: None, response_object: None, annotations, ..*self }
    }
}

/// Goes on to the next field or item, if something stands before it.
fn separate(text: &mut Vec<u8>) {
    if !matches!(text.last(), Some(b'{' | b'[')) {
        text.push(b',');
    }
}

// Not inlined, as `put` and `put_item`: a request waits for its own code more than for anything else, and by its
// profile all of this would stand in a row.
#[inline(never)]
fn name(text: &mut Vec<u8>, name: &str) {
    separate(text);
    write_text(text, name);
    text.push(b':');
}

/// A field that is an object or a list, between these brackets.
fn within(text: &mut Vec<u8>, field: &str, brackets: &[u8; 2], fill: impl FnOnce(&mut Vec<u8>)) {
    name(text, field);
    text.push(brackets[0]);
    fill(text);
    text.push(brackets[1]);
}

#[inline(never)]
fn put(text: &mut Vec<u8>, field: &str, value: &str) {
    name(text, field);
    write_text(text, value);
}

fn put_filled(text: &mut Vec<u8>, field: &str, value: &str) {
    if !value.is_empty() {
        put(text, field, value);
    }
}

fn put_value(text: &mut Vec<u8>, field: &str, value: Option<&Value>) {
    if let Some(value) = value {
        name(text, field);
        value.write(text);
    }
}

#[inline(never)]
fn put_item(text: &mut Vec<u8>, value: &str) {
    separate(text);
    write_text(text, value);
}

/// A time in microseconds.
#[inline(never)]
fn put_time(text: &mut Vec<u8>, field: &str, at: Timestamp) {
    name(text, field);
    let at = Offset::UTC.to_datetime(at);
    let mut written = *b"\"0000-00-00T00:00:00.000000Z\"";
    let parts = [
        (4, at.year().unsigned_abs().into()),
        (7, at.month().unsigned_abs().into()),
        (10, at.day().unsigned_abs().into()),
        (13, at.hour().unsigned_abs().into()),
        (16, at.minute().unsigned_abs().into()),
        (19, at.second().unsigned_abs().into()),
        (26, at.subsec_nanosecond().unsigned_abs() / 1000),
    ];
    for (mut place, mut value) in parts {
        while value > 0 {
            written[place] += (value % 10) as u8;
            value /= 10;
            place -= 1;
        }
    }
    text.extend_from_slice(&written);
}

/// Whom a request comes from: what proxies say, and who connected.
fn put_sources(text: &mut Vec<u8>, parts: &Parts) {
    // Few requests say any, and looking for a header costs more than passing all of them.
    let said = |name: &str| {
        let named = parts.headers.iter().filter(|(header, _)| header.as_str() == name);
        let values = named.filter_map(|(_, value)| value.to_str().ok());
        let listed = values.flat_map(|value| value.split(',')).map(str::trim);
        listed.filter(|text| text.parse::<IpAddr>().is_ok()).collect::<Vec<_>>()
    };
    let mut sources = said("x-forwarded-for");
    if sources.is_empty() {
        sources = said("x-real-ip");
    }
    sources.iter().for_each(|source| put_item(text, source));
    let peer = parts.extensions.get::<PeerAddress>();
    let peer = peer.map_or(IpAddr::from([127, 0, 0, 1]), |peer| peer.0.ip().to_canonical());
    if sources.last().and_then(|last| last.parse().ok()) == Some(peer) {
        return;
    }
    separate(text);
    text.push(b'"');
    match peer {
        IpAddr::V4(peer) => {
            for (at, octet) in peer.octets().into_iter().enumerate() {
                if at > 0 {
                    text.push(b'.');
                }
                put_number(text, octet.into());
            }
        }
        // What is written into memory does not fail.
        IpAddr::V6(peer) => _ = write!(text, "{peer}"),
    }
    text.push(b'"');
}

fn put_number(text: &mut Vec<u8>, number: u32) {
    if number >= 10 {
        put_number(text, number / 10);
    }
    text.push(b'0' + (number % 10) as u8);
}

#[cfg(test)]
impl Default for Arrived {
    /// Of a request of which nothing is known.
    fn default() -> Self {
        Self { text: b"{\"verb\":\"get\"".to_vec(), reference: None }
    }
}

#[cfg(test)]
impl<'a> Event<'a> {
    /// The last event of a request, with `notes`.
    pub fn example(level: Level, arrived: &'a Arrived, notes: &'a Notes) -> Self {
        Self {
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use gantry_json::json;
    use http::{Method, Request};

    use super::*;
    use crate::request::{Query, RequestInfo};

    #[test]
    fn times_are_written_to_the_microsecond() {
        for (seconds, nanoseconds) in [(0, 0), (1_764_633_599, 999_999_999), (951_782_400, 1_000)] {
            let at = Timestamp::new(seconds, nanoseconds).unwrap();
            let mut text = b"{".to_vec();
            put_time(&mut text, "at", at);
            assert_eq!(String::from_utf8(text).unwrap(), format!("{{\"at\":\"{at:.6}\""));
        }
    }

    #[test]
    fn all_that_is_known_is_written() {
        let user = User {
            uid: "u-1".into(),
            extra: [("k".to_owned(), vec!["a\"b".to_owned(), "c".to_owned()])].into(),
            ..User::new("jane", ["one", "two"])
        };
        let request = Request::get("/api/v1/namespaces/n/pods/a%22?x=%22").header("user-agent", "kubectl");
        let (mut parts, ()) =
            request.header("x-forwarded-for", "10.0.0.7, no, fd00::1").body(()).unwrap().into_parts();
        let peer: SocketAddr = "[fd00::2]:443".parse().unwrap();
        parts.extensions.insert(PeerAddress(peer));
        let attributes = Attributes {
            user: user.into(),
            verb: "get".into(),
            resource: "pods".into(),
            namespace: "n".into(),
            name: "a\"".into(),
            version: "v1".into(),
            is_resource: true,
            ..Attributes::default()
        };
        let arrived = Arrived::new(&attributes, &parts, Timestamp::UNIX_EPOCH);
        let mut notes = Notes::new();
        for (key, value) in [("b", "1"), ("a", "\n"), ("b", "2")] {
            note(&mut notes, key.into(), value.into());
        }
        let said = [("message", json!("no"))].into_iter().collect();
        let outcome = Outcome { said, code: 404 };
        let object = json!({"a": [1, null]});
        let event = Event {
            impersonated_user: Some(&object),
            response_status: Some(&outcome),
            request_object: Some(&object),
            response_object: Some(&object),
            ..Event::example(Level::RequestResponse, &arrived, &notes)
        };
        let seen: Value = gantry_json::from_slice(&event.text()).unwrap();
        let expect = json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "RequestResponse", "auditID": "1",
            "stage": "ResponseComplete", "impersonatedUser": object, "requestObject": object,
            "responseObject": object, "responseStatus": {"metadata": {}, "message": "no", "code": 404},
            "stageTimestamp": "1970-01-01T00:00:00.000000Z", "annotations": {"a": "\n", "b": "2"},
            "requestURI": "/api/v1/namespaces/n/pods/a%22?x=%22", "verb": "get",
            "user": {"username": "jane", "uid": "u-1", "groups": ["one", "two", "system:authenticated"],
                "extra": {"k": ["a\"b", "c"]}},
            "sourceIPs": ["10.0.0.7", "fd00::1", "fd00::2"], "userAgent": "kubectl",
            "objectRef": {"resource": "pods", "namespace": "n", "name": "a\"", "apiVersion": "v1"},
            "requestReceivedTimestamp": "1970-01-01T00:00:00.000000Z",
        });
        assert_eq!(seen, expect);
    }

    /// What has arrived with a request by `user`.
    fn arrived(user: User, uri: &str, agent: &str) -> Arrived {
        let request = Request::get(uri).header("user-agent", agent).body(()).unwrap();
        let (parts, ()) = request.into_parts();
        let info = RequestInfo::parse(&Method::GET, parts.uri.path(), &Query::parse(None));
        let attributes = Attributes {
            user: user.into(),
            verb: "get".into(),
            group: info.group.clone(),
            version: info.version.clone(),
            resource: info.resource.clone(),
            subresource: info.subresource.clone(),
            namespace: info.namespace.clone(),
            name: info.name.clone(),
            is_resource: info.is_resource,
            ..Attributes::default()
        };
        Arrived::new(&attributes, &parts, Timestamp::UNIX_EPOCH)
    }

    fn seen(arrived: &Arrived) -> Value {
        let notes = Notes::new();
        gantry_json::from_slice(&Event::example(Level::Metadata, arrived, &notes).text()).unwrap()
    }

    #[test]
    fn nobody_says_nothing_and_long_names_are_cut() {
        let check = |agent: &str, expect: &str| {
            let event = seen(&arrived(User::default(), "/version", agent));
            assert_eq!((&event["user"], &event["userAgent"]), (&json!({}), &json!(expect)));
        };
        check("kubectl", "kubectl");
        check(&"a".repeat(1024), &"a".repeat(1024));
        check(&"a".repeat(1025), &format!("{}...TRUNCATED", "a".repeat(1024)));
    }

    #[test]
    fn the_object_that_was_sent_says_what_the_path_does_not() {
        let check = |uri: &str, object: Value, expect: Value| {
            let mut arrived = arrived(User::new("jane", []), uri, "kubectl");
            arrived.refer(Sent::of(&object));
            let event = seen(&arrived);
            assert_eq!(event["objectRef"], expect);
            assert_eq!(event["requestReceivedTimestamp"], "1970-01-01T00:00:00.000000Z");
        };
        let named = json!({"metadata": {
            "namespace": "other", "name": "a\"", "uid": "u-1", "resourceVersion": "7"}});
        check(
            "/apis/apps/v1/namespaces/n/deployments",
            named.clone(),
            json!({"resource": "deployments", "namespace": "n", "name": "a\"", "uid": "u-1", "apiGroup": "apps",
                "apiVersion": "v1", "resourceVersion": "7"}),
        );
        check(
            "/api/v1/nodes/b/status",
            named.clone(),
            json!({"resource": "nodes", "namespace": "other", "name": "b", "uid": "u-1", "apiVersion": "v1",
                "resourceVersion": "7", "subresource": "status"}),
        );
        check(
            "/api/v1/namespaces/n/pods",
            json!({"metadata": {"generateName": "a-"}}),
            json!({"resource": "pods", "namespace": "n", "apiVersion": "v1"}),
        );
        check("/version", named, Value::Null);
    }
}
