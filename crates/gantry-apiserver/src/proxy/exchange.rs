//! One request through a `proxy` subresource: its path for the backend, the headers that tell whose it
//! is, and an answer whose links lead back through the proxy.

use std::io::Write;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{DeflateDecoder, DeflateEncoder, GzDecoder, GzEncoder};
use futures::stream;
use gantry_api::status::ApiError;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, LOCATION};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::html::{Links, Rewriter};
use super::{CONNECT_TIMEOUT, forget_origins, forward_as, forwarded_for, unavailable};
use crate::aggregation::headers;
use crate::audit::PeerAddress;
use crate::body::{Body, BoxError};
use crate::request::RequestInfo;
use crate::tls::{self, Trust};

/// How much of a compressed document is unpacked at once, so that little becomes no more than much.
const UNPACKED_AT_ONCE: usize = 1 << 10;

/// Who answers.
pub(super) struct Backend {
    /// An address or a name.
    pub host: String,
    /// The port, where it is said.
    pub port: Option<String>,
    /// How it is spoken to with TLS; `None`: without.
    pub tls: Option<TlsConnector>,
}

/// TLS with backends that nothing is known of: whom they show themselves as does not matter.
pub(super) fn anybody() -> Result<TlsConnector, ApiError> {
    static ANYBODY: LazyLock<Option<TlsConnector>> = LazyLock::new(|| {
        let config = tls::client(Trust::Anybody, None).ok()?;
        Some(TlsConnector::from(Arc::new(config)))
    });
    ANYBODY.clone().ok_or_else(|| ApiError::internal("TLS cannot be spoken"))
}

impl Backend {
    /// The backend of a target that names its scheme.
    pub fn new(scheme: &str, host: &str, port: Option<String>) -> Result<Self, ApiError> {
        let tls = if scheme == "https" { Some(anybody()?) } else { None };
        Ok(Self { host: host.to_owned(), port, tls })
    }

    fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match &self.port {
            Some(port) => format!("{host}:{port}"),
            None => host,
        }
    }

    fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

/// Sends a request for a `proxy` subresource to its backend.
pub(super) async fn serve(
    backend: Backend,
    info: &RequestInfo,
    mut request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let path = request.uri().path().to_owned();
    let (prefix, rest) = split(&path, info);
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let upgrading = super::is_upgrade(request.headers());
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if rest.is_empty() && reads && !upgrading {
        // Relative links need a slash to be relative to.
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
        let location = HeaderValue::from_str(&format!("{path}/{query}")).map_err(ApiError::internal)?;
        response.headers_mut().insert(LOCATION, location);
        return Ok(response);
    }
    let rest = clean(rest);
    let authority = backend.authority();
    let target = format!("{}://{authority}{rest}{query}", backend.scheme());
    let uri: Uri = target.parse().map_err(|error| unavailable(&error))?;
    const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
    let asked = match request.uri().authority() {
        Some(authority) => authority.to_string(),
        None => {
            request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned()
        }
    };
    let peer = request.extensions().get::<PeerAddress>().map(|peer| peer.0.ip());
    let to = request.headers_mut();
    headers::forget(to);
    if let Ok(all) = HeaderValue::from_str(&format!("{prefix}{rest}")) {
        to.insert(FORWARDED_URI, all);
    }
    if let Some(peer) = peer {
        forwarded_for(to, peer);
    }
    // Backends see the name that the client asked.
    let host = if asked.is_empty() { &authority } else { &asked };
    let host = HeaderValue::from_str(host).map_err(|error| unavailable(&error))?;
    let response = send(&backend, request, &uri, host).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(response);
    }
    if upgrading && response.status().as_u16() < 400 {
        let why = format!("invalid upgrade response: status code {}", response.status().as_u16());
        return Err(ApiError::new(500, "", why));
    }
    Ok(rewritten(response, Links { prefix: prefix.to_owned(), hosts: [authority, asked] }))
}

async fn send(
    backend: &Backend,
    request: Request<Body>,
    uri: &Uri,
    host: HeaderValue,
) -> Result<Response<Body>, ApiError> {
    let port = backend.port.as_deref().unwrap_or(if backend.tls.is_some() { "443" } else { "80" });
    let port: u16 =
        port.parse().map_err(|_| unavailable(&format!("dial tcp: lookup tcp/{port}: unknown port")))?;
    let connect = TcpStream::connect((backend.host.as_str(), port));
    let authority = backend.authority();
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, connect)
        .await
        .map_err(|_| unavailable(&format!("dial tcp {authority}: i/o timeout")))?
        .map_err(|error| unavailable(&format!("dial tcp {authority}: {error}")))?;
    stream.set_nodelay(true).map_err(|error| unavailable(&error))?;
    match &backend.tls {
        None => forward_as(stream, request, uri, Some(host)).await,
        Some(connector) => {
            let name = ServerName::try_from(backend.host.clone()).map_err(|error| unavailable(&error))?;
            let stream = tokio::time::timeout(CONNECT_TIMEOUT, connector.connect(name, stream))
                .await
                .map_err(|_| unavailable(&"net/http: TLS handshake timeout"))?
                .map_err(|error| unavailable(&error))?;
            forward_as(stream, request, uri, Some(host)).await
        }
    }
}

/// A path up to the subresource, and what is behind it, both as they are in the URL.
fn split<'a>(path: &'a str, info: &RequestInfo) -> (&'a str, &'a str) {
    let mut left = match (info.namespace.is_empty(), info.group.is_empty()) {
        (true, _) => 5,
        (false, _) => 7,
    };
    let mut at = 0;
    for (start, part) in segments(path) {
        left -= 1;
        if left == 0 {
            at = start + part.len();
            break;
        }
    }
    if at == 0 { (path, "") } else { path.split_at(at) }
}

fn segments(path: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut start = 0;
    path.split('/').filter_map(move |part| {
        let at = start;
        start += part.len() + 1;
        (!part.is_empty()).then_some((at, part))
    })
}

/// A path without empty segments and dots: it does not leave the backend's root.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for (_, part) in segments(path) {
        match part.to_ascii_lowercase().replace("%2e", ".").as_str() {
            "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    let slash = if path.ends_with('/') && !parts.is_empty() { "/" } else { "" };
    format!("/{}{slash}", parts.join("/"))
}

/// An answer whose links lead back through the proxy.
fn rewritten(mut response: Response<Body>, links: Links) -> Response<Body> {
    forget_origins(response.headers_mut());
    if let Some(location) = response.headers().get(LOCATION).filter(|location| !location.is_empty()) {
        let next = location.to_str().ok().and_then(|location| links.rewrite(location));
        if let Some(next) = next.and_then(|next| HeaderValue::from_str(&next).ok()) {
            response.headers_mut().insert(LOCATION, next);
        }
        return response;
    }
    let text = |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let content_type = text(CONTENT_TYPE).unwrap_or_default();
    if content_type.split(';').next().unwrap_or_default().trim() != "text/html" {
        return response;
    }
    let Some(coding) = Coding::of(text(CONTENT_ENCODING).unwrap_or_default()) else { return response };
    response.headers_mut().remove(CONTENT_LENGTH);
    response.map(|body| rewriting(body, coding, Rewriter::new(links)))
}

fn rewriting(body: Body, coding: Coding, rewriter: Rewriter) -> Body {
    let state = Some((body, Bytes::new(), coding, rewriter));
    let frames = stream::try_unfold(state, |state| async move {
        let Some((mut body, mut waiting, mut coding, mut rewriter)) = state else { return Ok(None) };
        loop {
            if waiting.is_empty() {
                match body.frame().await {
                    Some(frame) => {
                        // Trailers are not for a body that is another one.
                        waiting = frame?.into_data().unwrap_or_default();
                        continue;
                    }
                    None => {
                        let rest = coding.finish(&mut rewriter)?;
                        return Ok::<_, BoxError>(Some((Frame::data(Bytes::from(rest)), None)));
                    }
                }
            }
            let piece = waiting.split_to(waiting.len().min(UNPACKED_AT_ONCE));
            let out = coding.push(&piece, &mut rewriter)?;
            if !out.is_empty() {
                let next = Some((body, waiting, coding, rewriter));
                return Ok(Some((Frame::data(Bytes::from(out)), next)));
            }
        }
    });
    Body::boxed(StreamBody::new(Box::pin(frames)))
}

/// What unpacks and what packs again.
type Both<From, To> = (From, To);
type Packed = Vec<u8>;

/// How a document is packed; it is unpacked, rewritten and packed again.
enum Coding {
    Plain,
    Gzip(Box<Both<GzDecoder<Packed>, GzEncoder<Packed>>>),
    Deflate(Box<Both<DeflateDecoder<Packed>, DeflateEncoder<Packed>>>),
}

impl Coding {
    /// `None`: the document cannot be read.
    fn of(name: &str) -> Option<Self> {
        let level = Compression::default();
        match name.trim() {
            "" | "identity" => Some(Self::Plain),
            "gzip" => {
                Some(Self::Gzip(Box::new((GzDecoder::new(Vec::new()), GzEncoder::new(Vec::new(), level)))))
            }
            "deflate" => {
                let decoder = DeflateDecoder::new(Vec::new());
                Some(Self::Deflate(Box::new((decoder, DeflateEncoder::new(Vec::new(), level)))))
            }
            _ => None,
        }
    }

    fn push(&mut self, piece: &[u8], rewriter: &mut Rewriter) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Plain => Ok(rewriter.push(piece)),
            Self::Gzip(both) => {
                let (from, to) = both.as_mut();
                from.write_all(piece)?;
                to.write_all(&rewriter.push(&std::mem::take(from.get_mut())))?;
                Ok(std::mem::take(to.get_mut()))
            }
            Self::Deflate(both) => {
                let (from, to) = both.as_mut();
                from.write_all(piece)?;
                to.write_all(&rewriter.push(&std::mem::take(from.get_mut())))?;
                Ok(std::mem::take(to.get_mut()))
            }
        }
    }

    fn finish(self, rewriter: &mut Rewriter) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Plain => Ok(rewriter.finish()),
            Self::Gzip(both) => {
                let (from, mut to) = *both;
                to.write_all(&rewriter.push(&from.finish()?))?;
                to.write_all(&rewriter.finish())?;
                to.finish()
            }
            Self::Deflate(both) => {
                let (from, mut to) = *both;
                to.write_all(&rewriter.push(&from.finish()?))?;
                to.write_all(&rewriter.finish())?;
                to.finish()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Query;

    #[test]
    fn what_is_behind_the_subresource() {
        let check = |path: &str, expect: (&str, &str)| {
            let info = RequestInfo::parse(&Method::GET, path, &Query::default());
            assert_eq!(split(path, &info), expect);
        };
        check("/api/v1/nodes/n/proxy/logs/a%2Fb", ("/api/v1/nodes/n/proxy", "/logs/a%2Fb"));
        check("/api/v1/nodes/n/proxy", ("/api/v1/nodes/n/proxy", ""));
        check(
            "/api/v1/namespaces/proxy/services/https:s:p/proxy/",
            ("/api/v1/namespaces/proxy/services/https:s:p/proxy", "/"),
        );
    }

    #[test]
    fn paths_stay_below_the_root() {
        let check = |path: &str, expect: &str| assert_eq!(clean(path), expect, "{path}");
        check("", "/");
        check("/", "/");
        check("/a//b/", "/a/b/");
        check("/a/../../b%20c", "/b%20c");
        check("/%2e%2E/x/.", "/x");
        check("/../", "/");
    }

    #[tokio::test]
    async fn packed_documents_are_rewritten() {
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(b"<a href=\"/x\">y</a>").unwrap();
        let links = Links { prefix: "/p".into(), hosts: ["b".into(), "c".into()] };
        let mut response = Response::new(Body::from(packed.finish().unwrap()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        let response = rewritten(response, links);
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let mut unpacked = GzDecoder::new(Vec::new());
        unpacked.write_all(&bytes).unwrap();
        assert_eq!(unpacked.finish().unwrap(), b"<a href=\"/p/x\">y</a>");
    }
}
