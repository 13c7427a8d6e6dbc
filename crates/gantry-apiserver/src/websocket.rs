//! What a client gets over a WebSocket instead of an answer's body, because it can have nothing else.

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use gantry_api::status::ApiError;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::body::Body;

/// The most that a client may say at once, who has nothing to say.
const LARGEST: usize = 64 << 10;
/// Which token a browser sends among the protocols, having no other place for it.
const TOKEN: &str = "base64url.bearer.authorization.k8s.io.";

/// A connection that becomes a WebSocket with the answer.
pub(crate) struct Socket {
    upgrade: hyper::upgrade::OnUpgrade,
    accept: HeaderValue,
    protocols: Vec<String>,
}

/// Whether a request asks for a WebSocket.
pub(crate) fn is_asked(headers: &HeaderMap) -> bool {
    let named = |name| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).map(|word| word.trim().to_ascii_lowercase())
    };
    named(UPGRADE).any(|word| word == "websocket") && named(CONNECTION).any(|word| word == "upgrade")
}

impl Socket {
    /// Takes the WebSocket off the request, which is an ordinary one then; `None`: it brings no key.
    pub fn take(request: &mut Request<Body>) -> Option<Self> {
        let headers = request.headers();
        let key = headers.get(SEC_WEBSOCKET_KEY).filter(|key| !key.is_empty())?;
        let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok()?;
        let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
        let offered = offered.flat_map(|value| value.split(',')).map(str::trim);
        let protocols = offered.filter(|name| !name.is_empty() && !name.starts_with(TOKEN));
        let protocols = protocols.map(str::to_owned).collect();
        let upgrade = hyper::upgrade::on(&mut *request);
        let plain =
            |name: &str| !name.starts_with("sec-websocket-") && name != "upgrade" && name != "connection";
        let kept = request.headers().iter().filter(|(name, _)| plain(name.as_str()));
        *request.headers_mut() = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
        Some(Self { upgrade, accept, protocols })
    }

    /// The protocols that the client offers.
    pub fn protocols(&self) -> &[String] {
        &self.protocols
    }

    /// Makes an answer the one that makes the connection a WebSocket; its body is for [`Socket::carry`].
    pub fn switch(&self, answer: &mut Response<Body>, protocol: &str) -> Result<(), ApiError> {
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = answer.headers_mut();
        headers.clear();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, self.accept.clone());
        if !protocol.is_empty() {
            let protocol = HeaderValue::try_from(protocol);
            headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol.map_err(ApiError::internal)?);
        }
        Ok(())
    }

    /// Sends a body to the client, in `messages` of its pieces, once the answer that switches is sent. It ends
    /// with the body, or when the client goes.
    pub fn carry<M>(self, body: Body, messages: impl Fn(Bytes) -> M + Send + Sync + 'static)
    where
        M: IntoIterator<Item = Message, IntoIter: Send> + Send,
    {
        tokio::spawn(async move {
            let Ok(connection) = self.upgrade.await else { return };
            let config =
                WebSocketConfig::default().max_message_size(Some(LARGEST)).max_frame_size(Some(LARGEST));
            let connection = TokioIo::new(connection);
            let socket = WebSocketStream::from_raw_socket(connection, Role::Server, Some(config)).await;
            if let Err(error) = send(socket, body, messages).await {
                tracing::debug!(%error, "a WebSocket ended before what it was to carry");
            }
        });
    }
}

async fn send<S, M>(
    mut socket: WebSocketStream<S>,
    mut body: Body,
    messages: impl Fn(Bytes) -> M,
) -> Result<(), Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    M: IntoIterator<Item = Message>,
{
    loop {
        let frame = tokio::select! {
            biased;
            said = socket.next() => match said {
                // What a client says is not listened to, but for its leave.
                Some(Ok(message)) if !message.is_close() => continue,
                Some(Err(error)) => return Err(error),
                _ => return Ok(()),
            },
            frame = body.frame() => frame,
        };
        let Some(Ok(frame)) = frame else { break };
        let Ok(bytes) = frame.into_data() else { continue };
        for message in messages(bytes) {
            socket.feed(message).await?;
        }
        socket.flush().await?;
    }
    socket.close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() })).await
}
