//! Which representation of an answer the client accepts, and which of a body it sent.

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

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Output {
    /// What the answer is shaped as.
    pub shape: Shape,
    /// Whether the JSON is indented for people.
    pub pretty: bool,
    /// Whether the client takes gzip.
    pub gzip: bool,
}

/// Encodings of bodies that are understood, in the words of an error.
pub const ACCEPTED: [&str; 2] = ["application/json", "application/yaml"];

impl Output {
    /// Plain JSON.
    pub const JSON: Self = Self { shape: Shape::Object, pretty: false, gzip: false };

    /// What `headers` and `query` accept, best quality first; `None`: nothing we can make.
    pub fn negotiate(headers: &HeaderMap, query: &Query) -> Option<Self> {
        let shape = match headers.get(ACCEPT).map(|value| value.to_str()) {
            None => Shape::Object,
            Some(Err(_)) => return None,
            Some(Ok(accept)) => shape(accept)?,
        };
        let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let pretty = match query.get("pretty") {
            Some(_) => query.flag("pretty"),
            None => ["curl", "Wget", "Mozilla/5.0"].iter().any(|name| agent.starts_with(name)),
        };
        let encodings = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
        let gzip = encodings.is_some_and(|list| {
            list.split(',').any(|each| each.split(';').next().is_some_and(|name| name.trim() == "gzip"))
        });
        Some(Self { shape, pretty, gzip })
    }
}

fn shape(accept: &str) -> Option<Shape> {
    let mut choices: Vec<(f32, Option<Shape>)> =
        accept.split(',').filter(|range| !range.trim().is_empty()).map(media_range).collect();
    if choices.is_empty() {
        return Some(Shape::Object);
    }
    // A stable sort keeps the client's order among equals.
    choices.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    choices.into_iter().filter(|(quality, _)| *quality > 0.0).find_map(|(_, shape)| shape)
}

fn media_range(range: &str) -> (f32, Option<Shape>) {
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
    let known = matches!(name, "application/json" | "application/*" | "*/*");
    if !known || stream.is_some_and(|stream| stream != "watch") {
        return (quality, None);
    }
    let meta = group == Some("meta.k8s.io") && version == Some("v1");
    let shape = match target {
        None => Some(Shape::Object),
        Some("Table") if meta => Some(Shape::Table),
        Some("PartialObjectMetadata" | "PartialObjectMetadataList") if meta => Some(Shape::Metadata),
        Some(_) => None,
    };
    (quality, shape)
}

/// A request body's media type in lower case, without its parameters; JSON where none is said.
pub fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("application/json");
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accept: &str, expect: Option<Shape>) {
        assert_eq!(shape(accept), expect, "{accept}");
    }

    #[test]
    fn the_best_accepted_shape_is_chosen() {
        check("application/json", Some(Shape::Object));
        check("*/*", Some(Shape::Object));
        check("", Some(Shape::Object));
        check("application/vnd.kubernetes.protobuf", None);
        check("application/vnd.kubernetes.protobuf,application/json", Some(Shape::Object));
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
