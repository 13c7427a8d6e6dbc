//! The definition that custom kinds are read from.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use gantry_json::Value;
use serde::Deserialize;

/// A definition as it is stored. Its bytes are those that the store has anyway, so a kind that keeps
/// them for its schema keeps nothing more.
pub struct Source(Mutex<Bytes>);

#[derive(Deserialize)]
struct Definition {
    spec: Spec,
}

#[derive(Deserialize)]
struct Spec {
    #[serde(default)]
    versions: Vec<Value>,
}

impl Source {
    /// Of the JSON of a definition.
    pub fn new(bytes: Bytes) -> Self {
        Self(Mutex::new(bytes))
    }

    /// Takes bytes that say the same of the kinds, so that those before can go.
    pub fn replace(&self, bytes: Bytes) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = bytes;
    }

    /// The definition's bytes.
    pub fn bytes(&self) -> Bytes {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it says of a version; null where it says nothing.
    pub(super) fn version(&self, name: &str) -> Value {
        let read: Option<Definition> = gantry_json::from_slice(&self.bytes()).ok();
        let versions = read.map(|read| read.spec.versions).unwrap_or_default();
        versions.into_iter().find(|version| version["name"] == name).unwrap_or_default()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Source({} bytes)", self.bytes().len())
    }
}
