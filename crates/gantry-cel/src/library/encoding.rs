//! Bytes in base64, as JSON carries them.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The bytes of a text.
pub(crate) fn decode(text: &str) -> Option<Arc<[u8]>> {
    STANDARD.decode(text).ok().map(Into::into)
}

/// The text of bytes.
pub(crate) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
