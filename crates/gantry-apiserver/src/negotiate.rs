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
    /// A Table.
    Table,
    /// PartialObjectMetadata; of a list its list, where that is asked for.
    Metadata {
        /// Whether the list is asked for.
        list: bool,
    },
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
    /// The API version of what another shape than the object's is made of.
    pub meta: &'static str,
    /// Whether the JSON is indented for people.
    pub pretty: bool,
    /// Whether the client takes gzip.
    pub gzip: bool,
}

/// The API versions that tables and metadata are served in.
const META: [&str; 2] = ["meta.k8s.io/v1", "meta.k8s.io/v1beta1"];

/// Encodings of a watch, in the words of an error.
pub const STREAMED: [&str; 2] =
    ["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];

/// Encodings of bodies that are understood, in the words of an error.
pub const ACCEPTED: [&str; 3] = ["application/json", "application/yaml", protobuf::MEDIA_TYPE];

impl Output {
    /// Plain JSON.
    pub const JSON: Self =
        Self { encoding: Encoding::Json, shape: Shape::Object, meta: META[0], pretty: false, gzip: false };

    /// What `headers` and `query` accept, best quality first; `None`: nothing we can make.
    pub fn negotiate(headers: &HeaderMap, query: &Query) -> Option<Self> {
        Self::choose(headers, query, |_, _| true)
    }

    /// What is accepted of an object that has no protobuf form.
    pub fn without_protobuf(headers: &HeaderMap, query: &Query) -> Option<Self> {
        Self::choose(headers, query, |encoding, shape| {
            (encoding, shape) != (Encoding::Protobuf, Shape::Object)
        })
    }

    /// What is accepted of an object that is shown in no other shape: what is asked, not kept, and errors.
    pub fn of_answers(headers: &HeaderMap, query: &Query) -> Option<Self> {
        Self::choose(headers, query, |_, shape| shape == Shape::Object)
    }

    fn choose(headers: &HeaderMap, query: &Query, can: fn(Encoding, Shape) -> bool) -> Option<Self> {
        let form = match headers.get(ACCEPT).map(|value| value.to_str()) {
            None => Form::JSON,
            Some(Err(_)) => return None,
            Some(Ok(accept)) => form(accept, can)?,
        };
        let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let pretty = match query.filled("pretty") {
            Some(_) => query.flag("pretty"),
            None => ["curl", "Wget", "Mozilla/5.0"].iter().any(|name| agent.starts_with(name)),
        };
        let Form { encoding, shape, meta, pretty: asked } = form;
        Some(Self { encoding, shape, meta, pretty: pretty || asked, gzip: accepts_gzip(headers) })
    }
}

/// Whether the client takes gzip.
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    let list = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    list.is_some_and(|list| list.split(',').any(takes_gzip))
}

/// Whether one of the codings that a client accepts is gzip.
fn takes_gzip(coding: &str) -> bool {
    let mut parts = coding.split(';').map(str::trim);
    let named = parts.next() == Some("gzip");
    let quality = parts.find_map(|part| part.strip_prefix("q="));
    named && quality.is_none_or(|quality| quality.parse::<f32>().is_ok_and(|quality| quality > 0.0))
}

/// What one of the accepted media types asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Form {
    encoding: Encoding,
    shape: Shape,
    meta: &'static str,
    pretty: bool,
}

impl Form {
    const JSON: Self = Self { encoding: Encoding::Json, shape: Shape::Object, meta: META[0], pretty: false };
}

/// One of the media types that a client accepts.
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    quality: f32,
    parameters: &'a str,
}

fn form(accept: &str, can: fn(Encoding, Shape) -> bool) -> Option<Form> {
    if accept.is_empty() || accept == "application/json" {
        return Some(Form::JSON);
    }
    ranges(accept).iter().find_map(|range| range.form(can))
}

/// Whether discovery in one document is accepted rather than the forms that came before it.
pub fn accepts_aggregated_discovery(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut ranges = ranges(accept).into_iter();
    ranges
        .find_map(|range| range.is_aggregated_discovery().or(range.form(|_, _| true).map(|_| false)))
        .unwrap_or_default()
}

/// The media types that a client accepts, best quality first.
fn ranges(accept: &str) -> Vec<Range<'_>> {
    let mut ranges: Vec<Range> = accept.split(',').filter_map(range).collect();
    // A stable sort keeps the client's order among equals; what says more goes first.
    let wild = |range: &Range| (range.kind == "*", range.subtype == "*");
    ranges.sort_by(|a, b| b.quality.total_cmp(&a.quality).then_with(|| wild(a).cmp(&wild(b))));
    ranges
}

impl Range<'_> {
    /// The first of our forms that is meant.
    fn form(&self, can: fn(Encoding, Shape) -> bool) -> Option<Form> {
        [Encoding::Json, Encoding::Yaml, Encoding::Protobuf].into_iter().find_map(|encoding| {
            let subtype = match encoding {
                Encoding::Json => "json",
                Encoding::Yaml => "yaml",
                Encoding::Protobuf => "vnd.kubernetes.protobuf",
            };
            let named = self.kind == "application" && (self.subtype == subtype || self.subtype == "*");
            let any = self.kind == "*" && self.subtype == "*";
            let form = (named || any).then(|| asked(encoding, self.parameters))??;
            can(form.encoding, form.shape).then_some(form)
        })
    }

    /// `Some(true)` where it is: in version v2, the beta is no longer served.
    fn is_aggregated_discovery(&self) -> Option<bool> {
        let says = |name, wanted| parameters_of(self.parameters).any(|each| each == (name, wanted));
        (says("as", "APIGroupDiscoveryList") && says("g", "apidiscovery.k8s.io") && says("v", "v2"))
            .then_some(true)
    }
}

/// One media type with its parameters; `None`: it is none, and not looked at.
fn range(text: &str) -> Option<Range<'_>> {
    let (name, parameters) = text.split_once(';').unwrap_or((text, ""));
    let (kind, subtype) = match name.trim() {
        "*" => ("*", "*"),
        name => name.split_once('/').filter(|(_, subtype)| !subtype.is_empty() && !subtype.contains('/'))?,
    };
    let quality = parameters_of(parameters).filter(|(name, _)| *name == "q");
    let quality = quality.last().map_or(1.0, |(_, value)| value.parse().unwrap_or(0.0));
    Some(Range { kind: kind.trim(), subtype: subtype.trim(), quality, parameters })
}

fn parameters_of(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = text.split(';').filter_map(|part| part.split_once('='));
    let pairs = pairs.filter(|(_, value)| !value.is_empty() && !value.contains('='));
    pairs.map(|(name, value)| (name.trim(), value.trim()))
}

/// What `parameters` ask of an encoding; `None`: what is not made in it.
fn asked(encoding: Encoding, parameters: &str) -> Option<Form> {
    let (mut target, mut group, mut version, mut converted) = ("", "", "", false);
    let mut form = Form { encoding, ..Form::JSON };
    for (name, value) in parameters_of(parameters) {
        match name {
            "as" => (target, converted) = (value, true),
            "g" => (group, converted) = (value, true),
            "v" => (version, converted) = (value, true),
            // A YAML document does not say where it ends.
            "stream" if !value.is_empty() && (value != "watch" || encoding == Encoding::Yaml) => return None,
            "sv" if !matches!(value, "" | "v1") => return None,
            "pretty" => form.pretty = value == "1",
            _ => {}
        }
    }
    if !converted {
        return Some(form);
    }
    form.meta = META.into_iter().find(|meta| meta.split_once('/') == Some((group, version)))?;
    form.shape = match target {
        // A table has cells of any type, which protobuf has no form for.
        "Table" if encoding != Encoding::Protobuf => Shape::Table,
        "PartialObjectMetadata" => Shape::Metadata { list: false },
        "PartialObjectMetadataList" => Shape::Metadata { list: true },
        _ => return None,
    };
    Some(form)
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
mod tests;
