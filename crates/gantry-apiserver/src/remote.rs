//! Asking somebody else's server over HTTPS: identity providers and webhooks.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::server::certificate::Shown;
use crate::tls::{self, Trust};
use crate::{Error, Identity};

/// The longest answer that is read, in bytes.
const LONGEST: usize = 8 << 20;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RemoteError {
    /// The request could not be made.
    #[error("{0}: {1}")]
    Request(String, String),
    /// The connection failed.
    #[error("{0}: {1}")]
    Transport(String, String),
    /// No answer in time.
    #[error("{0}: no answer within {1:?}")]
    Late(String, Duration),
    /// The answer is too long, or broke off.
    #[error("{0}: reading the answer: {1}")]
    Answer(String, String),
    /// The answer is a refusal.
    #[error("{0}: the server answered {1}")]
    Refused(String, StatusCode),
}

impl RemoteError {
    /// Whether the same request may have better luck later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Transport(..) | Self::Answer(..) => true,
            Self::Refused(_, code) => code.is_server_error() || *code == StatusCode::TOO_MANY_REQUESTS,
            Self::Request(..) | Self::Late(..) => false,
        }
    }
}

/// A client with its own idea of whom to trust and how to show itself.
pub(crate) struct Remote {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Remote {
    /// A client that shows `identity`. `server_name` is the name in the server's certificate where it is
    /// not the URL's.
    pub fn new(trust: Trust, identity: Option<&Identity>, server_name: Option<&str>) -> Result<Self, Error> {
        let tls = tls::client(trust, identity.map(Shown::new).transpose()?)?;
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        let connector = match server_name {
            None => builder.enable_http1().build(),
            Some(name) => {
                let name = rustls_pki_types::ServerName::try_from(name.to_owned())
                    .map_err(|cause| Error::tls("expect a server name", cause))?;
                builder.with_server_name_resolver(FixedServerNameResolver::new(name)).enable_http1().build()
            }
        };
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector) })
    }

    /// Reads `url`, with a bearer token where one is given.
    pub async fn get(&self, url: &str, token: Option<&str>, time: Duration) -> Result<Bytes, RemoteError> {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            headers.insert(http::header::AUTHORIZATION, bearer(url, token)?);
        }
        self.send(Method::GET, url, headers, Bytes::new(), time).await
    }

    /// Sends JSON to `url`.
    pub async fn post(
        &self,
        url: &str,
        mut headers: HeaderMap,
        body: Bytes,
        time: Duration,
    ) -> Result<Bytes, RemoteError> {
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.send(Method::POST, url, headers, body, time).await
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
        time: Duration,
    ) -> Result<Bytes, RemoteError> {
        let wrong = |cause: String| RemoteError::Request(url.to_owned(), cause);
        let uri: Uri = url.parse().map_err(|cause: http::uri::InvalidUri| wrong(cause.to_string()))?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let accept = HeaderValue::from_static("application/json, */*");
        request.headers_mut().insert(http::header::ACCEPT, accept);
        let agent = HeaderValue::from_static("kube-apiserver");
        request.headers_mut().insert(http::header::USER_AGENT, agent);
        let answer = async {
            let response = self
                .client
                .request(request)
                .await
                .map_err(|error| RemoteError::Transport(url.to_owned(), whole(&error)))?;
            let (head, body) = response.into_parts();
            if !head.status.is_success() {
                return Err(RemoteError::Refused(url.to_owned(), head.status));
            }
            let body = Limited::new(body, LONGEST).collect().await;
            let bytes = body.map_err(|error| RemoteError::Answer(url.to_owned(), error.to_string()))?;
            Ok(bytes.to_bytes())
        };
        match tokio::time::timeout(time, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(RemoteError::Late(url.to_owned(), time)),
        }
    }
}

/// The header that carries a token.
pub(crate) fn bearer(url: &str, token: &str) -> Result<HeaderValue, RemoteError> {
    HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|cause| RemoteError::Request(url.to_owned(), cause.to_string()))
}

/// An error with its causes, which are what matters in it.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
