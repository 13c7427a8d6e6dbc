//! Logs over a WebSocket, for clients that can have nothing else: the bytes of a log as messages.

use base64::Engine as _;
use futures::SinkExt;
use gantry_api::status::ApiError;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::body::Body;

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
    upgrade: hyper::upgrade::OnUpgrade,
    accept: HeaderValue,
    protocol: &'static str,
    form: Form,
}

/// Whether the request asks for a WebSocket.
pub(super) fn is_asked(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

impl Client {
    /// Takes the WebSocket off the request, which is one for the log's plain bytes then.
    pub(super) fn take(request: &mut Request<Body>) -> Result<Self, ApiError> {
        let headers = request.headers();
        let key = headers
            .get(SEC_WEBSOCKET_KEY)
            .ok_or_else(|| ApiError::bad_request("missing Sec-WebSocket-Key"))?;
        let accept = derive_accept_key(key.as_bytes());
        let accept = HeaderValue::try_from(accept).map_err(|error| ApiError::internal(error.to_string()))?;
        let offered: Vec<&str> = headers
            .get_all(SEC_WEBSOCKET_PROTOCOL)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .collect();
        let chosen = match offered.is_empty() {
            true => Some(PROTOCOLS[0]),
            false => offered.iter().find_map(|name| PROTOCOLS.into_iter().find(|(known, _)| known == name)),
        };
        let (protocol, form) =
            chosen.ok_or_else(|| ApiError::bad_request("requested protocol(s) are not supported"))?;
        let upgrade = hyper::upgrade::on(&mut *request);
        let plain =
            |name: &str| !name.starts_with("sec-websocket-") && name != "upgrade" && name != "connection";
        let kept = request.headers().iter().filter(|(name, _)| plain(name.as_str()));
        *request.headers_mut() = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
        Ok(Self { upgrade, accept, protocol, form })
    }

    /// Sends the log to the client; the answer makes the connection a WebSocket.
    pub(super) fn serve(self, log: Response<Body>) -> Response<Body> {
        let mut answer = Response::new(Body::Empty);
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = answer.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, self.accept);
        if !self.protocol.is_empty() {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(self.protocol));
        }
        let (upgrade, form) = (self.upgrade, self.form);
        tokio::spawn(async move {
            let Ok(connection) = upgrade.await else { return };
            let socket = WebSocketStream::from_raw_socket(TokioIo::new(connection), Role::Server, None).await;
            if let Err(error) = send(socket, log.into_body(), form).await {
                tracing::debug!(%error, "log not sent to its end");
            }
        });
        answer
    }
}

async fn send<S>(
    mut socket: WebSocketStream<S>,
    mut log: Body,
    form: Form,
) -> Result<(), tokio_tungstenite::tungstenite::Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    while let Some(Ok(frame)) = log.frame().await {
        let Ok(bytes) = frame.into_data() else { continue };
        let message = match form {
            Form::Binary => Message::Binary(bytes),
            Form::Base64 => Message::Text(base64::engine::general_purpose::STANDARD.encode(&bytes).into()),
        };
        socket.send(message).await?;
    }
    socket.close(None).await
}
