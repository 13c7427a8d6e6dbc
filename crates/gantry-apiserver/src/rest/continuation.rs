//! Continue tokens: the revision and key at which a list stopped, opaque to clients.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gantry_api::status::ApiError;
use serde::{Deserialize, Serialize};

/// Where to go on, and as of when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Continuation {
    v: String,
    /// The revision of the first page; -1: go on at the newest one.
    pub rv: i64,
    /// The last key that was returned, behind the resource's prefix.
    pub start: String,
}

impl Continuation {
    /// A token to go on after `start` as of `revision`.
    pub fn new(revision: i64, start: &str) -> Self {
        Self { v: "meta.k8s.io/v1".to_owned(), rv: revision, start: start.to_owned() }
    }

    /// The token's text.
    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(gantry_json::to_vec(self).unwrap_or_default())
    }

    /// Reads a token.
    pub fn decode(text: &str) -> Result<Self, ApiError> {
        let invalid = |why: &dyn std::fmt::Display| {
            ApiError::bad_request(format!("invalid continue token: continue key is not valid: {why}"))
        };
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|error| invalid(&error))?;
        let token: Self = gantry_json::from_slice(&bytes).map_err(|error| invalid(&error))?;
        if token.v != "meta.k8s.io/v1" {
            return Err(invalid(&format!("server does not recognize this encoded version {}", token.v)));
        }
        if token.rv == 0 {
            return Err(invalid(&"incorrect encoded start resourceVersion (version meta.k8s.io/v1)"));
        }
        if token.start.is_empty() {
            return Err(invalid(&"encoded start key empty (version meta.k8s.io/v1)"));
        }
        if token.start.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(invalid(&token.start));
        }
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_its_text_and_rubbish_is_refused() {
        let token = Continuation::new(42, "ns/name");
        assert_eq!(Continuation::decode(&token.encode()).unwrap(), token);
        for text in
            ["%%%", "YWJj", &Continuation::new(1, "../x").encode(), &Continuation::new(0, "x").encode()]
        {
            assert_eq!(Continuation::decode(text).unwrap_err().code, 400, "{text}");
        }
    }
}
