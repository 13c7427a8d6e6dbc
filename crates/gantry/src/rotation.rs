//! The certificates of a control plane, renewed while it runs.
//!
//! Flow: each certificate is made at start where it is missing, and handed to whoever shows it; with a
//! third of its life left another one is made and handed over in its place. Guarantee: what fails is
//! tried again, and what is shown stays until there is another one.

use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;

use crate::pki::{self, Authority, Leaf, Pair};

/// How long to wait after a renewal that failed.
const RETRY: Duration = Duration::from_secs(60);
/// The longest wait. A machine may sleep meanwhile, which timers do not count.
const LONGEST: Duration = Duration::from_secs(86_400);

/// Certificates that are kept fresh.
pub struct Rotation {
    authority: Authority,
    kept: Vec<Kept>,
}

struct Kept {
    authority: Authority,
    leaf: Leaf,
    due: Timestamp,
    hand_over: HandOver,
}

/// Takes a new certificate into use.
type HandOver = Box<dyn Fn(&Pair) -> Result<()> + Send>;

impl Rotation {
    /// Nothing yet; certificates will come from `authority`.
    pub fn new(authority: Authority) -> Self {
        Self { authority, kept: Vec::new() }
    }

    /// Makes the certificate where it is missing, hands it over, and keeps it fresh from now on.
    pub fn keep(
        &mut self,
        leaf: Leaf,
        hand_over: impl Fn(&Pair) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        self.keep_from(self.authority.clone(), leaf, hand_over)
    }

    /// As [`Rotation::keep`], with a certificate of another authority.
    pub fn keep_from(
        &mut self,
        authority: Authority,
        leaf: Leaf,
        hand_over: impl Fn(&Pair) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let mut kept = Kept { authority, leaf, due: Timestamp::MIN, hand_over: Box::new(hand_over) };
        kept.renew()?;
        self.kept.push(kept);
        Ok(())
    }

    /// Renews certificates whenever their time has come. Runs until it is dropped.
    pub async fn run(&mut self) {
        loop {
            let next = self.kept.iter().map(|kept| kept.due).min().unwrap_or(Timestamp::MAX);
            let left = next.duration_since(Timestamp::now());
            tokio::time::sleep(Duration::try_from(left).unwrap_or_default().min(LONGEST)).await;
            for kept in self.kept.iter_mut().filter(|kept| kept.due <= Timestamp::now()) {
                match kept.renew() {
                    Ok(()) => tracing::info!(certificate = kept.leaf.file, "certificate renewed"),
                    Err(error) => {
                        let error = format!("{error:#}");
                        tracing::error!(
                            error,
                            certificate = kept.leaf.file,
                            "certificate not renewed; it is tried again"
                        );
                        kept.due = Timestamp::now() + RETRY;
                    }
                }
            }
        }
    }
}

impl Kept {
    fn renew(&mut self) -> Result<()> {
        let pair = self.authority.leaf(&self.leaf)?;
        (self.hand_over)(&pair)?;
        self.due = pki::inspect(&pair.certificate)?.renewal();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use gantry_apiserver::Identity;
    use gantry_testing::TestServer;
    use jiff::SignedDuration;
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;
    use tokio::sync::mpsc;

    use super::*;

    /// The certificate that the server shows.
    async fn shown(server: &TestServer, authority: &str) -> Result<Vec<u8>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
        let stream = tokio::net::TcpStream::connect(server.address).await?;
        let stream = connector.connect("127.0.0.1".try_into()?, stream).await?;
        let chain = stream.get_ref().1.peer_certificates().context("a certificate")?;
        Ok(chain[0].to_vec())
    }

    #[tokio::test]
    async fn a_running_server_shows_its_next_certificate() -> Result<()> {
        let server = TestServer::start().await?;
        let directory = tempfile::tempdir()?;
        let authority = Authority::open(directory.path(), SignedDuration::from_secs(6))?;
        let ca = authority.certificate.clone();
        let mut rotation = Rotation::new(authority);
        let leaf = Leaf {
            file: "apiserver",
            common_name: "kube-apiserver".into(),
            organizations: &[],
            names: vec!["127.0.0.1".into()],
        };
        let (said, mut renewed) = mpsc::unbounded_channel();
        let api = server.server.clone();
        rotation.keep(leaf, move |pair| {
            api.replace_serving(&Identity { certificate: pair.certificate.clone(), key: pair.key.clone() })?;
            Ok(said.send(pair.certificate.clone())?)
        })?;
        let running = tokio::spawn(async move { rotation.run().await });
        let mut last = Vec::new();
        for _ in 0..3 {
            let pem = renewed.recv().await.context("a certificate")?;
            let expected = CertificateDer::from_pem_slice(pem.as_bytes())?.to_vec();
            assert_eq!(shown(&server, &ca).await?, expected);
            assert_ne!(last, expected);
            last = expected;
        }
        running.abort();
        Ok(())
    }
}
