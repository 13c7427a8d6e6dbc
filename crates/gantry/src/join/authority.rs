//! Learning the cluster's authority from a server that proves to belong to it: one of the
//! certificates that it shows must have the wanted fingerprint, and must have signed the others.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gantry_apiserver::Checked;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::token::{Fingerprint, of_der};

/// How long a server may take to answer, and how often it is asked before joining fails.
const ANSWER: Duration = Duration::from_secs(10);
const ATTEMPTS: u32 = 8;

/// The authority with this fingerprint, in PEM, as the server at `url` shows it.
pub(super) async fn discover(url: &str, pin: Fingerprint) -> Result<String> {
    let uri: http::Uri = url.parse().with_context(|| format!("{url} is no URL"))?;
    if uri.scheme_str() != Some("https") {
        bail!("{url} does not begin with https://");
    }
    let host = uri.host().with_context(|| format!("{url} names no host"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = uri.port_u16().unwrap_or(6443);
    let mut delay = Duration::from_millis(250);
    for attempt in 1.. {
        match ask(&host, port, pin).await {
            Ok(authority) => return Ok(authority),
            Err(Failure::Refused(error)) => {
                return Err(error)
                    .with_context(|| format!("{url} does not prove to belong to the token's cluster"));
            }
            Err(Failure::Unreachable(error)) if attempt == ATTEMPTS => {
                return Err(error).with_context(|| format!("connecting to {url}"));
            }
            Err(Failure::Unreachable(error)) => {
                tracing::info!(%error, url, "the server does not answer yet");
                tokio::time::sleep(delay).await;
                delay *= 2;
            }
        }
    }
    unreachable!("the last attempt returns")
}

enum Failure {
    /// The server is not there; it may come.
    Unreachable(anyhow::Error),
    /// It is another cluster's, or no server of ours.
    Refused(anyhow::Error),
}

async fn ask(host: &str, port: u16, pin: Fingerprint) -> Result<String, Failure> {
    let refused = |error: rustls::Error| Failure::Refused(error.into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let pinned = Arc::new(Pinned { pin, provider: provider.clone(), found: Mutex::default() });
    let trusted = pinned.clone();
    let verifier = Checked::new(provider.clone(), move |certificate, others, name, now| {
        trusted.check(certificate, others, name, now)
    });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|error| Failure::Refused(error.into()))?;
    let connected = tokio::time::timeout(ANSWER, TcpStream::connect((host, port))).await;
    let unreachable = |error: anyhow::Error| Failure::Unreachable(error);
    let stream =
        connected.map_err(|error| unreachable(error.into()))?.map_err(|error| unreachable(error.into()))?;
    let shaken =
        tokio::time::timeout(ANSWER, TlsConnector::from(Arc::new(config)).connect(name, stream)).await;
    let result = shaken.map_err(|error| unreachable(error.into()))?;
    let found = pinned.found.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (result, found) {
        (Ok(_), Some(authority)) => Ok(pem(&authority)),
        (Ok(_), None) => Err(Failure::Refused(anyhow::anyhow!("the server showed no certificate"))),
        (Err(error), _) if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
            Err(Failure::Refused(error.into()))
        }
        (Err(error), _) => Err(unreachable(error.into())),
    }
}

/// Trusts the one authority with the fingerprint, and nothing else.
struct Pinned {
    pin: Fingerprint,
    provider: Arc<CryptoProvider>,
    found: Mutex<Option<CertificateDer<'static>>>,
}

impl Pinned {
    fn check(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let authority = others.iter().find(|certificate| of_der(certificate) == self.pin);
        let authority = authority.ok_or(CertificateError::UnknownIssuer)?.clone().into_owned();
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        verifier.verify_server_cert(certificate, others, name, &[], now)?;
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(authority);
        Ok(())
    }
}

fn pem(der: &CertificateDer<'_>) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
