//! A server of the same transport with nothing behind it: mutual TLS, HTTP/1.1, and one answer from memory,
//! whatever is asked. What it does is what this machine gives in this minute; beside it stands what the API
//! server does with the same answer.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use gantry_testing::Authority;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::http::Client;

const CA: &str = "ca.crt";
const CERTIFICATE: &str = "server.crt";
const KEY: &str = "server.key";
const ANSWER: &str = "answer.json";

/// The server, a process of its own as the API server is. It ends when this is dropped.
pub struct Bare {
    _process: Process,
    client: Client,
    _directory: tempfile::TempDir,
}

impl Bare {
    /// Starts it; every answer is `answer`.
    pub fn start(answer: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let authority = Authority::new()?;
        let (server, user) = (authority.issue("bare", &[])?, authority.issue("bench", &[])?);
        let ca = authority.certificate();
        for (name, text) in
            [(CA, &*ca), (CERTIFICATE, &server.certificate), (KEY, &server.key), (ANSWER, answer)]
        {
            std::fs::write(directory.path().join(name), text)?;
        }
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("bare-server").arg(directory.path()).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = Process(command.spawn().context("starting the bare server")?);
        let mut address = String::new();
        if let Some(stdout) = process.0.stdout.take() {
            BufReader::new(stdout).read_line(&mut address)?;
        }
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.as_bytes())?)?;
        let (certificate, key) = (user.certificate.as_bytes(), user.key.as_bytes());
        let client = Client::new(Arc::new(roots), address.trim().to_owned(), certificate, key)?;
        Ok(Self { _process: process, client, _directory: directory })
    }

    /// Who may ask it.
    pub fn client(&self) -> &Client {
        &self.client
    }
}

/// The process, which ends when this is dropped: it keeps nothing.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where the bare server's files are.
#[derive(Debug, Args)]
pub struct Arguments {
    directory: PathBuf,
}

/// Serves until it is ended.
pub async fn serve(Arguments { directory }: &Arguments) -> Result<()> {
    let acceptor = TlsAcceptor::from(Arc::new(tls(directory)?));
    let answer = Bytes::from(std::fs::read(directory.join(ANSWER))?);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let (acceptor, answer) = (acceptor.clone(), answer.clone());
        tokio::spawn(async move {
            stream.set_nodelay(true)?;
            let stream = acceptor.accept(stream).await?;
            let service = service_fn(|_: Request<Incoming>| {
                let head = Response::builder().header("content-type", "application/json");
                std::future::ready(head.body(Full::new(answer.clone())))
            });
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await?;
            anyhow::Ok(())
        });
    }
}

fn tls(directory: &Path) -> Result<rustls::ServerConfig> {
    let read = |name: &str| {
        let path = directory.join(name);
        std::fs::read(&path).with_context(|| path.display().to_string())
    };
    let mut provider = rustls::crypto::ring::default_provider();
    // The shorter key, which the API server prefers as well.
    provider.cipher_suites.retain(|suite| suite.suite() == rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    let provider = Arc::new(provider);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&read(CA)?)?)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?;
    Ok(rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(&read(CERTIFICATE)?)?],
            PrivateKeyDer::from_pem_slice(&read(KEY)?)?,
        )?)
}
