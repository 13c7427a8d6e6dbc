//! Events as they are sent: a line of JSON or a frame of protobuf each.

use std::sync::Arc;

use bytes::{BufMut, Bytes};
use gantry_api::protobuf;
use gantry_api::registry::Kind;
use gantry_api::status::ApiError;
use gantry_json::{Value, json};
use gantry_store::Entry;

use crate::negotiate::{Encoding, Output, Shape};
use crate::request::Query;
use crate::rest::{Encoded, shape};
use crate::storage::{self, Metadata};

/// What stands before and after the API version of an object's metadata.
const PARTIAL: [&[u8]; 2] = [b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"", b"\",\"metadata\":"];

/// Writes a watch's events.
#[derive(Clone)]
pub struct Frames {
    /// The kind watched.
    pub kind: Arc<Kind>,
    /// How objects are shown.
    pub output: Output,
    /// The query, for what a table includes.
    pub query: Query,
    /// Messages of objects that others watch, too.
    pub encoded: Arc<Encoded>,
    /// A table's columns are told with its first row.
    pub columns_sent: bool,
    /// Whether objects in JSON come without managed fields.
    pub unmanaged: bool,
}

impl Frames {
    /// Whether objects go out as they are stored.
    fn shows_stored(&self) -> bool {
        self.output.shape == Shape::Object && self.kind.stored.is_none()
    }

    /// An event of a stored object, which others may be told of, too.
    pub fn stored(&mut self, piece: &mut Vec<u8>, event: &str, entry: &Entry) {
        if self.output.encoding == Encoding::Protobuf && self.shows_stored() {
            let message = self.encoded.message(&self.kind, entry);
            return self.message(piece, event, message);
        }
        if !self.looks_for_metadata() {
            return self.put(piece, event, &entry.value, None);
        }
        let metadata = match self.kind.as_custom() {
            // Others may be shown the same change in another version.
            Some(_) => Metadata::find(&entry.value),
            None => self.encoded.metadata(entry),
        };
        self.put(piece, event, &entry.value, metadata);
    }

    /// An event of a stored object that is one of many.
    pub fn one_of_many(&mut self, piece: &mut Vec<u8>, event: &str, entry: &Entry) {
        if self.output.encoding == Encoding::Protobuf && self.shows_stored() {
            let message = self.encoded.message_of_many(&self.kind, entry);
            return self.message(piece, event, message);
        }
        self.made(piece, event, &entry.value);
    }

    /// An event of an object in `json`.
    pub fn made(&mut self, piece: &mut Vec<u8>, event: &str, json: &[u8]) {
        let metadata = self.looks_for_metadata().then(|| Metadata::find(json)).flatten();
        self.put(piece, event, json, metadata);
    }

    /// Whether it matters where an object's metadata are.
    fn looks_for_metadata(&self) -> bool {
        match self.output.shape {
            Shape::Metadata { .. } => self.kind.stored.is_none(),
            _ => self.unmanaged && self.shows_stored() && self.output.encoding != Encoding::Protobuf,
        }
    }

    /// An event of an object in `json`, and where its metadata are, if that matters.
    fn put(&mut self, piece: &mut Vec<u8>, event: &str, json: &[u8], metadata: Option<Metadata>) {
        if self.output.encoding == Encoding::Protobuf {
            return self.protobuf(piece, event, json, metadata);
        }
        piece.put_slice(b"{\"type\":\"");
        piece.put_slice(event.as_bytes());
        piece.put_slice(b"\",\"object\":");
        if self.shows_stored() {
            match metadata {
                Some(metadata) => metadata.unmanaged(json).into_iter().for_each(|part| piece.put_slice(part)),
                None => piece.put_slice(json),
            }
        } else if let Some(metadata) = metadata {
            piece.put_slice(PARTIAL[0]);
            piece.put_slice(self.output.meta.as_bytes());
            piece.put_slice(PARTIAL[1]);
            let shown = if self.unmanaged { metadata.rest(json) } else { [metadata.whole(json), &[]] };
            shown.into_iter().for_each(|part| piece.put_slice(part));
            piece.put_u8(b'}');
        } else if let Some(value) = storage::decode(&self.kind, json) {
            self.shaped(value).write(piece);
        } else {
            piece.put_slice(b"null");
        }
        piece.put_slice(b"}\n");
    }

    /// An object as it is asked for; a table says once what its columns are.
    fn shaped(&mut self, object: Value) -> Value {
        let mut shaped = shape::object(&self.kind, object, self.output, &self.query);
        if self.output.shape == Shape::Table && std::mem::replace(&mut self.columns_sent, true) {
            shaped["columnDefinitions"] = Value::Null;
        }
        shaped
    }

    fn protobuf(&self, piece: &mut Vec<u8>, event: &str, json: &[u8], metadata: Option<Metadata>) {
        if self.shows_stored() {
            return self.message(piece, event, protobuf::message(self.kind.schema, json).map(Bytes::from));
        }
        let document = match metadata {
            Some(metadata) => protobuf::partial(metadata.whole(json))
                .map(|message| protobuf::document(self.output.meta, "PartialObjectMetadata", &message)),
            None => {
                let value = storage::decode(&self.kind, json).unwrap_or_default();
                protobuf::value(&shape::object(&self.kind, value, self.output, &self.query))
            }
        };
        self.document(piece, event, document);
    }

    fn message(&self, piece: &mut Vec<u8>, event: &str, message: Result<Bytes, protobuf::Error>) {
        let (api_version, kind) = (self.kind.api_version(), &self.kind.kind);
        self.document(piece, event, message.map(|message| protobuf::document(&api_version, kind, &message)));
    }

    fn document(&self, piece: &mut Vec<u8>, event: &str, document: Result<Vec<u8>, protobuf::Error>) {
        match document {
            Ok(document) => protobuf::event(piece, event, &document),
            Err(error) => {
                piece.extend(line("ERROR", &ApiError::internal(error).to_value(), self.output));
            }
        }
    }

    /// What tells a watcher that it has seen everything up to a revision.
    pub fn bookmark(&mut self, revision: u64, initial_end: bool) -> Vec<u8> {
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let mut object =
            json!({"kind": self.kind.kind, "apiVersion": self.kind.api_version(), "metadata": metadata});
        self.kind.write_zeros(&mut object);
        line("BOOKMARK", &self.shaped(object), self.output)
    }
}

/// An event whose object was made for it.
pub fn line(event: &str, object: &Value, output: Output) -> Vec<u8> {
    if output.encoding == Encoding::Protobuf {
        let mut line = Vec::new();
        if let Ok(document) = protobuf::value(object) {
            protobuf::event(&mut line, event, &document);
        }
        return line;
    }
    let mut line = json!({"type": event, "object": object}).to_vec();
    line.push(b'\n');
    line
}
