//! Logs over a WebSocket: the bytes of a log as messages.

use base64::Engine as _;
use gantry_api::status::ApiError;
use http::{Request, Response};
use tokio_tungstenite::tungstenite::Message;

use crate::body::Body;
use crate::websocket::Socket;

/// The message's form by protocol; nobody has to name one.
const PROTOCOLS: [(&str, Form); 3] =
    [("", Form::Binary), ("binary.k8s.io", Form::Binary), ("base64.binary.k8s.io", Form::Base64)];

#[derive(Clone, Copy)]
enum Form {
    Binary,
    Base64,
}

/// A client that waits for a log on a WebSocket.
pub(super) struct Client {
    socket: Socket,
    protocol: &'static str,
    form: Form,
}

impl Client {
    /// Takes the WebSocket off the request, which is one for the log's plain bytes then.
    pub(super) fn take(request: &mut Request<Body>) -> Result<Self, ApiError> {
        let socket =
            Socket::take(request).ok_or_else(|| ApiError::bad_request("missing Sec-WebSocket-Key"))?;
        let chosen = match socket.protocols() {
            [] => Some(PROTOCOLS[0]),
            offered => offered.iter().find_map(|name| PROTOCOLS.into_iter().find(|(known, _)| known == name)),
        };
        let (protocol, form) =
            chosen.ok_or_else(|| ApiError::bad_request("requested protocol(s) are not supported"))?;
        Ok(Self { socket, protocol, form })
    }

    /// Sends the log to the client; the answer makes the connection a WebSocket.
    pub(super) fn serve(self, log: Response<Body>) -> Result<Response<Body>, ApiError> {
        let mut answer = Response::new(Body::Empty);
        self.socket.switch(&mut answer, self.protocol)?;
        let form = self.form;
        self.socket.carry(log.into_body(), move |bytes| {
            Some(match form {
                Form::Binary => Message::Binary(bytes),
                Form::Base64 => {
                    Message::Text(base64::engine::general_purpose::STANDARD.encode(&bytes).into())
                }
            })
        });
        Ok(answer)
    }
}
