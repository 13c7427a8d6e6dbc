//! A small HTTPS client: connections are explicit, so that a measurement decides how many.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tokio_rustls::TlsConnector;

/// How to reach one API server as its administrator.
#[derive(Clone)]
pub struct Client {
    connector: TlsConnector,
    authority: String,
}

const JSON: &str = "application/json";

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
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&data(&cluster["certificate-authority-data"])?) {
            roots.add(certificate?)?;
        }
        let chain = CertificateDer::pem_slice_iter(&data(&user["client-certificate-data"])?)
            .collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(&data(&user["client-key-data"])?)?;
        let tls = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
        let server = cluster["server"].as_str().context("the kubeconfig names no server")?;
        let authority = server.trim_start_matches("https://").trim_end_matches('/').to_owned();
        Ok(Self { connector: TlsConnector::from(Arc::new(tls)), authority })
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

    /// Creates a namespace with the ServiceAccount that its pods run under.
    pub async fn create_namespace(&self, name: &str) -> Result<()> {
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let mut connection = self.connect().await?;
        let (status, text) = connection.post("/api/v1/namespaces", body.to_string().into()).await?;
        ensure!(status == StatusCode::CREATED, "creating namespace {name}: {status} {text:?}");
        let body = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
        let path = format!("/api/v1/namespaces/{name}/serviceaccounts");
        let (status, text) = connection.post(&path, body.to_string().into()).await?;
        // A controller may have been quicker.
        ensure!(
            matches!(status, StatusCode::CREATED | StatusCode::CONFLICT),
            "creating a ServiceAccount: {status} {text:?}"
        );
        Ok(())
    }
}

impl Connection {
    /// GETs `path` and reads the whole answer.
    pub async fn get(&mut self, path: &str) -> Result<(StatusCode, Bytes)> {
        finish(self.send(Method::GET, path, JSON, Bytes::new()).await?).await
    }

    /// POSTs JSON.
    pub async fn post(&mut self, path: &str, body: Bytes) -> Result<(StatusCode, Bytes)> {
        finish(self.send(Method::POST, path, JSON, body).await?).await
    }

    /// PATCHes with a JSON merge patch.
    pub async fn merge(&mut self, path: &str, body: Bytes) -> Result<(StatusCode, Bytes)> {
        finish(self.send(Method::PATCH, path, "application/merge-patch+json", body).await?).await
    }

    /// Starts a watch and hands over its body.
    pub async fn watch(&mut self, path: &str) -> Result<Incoming> {
        let response = self.send(Method::GET, path, JSON, Bytes::new()).await?;
        ensure!(response.status() == StatusCode::OK, "watch {path}: {}", response.status());
        Ok(response.into_body())
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        content: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>> {
        self.0.ready().await?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "127.0.0.1")
            .header("content-type", content)
            .body(Full::new(body))?;
        Ok(self.0.send_request(request).await?)
    }
}

async fn finish(response: Response<Incoming>) -> Result<(StatusCode, Bytes)> {
    let status = response.status();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}
