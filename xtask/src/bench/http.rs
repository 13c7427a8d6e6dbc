//! A small HTTPS client: connections are explicit, so that a measurement decides how many.

use std::future::poll_fn;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use futures::FutureExt;
use gantry_json::{Value, json};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::call::Call;

/// How to reach one API server as one user.
#[derive(Clone)]
pub struct Client {
    connector: TlsConnector,
    authority: String,
    roots: Arc<RootCertStore>,
}

type Moving = http1::Connection<TokioIo<TlsStream<TcpStream>>, Full<Bytes>>;

/// One HTTP/1.1 connection, whose bytes move while somebody waits for an answer: no task of its own has to
/// be woken, and the generator costs little beside the server.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// `None`: it has ended.
    moving: Option<Box<Moving>>,
}

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
        let stream = TcpStream::connect(&self.authority).await?;
        stream.set_nodelay(true)?;
        let host = self.authority.rsplit_once(':').map_or(&*self.authority, |(host, _)| host);
        let stream = self.connector.connect(ServerName::try_from(host.to_owned())?, stream).await?;
        let (sender, moving) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Connection { sender, moving: Some(Box::new(moving)) })
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
        let Self { sender, moving } = self;
        let work = async {
            let mut body = open(sender, request).await?;
            while let Some(frame) = body.frame().await {
                frame?;
            }
            Ok(())
        };
        drive(moving, work).await
    }

    /// Sends the connection's last request and hands over the answer's body; an error where it is refused.
    pub async fn open(self, request: Request<Full<Bytes>>) -> Result<Incoming> {
        let Self { mut sender, mut moving } = self;
        let body = drive(&mut moving, open(&mut sender, request)).await?;
        tokio::spawn(async move {
            // Whoever reads the body sees how the connection ends.
            futures::future::OptionFuture::from(moving).await;
            drop(sender);
        });
        Ok(body)
    }

    /// Sends a request and reads its answer, whatever it is.
    pub async fn answer(&mut self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes)> {
        let Self { sender, moving } = self;
        let work = async {
            sender.ready().await?;
            let response = sender.send_request(request).await?;
            let status = response.status();
            Ok((status, response.into_body().collect().await?.to_bytes()))
        };
        drive(moving, work).await
    }
}

async fn open(sender: &mut SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> Result<Incoming> {
    let asked = (request.method().clone(), request.uri().clone());
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    if !status.is_success() {
        let text = response.into_body().collect().await?.to_bytes();
        bail!("{} {}: {status} {text:?}", asked.0, asked.1);
    }
    Ok(response.into_body())
}

/// Does `work` and moves the bytes that it waits for.
async fn drive<T>(moving: &mut Option<Box<Moving>>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(done);
        }
        // When the connection ends, the work says why it could not be done.
        if moving.as_mut().is_some_and(|moving| moving.poll_unpin(context).is_ready()) {
            *moving = None;
        }
        work.as_mut().poll(context)
    })
    .await
}
