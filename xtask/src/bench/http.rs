//! A small HTTPS client: connections are explicit, so that a measurement decides how many.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tokio_rustls::TlsConnector;

use super::call::Call;

/// How to reach one API server as one user.
#[derive(Clone)]
pub struct Client {
    connector: TlsConnector,
    authority: String,
    roots: Arc<RootCertStore>,
}

/// One HTTP/1.1 connection.
pub struct Connection(SendRequest<Full<Bytes>>);

impl Client {
    /// Reads a kubeconfig that carries its certificates.
    pub fn from_kubeconfig(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let config: Value = serde_yaml_ng::from_str(&text)?;
        let data = |value: &Value| -> Result<Vec<u8>> {
            let text = value.as_str().context("the kubeconfig lacks embedded certificates")?;
            Ok(base64::engine::general_purpose::STANDARD.decode(text)?)
        };
        let (cluster, user) = (&config["clusters"][0]["cluster"], &config["users"][0]["user"]);
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&data(&cluster["certificate-authority-data"])?) {
            roots.add(certificate?)?;
        }
        let server = cluster["server"].as_str().context("the kubeconfig names no server")?;
        let authority = server.trim_start_matches("https://").trim_end_matches('/').to_owned();
        let (chain, key) = (data(&user["client-certificate-data"])?, data(&user["client-key-data"])?);
        Self::new(Arc::new(roots), authority, &chain, &key)
    }

    /// The same server, as who holds another certificate. Both are PEM.
    pub fn with_certificate(&self, chain: &[u8], key: &[u8]) -> Result<Self> {
        Self::new(self.roots.clone(), self.authority.clone(), chain, key)
    }

    fn new(roots: Arc<RootCertStore>, authority: String, chain: &[u8], key: &[u8]) -> Result<Self> {
        let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>()?;
        let tls = rustls::ClientConfig::builder()
            .with_root_certificates(roots.clone())
            .with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key)?)?;
        Ok(Self { connector: TlsConnector::from(Arc::new(tls)), authority, roots })
    }

    /// Opens a connection.
    pub async fn connect(&self) -> Result<Connection> {
        let stream = tokio::net::TcpStream::connect(&self.authority).await?;
        stream.set_nodelay(true)?;
        let host = self.authority.rsplit_once(':').map_or(&*self.authority, |(host, _)| host);
        let stream = self.connector.connect(ServerName::try_from(host.to_owned())?, stream).await?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Connection(sender))
    }

    /// Creates an object.
    pub async fn create(&self, path: &str, body: &Value) -> Result<()> {
        self.connect().await?.exchange(Call::post(path, body).request(0)?).await
    }

    /// Deletes an object.
    pub async fn delete(&self, path: &str) -> Result<()> {
        self.connect().await?.exchange(Call::delete(path).request(0)?).await
    }

    /// Creates a namespace with the ServiceAccount that its pods run under.
    pub async fn create_namespace(&self, name: &str) -> Result<()> {
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.create("/api/v1/namespaces", &body).await?;
        let body = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
        let call = Call::post(format!("/api/v1/namespaces/{name}/serviceaccounts"), &body);
        let (status, text) = self.connect().await?.answer(call.request(0)?).await?;
        // A controller may have been quicker.
        ensure!(
            matches!(status, StatusCode::CREATED | StatusCode::CONFLICT),
            "creating a ServiceAccount: {status} {text:?}"
        );
        Ok(())
    }
}

impl Connection {
    /// Sends a request and reads its answer, of which nothing is kept; an error where it is refused.
    pub async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<()> {
        let mut body = self.open(request).await?;
        while let Some(frame) = body.frame().await {
            frame?;
        }
        Ok(())
    }

    /// Sends a request and hands over the answer's body; an error where it is refused.
    pub async fn open(&mut self, request: Request<Full<Bytes>>) -> Result<Incoming> {
        let asked = format_args!("{} {}", request.method(), request.uri()).to_string();
        self.0.ready().await?;
        let response = self.0.send_request(request).await?;
        let status = response.status();
        if !status.is_success() {
            let text = response.into_body().collect().await?.to_bytes();
            bail!("{asked}: {status} {text:?}");
        }
        Ok(response.into_body())
    }

    /// Sends a request and reads its answer, whatever it is.
    pub async fn answer(&mut self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes)> {
        self.0.ready().await?;
        let response = self.0.send_request(request).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }
}
