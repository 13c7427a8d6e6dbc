//! Client certificates: the common name is the user, the organizations are the groups. The chain was
//! verified by the TLS layer when the connection was made, which may be long ago.

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Unauthorized;
use crate::User;

pub(super) fn user(leaf: &CertificateDer<'_>) -> Result<User, Unauthorized> {
    let (_, certificate) = X509Certificate::from_der(leaf)
        .map_err(|error| Unauthorized(format!("client certificate: {error}")))?;
    if !certificate.validity().is_valid() {
        return Err(Unauthorized("client certificate has expired or is not yet valid".into()));
    }
    let subject = certificate.subject();
    let name = subject.iter_common_name().find_map(|name| name.as_str().ok()).unwrap_or_default();
    if name.is_empty() {
        return Err(Unauthorized("client certificate without a common name".into()));
    }
    let groups =
        subject.iter_organization().filter_map(|name| name.as_str().ok()).map(str::to_owned).collect();
    let digest = ring::digest::digest(&ring::digest::SHA256, leaf);
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut user = User { name: name.to_owned(), groups, ..User::default() };
    user.extra.insert("authentication.kubernetes.io/credential-id".into(), vec![format!("X509SHA256={hex}")]);
    Ok(user)
}
