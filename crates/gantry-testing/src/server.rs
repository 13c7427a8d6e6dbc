//! A whole API server on a loopback port, with TLS and a store in memory.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use gantry_apiserver::authn::{Anonymous, RequestHeader};
use gantry_apiserver::{ApiServer, Config, Identity, Limits, User, Version, storage};
use gantry_json::Value;
use gantry_store::Store;
use gantry_store::engine::MemoryEngine;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{Authority, Pair};

/// A running server. It stops when this is dropped.
pub struct TestServer {
    /// The server itself.
    pub server: Arc<ApiServer>,
    /// The store behind it.
    pub store: Store,
    /// `https://127.0.0.1:PORT`.
    pub url: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// The authority of all certificates.
    pub authority: Authority,
    /// The authority of front proxies, to which the server belongs towards the servers of aggregated APIs.
    pub front_proxy: Authority,
    /// The client certificate of an administrator.
    pub admin: Pair,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Reply {
    /// The status code.
    pub code: StatusCode,
    /// The headers.
    pub headers: http::HeaderMap,
    /// The body.
    pub bytes: Bytes,
}

impl Reply {
    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        gantry_json::from_slice(&self.bytes).unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

impl TestServer {
    /// Starts a server whose default objects are written.
    pub async fn start() -> Result<Self> {
        Self::with_options(storage::options()).await
    }

    /// Starts a server whose store has these options.
    pub async fn with_options(options: gantry_store::Options) -> Result<Self> {
        Self::with_store(Store::with_engine(MemoryEngine::default(), options)?).await
    }

    /// Starts a server on a store, which another one may have filled.
    pub async fn with_store(store: Store) -> Result<Self> {
        Self::with(store, |_| {}).await
    }

    /// Starts a server with these limits.
    pub async fn with_limits(limits: Limits) -> Result<Self> {
        Self::with_config(|config| config.limits = limits).await
    }

    /// Starts a server whose configuration is changed by `change`.
    pub async fn with_config(change: impl FnOnce(&mut Config)) -> Result<Self> {
        Self::with(Store::with_engine(MemoryEngine::default(), storage::options())?, change).await
    }

    async fn with(store: Store, change: impl FnOnce(&mut Config)) -> Result<Self> {
        let authority = Authority::new()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let serving = authority.issue("kube-apiserver", &[])?;
        let admin = authority.issue("admin", &["system:masters"])?;
        let kubelet = authority.issue("kube-apiserver-kubelet-client", &["system:masters"])?;
        let front_proxy = Authority::new()?;
        let proxy_client = front_proxy.issue("front-proxy-client", &[])?;
        let mut config = Config {
            advertise: address,
            store: store.clone(),
            serving: Identity {
                certificate: serving.certificate + &authority.certificate(),
                key: serving.key,
            },
            client_ca: authority.certificate(),
            cluster_ca: authority.certificate(),
            service_account_key: authority.issue("service-accounts", &[])?.key,
            issuer: "https://kubernetes.default.svc.cluster.local".to_owned(),
            service_cidr: "10.43.0.0/16".parse()?,
            node_ports: 30000..=32767,
            kubelet_client: Some(Identity { certificate: kubelet.certificate, key: kubelet.key }),
            kubelet_ca: authority.certificate(),
            request_header: Some(RequestHeader::new(
                front_proxy.certificate(),
                vec!["front-proxy-client".to_owned()],
            )),
            proxy_client: Some(Identity { certificate: proxy_client.certificate, key: proxy_client.key }),
            authentication: Default::default(),
            authorization: Default::default(),
            admission: Default::default(),
            anonymous: Anonymous::default(),
            audit: None,
            tracing: None,
            limits: Limits::default(),
            runtime_config: Default::default(),
            feature_gates: Default::default(),
            verbosity: None,
            version: Version::default(),
        };
        change(&mut config);
        let server = Arc::new(ApiServer::new(config)?);
        server.bootstrap().await;
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(server.clone().serve(listener, shutdown.clone()));
        let url = format!("https://{address}");
        Ok(Self { server, store, url, address, authority, front_proxy, admin, shutdown, serving })
    }

    /// Asks the server to stop.
    pub fn stop(&self) {
        self.shutdown.cancel();
    }

    /// Returns when the server, asked to stop, has stopped.
    pub async fn stopped(&mut self) -> Result<()> {
        Ok((&mut self.serving).await?)
    }

    /// A client in this process, as an administrator.
    pub fn client(&self) -> kube::Client {
        self.client_as(User::new("admin", ["system:masters"]))
    }

    /// A client in this process, as `user`.
    pub fn client_as(&self, user: User) -> kube::Client {
        kube::Client::new(self.server.client_service(user), "default")
    }

    /// Opens a TLS connection, with a client certificate where one is given.
    pub async fn connect(&self, pair: Option<&Pair>) -> Result<tokio_rustls::client::TlsStream<TcpStream>> {
        self.connect_for(pair, "http/1.1").await
    }

    /// Opens a TLS connection for a protocol by its name in ALPN, such as `h2`.
    pub async fn connect_for(
        &self,
        pair: Option<&Pair>,
        protocol: &str,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.certificate().as_bytes())?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let mut config = match pair {
            Some(pair) => builder.with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes())?],
                PrivateKeyDer::from_pem_slice(pair.key.as_bytes())?,
            )?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![protocol.into()];
        let stream = TcpStream::connect(self.address).await?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        connector.connect(ServerName::try_from("127.0.0.1")?, stream).await.context("TLS handshake")
    }

    /// Sends one request over a connection of its own and reads the answer to its end.
    pub async fn send(&self, pair: Option<&Pair>, request: Request<Bytes>) -> Result<Reply> {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(self.connect(pair).await?)).await?;
        let connection = tokio::spawn(connection);
        let response = sender.send_request(request.map(Full::new)).await?;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await?.to_bytes();
        connection.abort();
        Ok(Reply { code: parts.status, headers: parts.headers, bytes })
    }

    /// Sends JSON as the administrator.
    pub async fn json(&self, method: Method, path: &str, body: &Value) -> Result<Reply> {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        self.request(method, path, "application/json", text).await
    }

    /// Sends a body of some type as the administrator.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: impl Into<Bytes>,
    ) -> Result<Reply> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.address.to_string())
            .header("content-type", content_type)
            .header("user-agent", "gantry-testing/1")
            .body(body.into())?;
        self.send(Some(&self.admin), request).await
    }

    /// Runs kubectl as the administrator, with `input` on its standard input: whether it succeeded, and
    /// what it printed.
    pub async fn kubectl(&self, words: &[&str], input: &str) -> Result<(bool, String)> {
        self.kubectl_with(words, input, &[]).await
    }

    /// As [`TestServer::kubectl`], with more in its environment.
    pub async fn kubectl_with(
        &self,
        words: &[&str],
        input: &str,
        environment: &[(&str, &str)],
    ) -> Result<(bool, String)> {
        let home = tempfile::tempdir()?;
        let (certificate, key) = (home.path().join("cert.pem"), home.path().join("key.pem"));
        std::fs::write(&certificate, &self.admin.certificate)?;
        std::fs::write(&key, &self.admin.key)?;
        let mut child = Command::new("kubectl")
            .args(["--server", &self.url, "--insecure-skip-tls-verify"])
            .args(["--client-certificate".as_ref(), certificate.as_os_str()])
            .args(["--client-key".as_ref(), key.as_os_str()])
            .args(words)
            .env("HOME", home.path())
            .env_remove("KUBECONFIG")
            .envs(environment.iter().copied())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .context("kubectl is in PATH; run the tests with `make test`")?;
        child.stdin.take().context("piped")?.write_all(input.as_bytes()).await?;
        let output = child.wait_with_output().await?;
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        Ok((output.status.success(), text.into_owned()))
    }

    /// Reads a path as the administrator.
    pub async fn get(&self, path: &str) -> Result<Reply> {
        self.json(Method::GET, path, &Value::Null).await
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}
