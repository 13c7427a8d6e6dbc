//! Watches over a WebSocket: each event is a message, of text where events are JSON.
//!
//! Such a request is a watch like any other; only its answer is not a body. Upstream takes such a client only
//! with an `Origin`, whichever it is, and with at most one protocol, whichever it is.

use bytes::{Buf, Bytes};
use http::header::{CONTENT_TYPE, ORIGIN, SEC_WEBSOCKET_VERSION};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::body::Body;
use crate::respond;
use crate::websocket::Socket;

/// The version of WebSockets that there is.
const VERSION: &str = "13";

/// Why a client gets no WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Key,
    Version,
    Origin,
    Protocols,
}

/// A client that waits for events on a WebSocket.
pub(crate) struct Client {
    socket: Result<Socket, Refusal>,
    /// Whether messages are text.
    text: bool,
}

impl Client {
    /// Takes the WebSocket off the request, which is an ordinary watch then.
    pub fn take(request: &mut Request<Body>) -> Self {
        let refusal = refusal(request.headers());
        let socket = match Socket::take(request) {
            None => Err(Refusal::Key),
            Some(socket) => match refusal {
                Some(refusal) => Err(refusal),
                None if socket.protocols().len() > 1 => Err(Refusal::Protocols),
                None => Ok(socket),
            },
        };
        Self { socket, text: false }
    }

    /// Makes the answer to the watch the one that makes the connection a WebSocket, or a refusal.
    pub fn answer(&mut self, answer: &mut Response<Body>) {
        let json = HeaderValue::from_static("application/json");
        self.text = answer.headers().get(CONTENT_TYPE) == Some(&json);
        let refusal = match &self.socket {
            Err(refusal) => *refusal,
            Ok(socket) => {
                let protocol = socket.protocols().first().map(String::as_str).unwrap_or_default();
                match socket.switch(answer, protocol) {
                    Ok(()) => return,
                    Err(_) => Refusal::Protocols,
                }
            }
        };
        let (code, why) = match refusal {
            Refusal::Key => (StatusCode::BAD_REQUEST, "mismatch challenge/response"),
            Refusal::Version => (StatusCode::BAD_REQUEST, "missing or bad WebSocket Version"),
            Refusal::Origin => (StatusCode::FORBIDDEN, ""),
            Refusal::Protocols => (StatusCode::BAD_REQUEST, ""),
        };
        *answer = respond::text(code, why);
        if refusal == Refusal::Version {
            answer.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
        }
    }

    /// Sends the watch's events to the client; what is left is the answer that switches.
    pub fn carry(self, answer: Response<Body>) -> Response<Body> {
        let Ok(socket) = self.socket else { return answer };
        let (head, events) = answer.into_parts();
        let text = self.text;
        socket.carry(events, move |piece| Messages { piece, text });
        Response::from_parts(head, Body::Empty)
    }
}

/// What is wrong with a request for a WebSocket that brings a key.
fn refusal(headers: &HeaderMap) -> Option<Refusal> {
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != VERSION) {
        return Some(Refusal::Version);
    }
    let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok()).unwrap_or_default();
    let scheme = origin.split_once(':').map(|(scheme, _)| scheme).unwrap_or_default();
    let named = scheme.starts_with(|first: char| first.is_ascii_alphabetic());
    (!origin.starts_with('/') && !named).then_some(Refusal::Origin)
}

/// The events of a piece of a watch's body, which has whole ones: lines, or messages behind their length.
struct Messages {
    piece: Bytes,
    text: bool,
}

impl Iterator for Messages {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        if self.text {
            let end = self.piece.iter().position(|byte| *byte == b'\n').map_or(self.piece.len(), |at| at + 1);
            let line = (end > 0).then(|| self.piece.split_to(end))?;
            return Some(Utf8Bytes::try_from(line.clone()).map_or(Message::Binary(line), Message::Text));
        }
        let length = self.piece.try_get_u32().ok()? as usize;
        Some(Message::Binary(self.piece.split_to(length.min(self.piece.len()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_as_many_messages_as_events() {
        let check = |piece: &'static [u8], text, expect: Vec<Message>| {
            let messages = Messages { piece: Bytes::from_static(piece), text };
            assert_eq!(messages.collect::<Vec<_>>(), expect);
        };
        check(b"", true, vec![]);
        check(b"{}\n[]\n", true, vec![Message::text("{}\n"), Message::text("[]\n")]);
        let binary = |bytes: &'static [u8]| Message::binary(bytes);
        check(b"\0\0\0\x01a\0\0\0\x02bc", false, vec![binary(b"a"), binary(b"bc")]);
        check(b"\0\0\0\x09a", false, vec![binary(b"a")]);
        check(b"\0\0", false, vec![]);
    }

    #[test]
    fn a_client_says_where_it_comes_from() {
        let check = |version: Option<&'static str>, origin: Option<&'static str>, expect| {
            let mut headers = HeaderMap::new();
            for (name, value) in [(SEC_WEBSOCKET_VERSION, version), (ORIGIN, origin)] {
                headers.extend(value.map(|value| (name, HeaderValue::from_static(value))));
            }
            assert_eq!(refusal(&headers), expect, "{version:?} {origin:?}");
        };
        check(Some("13"), Some("http://localhost"), None);
        check(Some("13"), Some("/x"), None);
        check(Some("8"), Some("http://localhost"), Some(Refusal::Version));
        check(None, Some("http://localhost"), Some(Refusal::Version));
        for none in [None, Some(""), Some("null"), Some("localhost"), Some("://x")] {
            check(Some("13"), none, Some(Refusal::Origin));
        }
    }
}
