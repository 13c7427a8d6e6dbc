//! TLS towards others: whom the server trusts, and whom it shows itself as.

mod checked;
mod path;
mod verifier;

use std::sync::{Arc, LazyLock};

use rustls::{ClientConfig, RootCertStore};

use crate::Error;
use crate::server::certificate::Shown;
use crate::server::listener;
pub use checked::Checked;
use verifier::verifier;

/// Whose certificates are good.
#[derive(Clone)]
pub(crate) enum Trust {
    /// Those that come from one of these authorities.
    Roots(Arc<RootCertStore>),
    /// Anybody's: the other end need not be who it says.
    Anybody,
}

impl Trust {
    /// The authorities of a PEM bundle, and of no other.
    pub fn only(pem: &str) -> Result<Self, Error> {
        Ok(Self::Roots(Arc::new(listener::roots(pem)?)))
    }

    /// The authorities of a PEM bundle; where it is empty, those that this machine trusts.
    pub fn bundle(pem: &str) -> Result<Self, Error> {
        if pem.is_empty() {
            return Ok(Self::machine());
        }
        let roots = listener::roots(pem)?;
        match roots.is_empty() {
            true => Err(Error::tls("trust a CA certificate", "unable to parse bytes as PEM block")),
            false => Ok(Self::Roots(Arc::new(roots))),
        }
    }

    /// The authorities that this machine trusts. They are read when somebody first needs them.
    pub fn machine() -> Self {
        static ROOTS: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
            let mut roots = RootCertStore::empty();
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::warn!(%error, "some of this machine's authorities are not trusted");
            }
            roots.add_parsable_certificates(found.certs);
            Arc::new(roots)
        });
        Self::Roots(ROOTS.clone())
    }
}

/// The settings of a TLS client, which shows `identity` where it is asked.
pub(crate) fn client(trust: Trust, identity: Option<Arc<Shown>>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|cause| Error::tls("choose protocol versions", cause))?;
    let builder = match trust {
        Trust::Roots(roots) if roots.is_empty() => builder.with_root_certificates(roots),
        Trust::Roots(roots) => {
            let verifier = Arc::new(verifier(roots, provider)?);
            builder.dangerous().with_custom_certificate_verifier(verifier)
        }
        Trust::Anybody => {
            let anybody = Checked::new(provider, |_, _, _, _| Ok(()));
            builder.dangerous().with_custom_certificate_verifier(Arc::new(anybody))
        }
    };
    let mut config = match identity {
        Some(identity) => builder.with_client_cert_resolver(identity),
        None => builder.with_no_client_auth(),
    };
    // A session that is resumed would have the certificate that it began with.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(trust: Trust) -> Option<usize> {
        match trust {
            Trust::Roots(roots) => Some(roots.len()),
            Trust::Anybody => None,
        }
    }

    /// What a machine trusts is read once, so this runs in a process of its own, on a machine that trusts one.
    #[test]
    fn without_a_bundle_the_machine_says_whom_to_trust() {
        const INSIDE: &str = "GANTRY_TEST_ROOTS";
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        if std::env::var_os(INSIDE).is_some() {
            assert_eq!(count(Trust::bundle("").unwrap()), Some(1));
            return;
        }
        assert_eq!(count(Trust::bundle(&pem).unwrap()), Some(1));
        assert_eq!(count(Trust::only("").unwrap()), Some(0));
        let error = Trust::bundle("no certificate").map(drop).unwrap_err().to_string();
        assert_eq!(error, "trust a CA certificate: unable to parse bytes as PEM block");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), pem).unwrap();
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tls::tests::without_a_bundle_the_machine_says_whom_to_trust"])
            .env("SSL_CERT_FILE", file.path())
            .env_remove("SSL_CERT_DIR")
            .env(INSIDE, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }
}
