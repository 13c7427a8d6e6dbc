//! Proxies: requests that a kubelet, a pod or a Service answers in the server's stead. A
//! connection that both ends upgrade is copied byte for byte.

mod exchange;
mod html;
mod log_socket;
mod node;
mod relay;
mod target;

pub(crate) use node::{connector, node_proxy, pod_stream};
pub(crate) use target::{pod_proxy, service_proxy};

use std::net::IpAddr;
use std::time::Duration;

use gantry_api::status::ApiError;
use http::header::{CONNECTION, HOST, HeaderName, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::body::Body;

/// How long a backend may take to accept a connection.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Headers that belong to one connection, not to the request.
const HOP_BY_HOP: [HeaderName; 6] = [
    http::header::PROXY_AUTHENTICATE,
    http::header::PROXY_AUTHORIZATION,
    http::header::TE,
    http::header::TRAILER,
    http::header::TRANSFER_ENCODING,
    HeaderName::from_static("keep-alive"),
];

pub(crate) fn clean(headers: &mut HeaderMap, upgrading: bool) {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    if !upgrading {
        headers.remove(CONNECTION);
        headers.remove(UPGRADE);
    }
}

/// Whether a connection is to become another protocol's.
pub(crate) fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE)
}

/// Adds the client to those that a request came from.
pub(crate) fn forwarded_for(headers: &mut HeaderMap, client: IpAddr) {
    const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    let client = client.to_canonical().to_string();
    let before = headers.get_all(&FORWARDED_FOR).iter().filter_map(|each| each.to_str().ok());
    let all: Vec<&str> = before.chain([client.as_str()]).collect();
    if let Ok(all) = HeaderValue::from_str(&all.join(", ")) {
        headers.insert(FORWARDED_FOR, all);
    }
}

/// Removes what a backend says of other origins, which is not its to say here.
pub(crate) fn forget_origins(headers: &mut HeaderMap) {
    for name in [
        http::header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
        http::header::ACCESS_CONTROL_ALLOW_HEADERS,
        http::header::ACCESS_CONTROL_ALLOW_METHODS,
        http::header::ACCESS_CONTROL_ALLOW_ORIGIN,
    ] {
        headers.remove(name);
    }
}

/// Sends `request` over `stream` to `uri` and copies the answer, or both ways once upgraded.
pub(crate) async fn forward<S>(
    stream: S,
    request: Request<Body>,
    uri: &Uri,
) -> Result<Response<Body>, ApiError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    forward_as(stream, request, uri, None).await
}

/// As [`forward`], with the name that the backend is told to be, where it is not that in `uri`.
async fn forward_as<S>(
    stream: S,
    mut request: Request<Body>,
    uri: &Uri,
    host: Option<HeaderValue>,
) -> Result<Response<Body>, ApiError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let upgrading = is_upgrade(request.headers());
    let client_upgrade = upgrading.then(|| hyper::upgrade::on(&mut request));
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .preserve_header_case(true)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| unavailable(&error))?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "proxied connection ended");
        }
    });
    let (parts, body) = request.into_parts();
    let mut onward = Request::new(body);
    *onward.method_mut() = parts.method;
    *onward.uri_mut() =
        uri.path_and_query().map_or_else(|| Uri::from_static("/"), |path| path.clone().into());
    *onward.headers_mut() = parts.headers;
    clean(onward.headers_mut(), upgrading);
    // The client's credentials are for this server only.
    onward.headers_mut().remove(http::header::AUTHORIZATION);
    let own = || uri.authority().and_then(|authority| authority.as_str().parse().ok());
    if let Some(host) = host.or_else(own) {
        onward.headers_mut().insert(HOST, host);
    }
    let mut answer = sender.send_request(onward).await.map_err(|error| unavailable(&error))?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Some(client) = client_upgrade
    {
        let websocket = answer
            .headers()
            .get(UPGRADE)
            .is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket"));
        let backend = hyper::upgrade::on(&mut answer);
        tokio::spawn(async move {
            let (Ok(client), Ok(backend)) = tokio::join!(client, backend) else { return };
            if let Err(error) = relay::relay(TokioIo::new(client), TokioIo::new(backend), websocket).await {
                tracing::debug!(%error, "upgraded connection ended");
            }
        });
        return Ok(answer.map(|_| Body::Empty));
    }
    clean(answer.headers_mut(), false);
    Ok(answer.map(Body::Incoming))
}

/// The backend could not be reached or broke off.
pub(crate) fn unavailable(error: &dyn std::fmt::Display) -> ApiError {
    ApiError::service_unavailable(format!("error trying to reach service: {error}"))
}
