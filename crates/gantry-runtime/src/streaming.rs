//! The streaming server: exec, attach and port-forward sessions over WebSocket, on loopback, each behind
//! a URL with a token that works once.

mod port_forward;
mod remote_command;
mod spdy;

use std::{
    collections::HashMap,
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use futures::{SinkExt, stream::SplitSink};
use gantry_cri::v1::{AttachRequest, ExecRequest};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    },
};

pub use remote_command::exec_sync;

use crate::runtime::Inner;

/// How long a token is good for.
const TOKEN_LIFE: Duration = Duration::from_secs(60);

/// A WebSocket with the other end of a session.
pub type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

type Body = Full<bytes::Bytes>;

/// What a token stands for.
#[derive(Debug)]
pub enum Session {
    /// Run a command in a container.
    Exec {
        /// Container.
        id: String,
        /// Its sandbox.
        sandbox: String,
        /// As asked for.
        request: ExecRequest,
    },
    /// Join a container's streams.
    Attach {
        /// Container.
        id: String,
        /// Its sandbox.
        sandbox: String,
        /// As asked for.
        request: AttachRequest,
    },
    /// Connect to ports of a pod.
    PortForward {
        /// The pod's network namespace; none for the host's.
        netns: Option<PathBuf>,
    },
}

/// The server.
#[derive(Debug)]
pub struct StreamingServer {
    address: SocketAddr,
    listener: Mutex<Option<TcpListener>>,
    sessions: Mutex<HashMap<String, (Instant, Session)>>,
}

impl StreamingServer {
    /// Listens on a free port of the loopback address.
    pub async fn bind() -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        Ok(Self {
            address: listener.local_addr()?,
            listener: Mutex::new(Some(listener)),
            sessions: Mutex::default(),
        })
    }

    /// Keeps a session for whoever comes with the token in the URL that is returned.
    pub fn prepare(&self, verb: &str, session: Session) -> String {
        let token = uuid::Uuid::new_v4().simple().to_string();
        let mut sessions = self.sessions.lock();
        sessions.retain(|_, (made, _)| made.elapsed() < TOKEN_LIFE);
        sessions.insert(token.clone(), (Instant::now(), session));
        format!("http://{}/{verb}/{token}", self.address)
    }

    fn redeem(&self, path: &str) -> Option<Session> {
        let token = path.rsplit('/').next()?;
        let (made, session) = self.sessions.lock().remove(token)?;
        (made.elapsed() < TOKEN_LIFE).then_some(session)
    }

    /// Serves until the runtime is gone.
    pub fn serve(&self, inner: Weak<Inner>) {
        let Some(listener) = self.listener.lock().take() else { return };
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                if inner.strong_count() == 0 {
                    return;
                }
                let inner = inner.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| handle(inner.clone(), request));
                    let connection = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .with_upgrades();
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "streaming connection");
                    }
                });
            }
        });
    }
}

fn answer(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}

/// The first of `supported` that the client offers.
fn choose(headers: &HeaderMap, supported: &[&'static str]) -> Option<&'static str> {
    let offered: Vec<&str> = headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(',').map(str::trim))
        .collect();
    supported.iter().find(|s| offered.contains(s)).copied()
}

async fn handle(inner: Weak<Inner>, mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let Some(inner) = inner.upgrade() else {
        return Ok(answer(StatusCode::SERVICE_UNAVAILABLE, "shutting down"));
    };
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).cloned();
    let Some(key) = key else {
        return Ok(answer(StatusCode::BAD_REQUEST, "unable to upgrade: not a WebSocket request"));
    };
    let Some(session) = inner.streaming.redeem(request.uri().path()) else {
        return Ok(answer(StatusCode::NOT_FOUND, "no such session"));
    };
    let supported: &[&'static str] = match session {
        Session::PortForward { .. } => &[port_forward::PROTOCOL],
        _ => &remote_command::PROTOCOLS,
    };
    let Some(protocol) = choose(request.headers(), supported) else {
        return Ok(answer(StatusCode::BAD_REQUEST, "unable to upgrade: no supported protocol"));
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let shim = |sandbox: &str| inner.shim(sandbox);
    let work: std::pin::Pin<Box<dyn Future<Output = ()> + Send>> = match session {
        Session::Exec { id, sandbox, request } => {
            let shim = shim(&sandbox);
            Box::pin(with_socket(upgrade, move |socket| remote_command::exec(socket, shim, id, request)))
        }
        Session::Attach { id, sandbox, request } => {
            let (shim, container) = (shim(&sandbox), inner.container(&id).ok());
            Box::pin(with_socket(upgrade, move |socket| {
                remote_command::attach(socket, shim, container, id, request)
            }))
        }
        Session::PortForward { netns } => {
            Box::pin(with_socket(upgrade, move |socket| port_forward::serve(socket, netns)))
        }
    };
    tokio::spawn(work);
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes()))
        .header(header::SEC_WEBSOCKET_PROTOCOL, protocol)
        .body(Body::default());
    Ok(response.unwrap_or_else(|_| answer(StatusCode::INTERNAL_SERVER_ERROR, "upgrade")))
}

async fn with_socket<F>(upgrade: hyper::upgrade::OnUpgrade, work: impl FnOnce(Socket) -> F)
where
    F: Future<Output = ()>,
{
    match upgrade.await {
        Ok(upgraded) => {
            let stream = TokioIo::new(upgraded);
            work(WebSocketStream::from_raw_socket(stream, Role::Server, None).await).await;
        }
        Err(error) => tracing::debug!(%error, "upgrade of a streaming connection"),
    }
}

/// What a session shares with its runtime; kept for sessions that outlive a call.
pub type Shared = Arc<crate::container::Container>;

/// Ends a socket as clients expect it at the end of a stream: they take any other code for a fault.
async fn close(mut sink: SplitSink<Socket, Message>) {
    let frame = CloseFrame { code: CloseCode::Normal, reason: Default::default() };
    // A client that is gone already needs no farewell.
    let _ = sink.send(Message::Close(Some(frame))).await;
    let _ = sink.close().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tokens_work_once() {
        let server = StreamingServer::bind().await.unwrap();
        let url = server.prepare("portforward", Session::PortForward { netns: None });
        assert!(url.starts_with("http://127.0.0.1:"));
        assert!(server.redeem(&url).is_some());
        assert!(server.redeem(&url).is_none());
        assert!(server.redeem("/exec/unknown").is_none());
    }
}
