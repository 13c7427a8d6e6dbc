//! Which representation of an answer the client accepts, and which of a body it sent.

use gantry_api::protobuf;
use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, USER_AGENT};

use crate::request::Query;

/// What an answer is shaped as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The object itself.
    Object,
    /// `meta.k8s.io/v1` Table.
    Table,
    /// `meta.k8s.io/v1` PartialObjectMetadata, or its list.
    Metadata,
}

/// What an answer is encoded in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// JSON.
    Json,
    /// YAML; not for watches.
    Yaml,
    /// Kubernetes protobuf; not for tables.
    Protobuf,
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Output {
    /// What the answer is encoded in.
    pub encoding: Encoding,
    /// What the answer is shaped as.
    pub shape: Shape,
    /// Whether the JSON is indented for people.
    pub pretty: bool,
    /// Whether the client takes gzip.
    pub gzip: bool,
}

/// Encodings of bodies that are understood, in the words of an error.
pub const ACCEPTED: [&str; 3] = ["application/json", "application/yaml", protobuf::MEDIA_TYPE];

impl Output {
    /// Plain JSON.
    pub const JSON: Self =
        Self { encoding: Encoding::Json, shape: Shape::Object, pretty: false, gzip: false };

    /// What `headers` and `query` accept, best quality first; `None`: nothing we can make.
    pub fn negotiate(headers: &HeaderMap, query: &Query) -> Option<Self> {
        Self::choose(headers, query, |_| true)
    }

    /// What is accepted of an object that has no protobuf form.
    pub fn without_protobuf(headers: &HeaderMap, query: &Query) -> Option<Self> {
        Self::choose(headers, query, |form| form != (Encoding::Protobuf, Shape::Object))
    }

    /// What is accepted of an object that is shown in no other shape: what is asked, not kept.
    pub fn of_answers(headers: &HeaderMap, query: &Query) -> Option<Self> {
        Self::choose(headers, query, |(_, shape)| shape == Shape::Object)
    }

    fn choose(headers: &HeaderMap, query: &Query, can: impl Fn(Form) -> bool) -> Option<Self> {
        let watch = query.flag("watch");
        let (encoding, shape) = match headers.get(ACCEPT).map(|value| value.to_str()) {
            None => (Encoding::Json, Shape::Object),
            Some(Err(_)) => return None,
            Some(Ok(accept)) => form(accept, watch, can)?,
        };
        let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let pretty = match query.get("pretty") {
            Some(_) => query.flag("pretty"),
            None => ["curl", "Wget", "Mozilla/5.0"].iter().any(|name| agent.starts_with(name)),
        };
        Some(Self { encoding, shape, pretty, gzip: accepts_gzip(headers) })
    }
}

/// Whether the client takes gzip.
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    let encodings = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    encodings.is_some_and(|list| list.split(',').any(takes_gzip))
}

/// Whether one of the codings that a client accepts is gzip.
fn takes_gzip(coding: &str) -> bool {
    let mut parts = coding.split(';').map(str::trim);
    let named = parts.next() == Some("gzip");
    let quality = parts.find_map(|part| part.strip_prefix("q="));
    named && quality.is_none_or(|quality| quality.parse::<f32>().is_ok_and(|quality| quality > 0.0))
}

type Form = (Encoding, Shape);

fn form(accept: &str, watch: bool, can: impl Fn(Form) -> bool) -> Option<Form> {
    let ranges = accept.split(',').filter(|range| !range.trim().is_empty());
    let mut choices: Vec<(f32, Option<Form>)> = ranges.map(|range| media_range(range, watch)).collect();
    if choices.is_empty() {
        return Some((Encoding::Json, Shape::Object));
    }
    // A stable sort keeps the client's order among equals.
    choices.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    choices
        .into_iter()
        .filter(|(quality, _)| *quality > 0.0)
        .find_map(|(_, form)| form.filter(|form| can(*form)))
}

fn media_range(range: &str, watch: bool) -> (f32, Option<Form>) {
    let mut parts = range.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let (mut quality, mut target, mut group, mut version) = (1.0, None, None, None);
    let mut stream = None;
    for (key, value) in parts.filter_map(|part| part.split_once('=')) {
        match key.trim() {
            "q" => quality = value.trim().parse().unwrap_or(0.0),
            "as" => target = Some(value.trim()),
            "g" => group = Some(value.trim()),
            "v" => version = Some(value.trim()),
            "stream" => stream = Some(value.trim()),
            _ => {}
        }
    }
    let encoding = match name {
        "application/json" | "application/*" | "*/*" => Encoding::Json,
        "application/yaml" if !watch => Encoding::Yaml,
        protobuf::MEDIA_TYPE => Encoding::Protobuf,
        _ => return (quality, None),
    };
    if stream.is_some_and(|stream| stream != "watch") {
        return (quality, None);
    }
    let meta = group == Some("meta.k8s.io") && version == Some("v1");
    let shape = match target {
        None => Some(Shape::Object),
        // A table has cells of any type, which protobuf has no form for.
        Some("Table") if meta && encoding != Encoding::Protobuf => Some(Shape::Table),
        Some("PartialObjectMetadata" | "PartialObjectMetadataList") if meta => Some(Shape::Metadata),
        Some(_) => None,
    };
    (quality, shape.map(|shape| (encoding, shape)))
}

/// A request body's media type in lower case, without its parameters; JSON where none is said.
pub fn content_type(headers: &HeaderMap) -> String {
    let Some(value) = headers.get(CONTENT_TYPE).filter(|value| !value.is_empty()) else {
        return "application/json".to_owned();
    };
    // What is no text names no type that anybody knows.
    let value = value.to_str().unwrap_or("unknown");
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accept: &str, expect: Option<Shape>) {
        assert_eq!(form(accept, false, |_| true).map(|(_, shape)| shape), expect, "{accept}");
    }

    #[test]
    fn the_best_accepted_encoding_is_chosen() {
        let check = |accept, watch, expect| {
            assert_eq!(form(accept, watch, |_| true).map(|(encoding, _)| encoding), expect, "{accept}");
        };
        check("application/vnd.kubernetes.protobuf,application/json", false, Some(Encoding::Protobuf));
        check("application/vnd.kubernetes.protobuf;q=0.5,application/json", false, Some(Encoding::Json));
        check("application/vnd.kubernetes.protobuf;stream=watch", true, Some(Encoding::Protobuf));
        check("application/yaml", false, Some(Encoding::Yaml));
        check("application/yaml", true, None);
        check("application/cbor", false, None);
    }

    #[test]
    fn the_best_accepted_shape_is_chosen() {
        check("application/json", Some(Shape::Object));
        check("*/*", Some(Shape::Object));
        check("", Some(Shape::Object));
        check("application/vnd.kubernetes.protobuf", Some(Shape::Object));
        check("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io", None);
        check(
            "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
            Some(Shape::Metadata),
        );
        check(
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
            Some(Shape::Table),
        );
        check("application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json", Some(Shape::Object));
        check("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", Some(Shape::Metadata));
        check(
            "application/json;q=0.5, application/json;as=Table;v=v1;g=meta.k8s.io;q=0.9",
            Some(Shape::Table),
        );
        check("text/html", None);
    }
}
