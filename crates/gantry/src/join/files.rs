//! What a joined machine keeps: `ca.crt`, `client.pem` and `serving.pem` with certificate and key in
//! one file, so that a renewal replaces both at once, and `kubeconfig.yaml`.

use std::fmt;
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::kubeconfig;
use crate::pki::{self, Pair};

/// The directory of a joined machine's certificates.
#[derive(Debug, Clone)]
pub(super) struct Files(PathBuf);

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl Files {
    pub(super) fn open(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory)
            .and_then(|()| fs::set_permissions(directory, Permissions::from_mode(0o700)))
            .with_context(|| format!("making {}", directory.display()))?;
        Ok(Self(directory.to_owned()))
    }

    pub(super) fn authority(&self) -> Result<Option<String>> {
        read(&self.0.join("ca.crt"))
    }

    pub(super) fn client(&self) -> Result<Option<Pair>> {
        Ok(read(&self.0.join("client.pem"))?.and_then(|text| split(&text)))
    }

    pub(super) fn serving(&self) -> Result<Option<Pair>> {
        Ok(read(&self.0.join("serving.pem"))?.and_then(|text| split(&text)))
    }

    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.0.join("kubeconfig.yaml")
    }

    pub(super) fn keep_authority(&self, pem: &str) -> Result<()> {
        pki::write(&self.0.join("ca.crt"), pem, 0o644)
    }

    /// Keeps the client's pair, and the kubeconfig that holds it.
    pub(super) fn keep_client(&self, pair: &Pair, server: &str, authority: &str) -> Result<()> {
        self.keep("client.pem", pair)?;
        kubeconfig::write(&self.kubeconfig(), &kubeconfig::document(server, authority, pair))
    }

    pub(super) fn keep_serving(&self, pair: &Pair) -> Result<()> {
        self.keep("serving.pem", pair)
    }

    fn keep(&self, name: &str, pair: &Pair) -> Result<()> {
        let text = format!("{}\n{}", pair.certificate.trim_end(), pair.key);
        pki::write(&self.0.join(name), &text, 0o600)
    }
}

fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// Certificates come first, the key last.
fn split(text: &str) -> Option<Pair> {
    let end = "-----END CERTIFICATE-----";
    let at = text.rfind(end)? + end.len();
    let (certificate, key) = text.split_at(at);
    Some(Pair { certificate: format!("{certificate}\n"), key: key.trim_start().to_owned() })
}
