//! Sends requests to the server of an aggregated API, and brings back what it answers as it comes.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, HeaderName, LOCATION, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::headers;
use super::service::{ApiService, Remote};
use crate::audit::PeerAddress;
use crate::body::Body;
use crate::server::certificate::Shown;
use crate::service_endpoints::{self, ServiceEndpoint};
use crate::tls::{self, Trust};
use crate::{ApiServer, User, proxy, respond, trace};

const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// How long a connection without requests is kept.
const IDLE: Duration = Duration::from_secs(90);

/// Connections to one server.
pub(super) struct Transport {
    pooled: Client<HttpsConnector<HttpConnector>, Body>,
    single: TlsConnector,
    server_name: ServerName<'static>,
}

impl Transport {
    /// Sends a request over one of the connections.
    pub async fn request(
        &self,
        request: Request<Body>,
    ) -> Result<Response<hyper::body::Incoming>, hyper_util::client::legacy::Error> {
        self.pooled.request(request).await
    }

    /// Connections on which `identity` is shown. The error says what is wrong with the APIService.
    pub fn new(remote: &Remote, identity: Option<Arc<Shown>>) -> Result<Self, String> {
        let trust = || match remote.insecure {
            true => Ok(Trust::Anybody),
            false => Trust::bundle(&remote.ca),
        };
        let config = || trust().and_then(|trust| tls::client(trust, identity.clone()));
        let server_name = ServerName::try_from(remote.server_name()).map_err(|error| error.to_string())?;
        let mut single = config().map_err(|error| error.to_string())?;
        single.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            pooled: pool(config().map_err(|error| error.to_string())?, Some(server_name.clone())),
            single: TlsConnector::from(Arc::new(single)),
            server_name,
        })
    }
}

/// A pool of connections; `server_name` is who must be at the other end, where not the host of the URL.
pub(super) fn pool(
    config: rustls::ClientConfig,
    server_name: Option<ServerName<'static>>,
) -> Client<HttpsConnector<HttpConnector>, Body> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(proxy::CONNECT_TIMEOUT));
    let builder = HttpsConnectorBuilder::new().with_tls_config(config).https_only();
    let builder = match server_name {
        Some(name) => builder.with_server_name_resolver(FixedServerNameResolver::new(name)),
        None => builder,
    };
    let connector = builder.enable_all_versions().wrap_connector(connector);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .timer(TokioTimer::new())
        .build(connector)
}

/// A refusal in plain text, as clients of aggregated APIs know it.
fn refusal(code: StatusCode, why: &str) -> Response<Body> {
    respond::text(code, format!("{why}\n"))
}

/// Answers a request of `user` for what somebody else answers for.
pub(crate) async fn serve(
    server: &ApiServer,
    service: &ApiService,
    user: &User,
    request: Request<Body>,
) -> Response<Body> {
    let Some(remote) = &service.remote else { return refusal(StatusCode::NOT_FOUND, "") };
    if !service.available {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "service unavailable");
    }
    let transport = match server.aggregation.transport(&service.name, remote) {
        Ok(transport) => transport,
        Err(why) => return refusal(StatusCode::INTERNAL_SERVER_ERROR, &why),
    };
    let endpoint = {
        let objects = server.store.snapshot();
        service_endpoints::resolve(&objects, &remote.namespace, &remote.name, remote.port)
    };
    let endpoint = match endpoint.map(|mut found| found.swap_remove(0)) {
        Ok(endpoint) => endpoint,
        Err(error) => {
            tracing::debug!(%error, apiservice = service.name, "nobody answers for an APIService");
            return refusal(StatusCode::SERVICE_UNAVAILABLE, "service unavailable");
        }
    };
    match send(&transport, &endpoint, user, request).await {
        Ok(response) => checked(response),
        Err(why) => {
            refusal(StatusCode::SERVICE_UNAVAILABLE, &format!("error trying to reach service: {why}"))
        }
    }
}

async fn send(
    transport: &Transport,
    endpoint: &ServiceEndpoint,
    user: &User,
    mut request: Request<Body>,
) -> Result<Response<Body>, String> {
    headers::identify(request.headers_mut(), user).map_err(|error| error.to_string())?;
    let path = HeaderValue::from_str(request.uri().path()).map_err(|error| error.to_string())?;
    request.headers_mut().insert(FORWARDED_URI, path);
    if let Some(PeerAddress(peer)) = request.extensions().get() {
        let peer = peer.ip();
        proxy::forwarded_for(request.headers_mut(), peer);
    }
    let authority = endpoint.authority();
    let target = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let uri: Uri = format!("https://{authority}{target}").parse().map_err(|error| format!("{error}"))?;
    if request.headers().contains_key(UPGRADE) {
        let connect = async {
            let stream = TcpStream::connect(&authority).await?;
            stream.set_nodelay(true)?;
            transport.single.connect(transport.server_name.clone(), stream).await
        };
        let stream = tokio::time::timeout(proxy::CONNECT_TIMEOUT, connect)
            .await
            .map_err(|_| format!("dial tcp {authority}: i/o timeout"))?
            .map_err(|error| format!("dial tcp {authority}: {error}"))?;
        return proxy::forward(stream, request, &uri).await.map_err(|error| error.message);
    }
    let (mut parts, body) = request.into_parts();
    proxy::clean(&mut parts.headers, false);
    parts.headers.remove(HOST);
    parts.uri = uri;
    // The pool chooses the protocol.
    parts.version = http::Version::HTTP_11;
    parts.extensions.clear();
    let mut request = Request::from_parts(parts, body);
    let traced = trace::Call::begin(&mut request, None);
    let answer = transport.request(request).await.map_err(|error| {
        let why = chain(&error);
        traced.failed(&why);
        why
    })?;
    traced.answered(answer.status());
    let mut answer = answer.map(Body::Incoming);
    proxy::clean(answer.headers_mut(), false);
    Ok(answer)
}

/// An error with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// An answer, unless it would lead the client, and its credentials, elsewhere.
fn checked(mut answer: Response<Body>) -> Response<Body> {
    proxy::forget_origins(answer.headers_mut());
    if answer.status().is_redirection() && answer.headers().contains_key(LOCATION) {
        let why = "the backend attempted to redirect this request, which is not permitted";
        return respond::text(StatusCode::BAD_GATEWAY, why);
    }
    answer
}
