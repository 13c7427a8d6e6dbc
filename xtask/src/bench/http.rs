//! A small HTTPS client: connections are explicit, so that a measurement decides how many. Requests are bytes
//! that are made once, and answers are read just far enough to know where they end: the generator shares its
//! cores with the server, and with a whole client it took two fifths of them for a GET.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use gantry_json::{Value, json};
use hyper::StatusCode;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::call::Call;

/// How much of an answer is read at once, in bytes; a head has to fit.
const BUFFER: usize = 64 << 10;
/// The most headers that an answer has.
const HEADERS: usize = 32;

/// How to reach one API server as one user.
#[derive(Clone)]
pub struct Client {
    connector: TlsConnector,
    authority: String,
    roots: Arc<RootCertStore>,
}

/// One HTTP/1.1 connection.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    buffer: Box<[u8]>,
    /// What of the buffer was read and not looked at.
    unread: Range<usize>,
}

/// How much of an answer's body is still to come.
enum Rest {
    /// So many bytes.
    Bytes(usize),
    /// Chunks, of which the next begins.
    Chunks,
    /// So many bytes of a chunk, and other chunks.
    Chunk(usize),
    /// A chunk's end, and other chunks.
    ChunkEnd,
    /// The end of the chunks.
    LastEnd,
}

/// A body that is read as it comes.
pub struct Body {
    connection: Connection,
    rest: Rest,
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

    /// Of the server at `authority`, by which certificates are issued that `roots` hold. What the user shows is PEM.
    pub fn new(roots: Arc<RootCertStore>, authority: String, chain: &[u8], key: &[u8]) -> Result<Self> {
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
        Ok(Connection { stream, buffer: vec![0; BUFFER].into(), unread: 0..0 })
    }

    /// Creates an object.
    pub async fn create(&self, path: &str, body: &Value) -> Result<()> {
        self.connect().await?.exchange(&Call::post(path, body).request(0)).await
    }

    /// Deletes an object.
    pub async fn delete(&self, path: &str) -> Result<()> {
        self.connect().await?.exchange(&Call::delete(path).request(0)).await
    }

    /// Creates a namespace with the ServiceAccount that its pods run under.
    pub async fn create_namespace(&self, name: &str) -> Result<()> {
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.create("/api/v1/namespaces", &body).await?;
        let body = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
        let call = Call::post(format!("/api/v1/namespaces/{name}/serviceaccounts"), &body);
        let (status, text) = self.connect().await?.answer(&call.request(0)).await?;
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
    pub async fn exchange(&mut self, request: &[u8]) -> Result<()> {
        let mut rest = self.accepted(request).await?;
        while self.part(&mut rest).await?.is_some() {}
        Ok(())
    }

    /// Sends the connection's last request and hands over the answer's body; an error where it is refused.
    pub async fn open(mut self, request: &[u8]) -> Result<Body> {
        let rest = self.accepted(request).await?;
        Ok(Body { connection: self, rest })
    }

    /// Sends a request and reads its answer, whatever it is.
    pub async fn answer(&mut self, request: &[u8]) -> Result<(StatusCode, String)> {
        self.send(request).await?;
        let (status, mut rest) = self.head().await?;
        Ok((status, self.text(&mut rest).await?))
    }

    /// Sends a request; the body of its answer, unless it is refused.
    async fn accepted(&mut self, request: &[u8]) -> Result<Rest> {
        self.send(request).await?;
        let (status, mut rest) = self.head().await?;
        if !status.is_success() {
            let asked = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
            let text = self.text(&mut rest).await?;
            bail!("{}: {status} {text:?}", String::from_utf8_lossy(asked));
        }
        Ok(rest)
    }

    async fn send(&mut self, request: &[u8]) -> Result<()> {
        self.stream.write_all(request).await?;
        Ok(self.stream.flush().await?)
    }

    /// Reads more.
    async fn fill(&mut self) -> Result<()> {
        if self.unread.is_empty() {
            self.unread = 0..0;
        } else if self.unread.end == self.buffer.len() {
            ensure!(self.unread.start > 0, "an answer's head has more than {BUFFER} bytes");
            self.buffer.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
        }
        let read = self.stream.read(&mut self.buffer[self.unread.end..]).await?;
        ensure!(read > 0, "the connection ended within an answer");
        self.unread.end += read;
        Ok(())
    }

    /// Reads an answer's head.
    async fn head(&mut self) -> Result<(StatusCode, Rest)> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; HEADERS];
            let mut head = httparse::Response::new(&mut headers);
            let parsed = head.parse(&self.buffer[self.unread.clone()]).context("an answer's head")?;
            if let httparse::Status::Complete(length) = parsed {
                let status = StatusCode::from_u16(head.code.unwrap_or_default())?;
                let rest = rest_of(head.headers)?;
                self.unread.start += length;
                return Ok((status, rest));
            }
            self.fill().await?;
        }
    }

    /// Reads the next part of a body: where it stands in the buffer; `None` after the last.
    async fn part(&mut self, rest: &mut Rest) -> Result<Option<Range<usize>>> {
        loop {
            match rest {
                Rest::Bytes(0) => return Ok(None),
                Rest::Chunk(0) => *rest = Rest::ChunkEnd,
                Rest::Bytes(left) | Rest::Chunk(left) if !self.unread.is_empty() => {
                    let length = self.unread.len().min(*left);
                    *left -= length;
                    let begin = self.unread.start;
                    self.unread.start += length;
                    return Ok(Some(begin..self.unread.start));
                }
                Rest::ChunkEnd | Rest::LastEnd if self.unread.len() >= 2 => {
                    self.unread.start += 2;
                    *rest = if matches!(rest, Rest::LastEnd) { Rest::Bytes(0) } else { Rest::Chunks };
                }
                Rest::Chunks => {
                    let unread = &self.buffer[self.unread.clone()];
                    let parsed = httparse::parse_chunk_size(unread).ok().context("an answer's chunks")?;
                    if let httparse::Status::Complete((length, size)) = parsed {
                        self.unread.start += length;
                        *rest = if size == 0 { Rest::LastEnd } else { Rest::Chunk(usize::try_from(size)?) };
                    } else {
                        self.fill().await?;
                    }
                }
                _ => self.fill().await?,
            }
        }
    }

    async fn text(&mut self, rest: &mut Rest) -> Result<String> {
        let mut text = Vec::new();
        while let Some(part) = self.part(rest).await? {
            text.extend_from_slice(&self.buffer[part]);
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

impl Body {
    /// The next part; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<&[u8]>> {
        let part = self.connection.part(&mut self.rest).await?;
        Ok(part.map(|part| &self.connection.buffer[part]))
    }
}

/// What body an answer with these headers has.
fn rest_of(headers: &[httparse::Header<'_>]) -> Result<Rest> {
    let header = |name: &str| headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
    if header("transfer-encoding").is_some() {
        return Ok(Rest::Chunks);
    }
    let length = header("content-length").map(|header| std::str::from_utf8(header.value));
    Ok(Rest::Bytes(length.transpose()?.map(str::parse).transpose()?.unwrap_or_default()))
}
