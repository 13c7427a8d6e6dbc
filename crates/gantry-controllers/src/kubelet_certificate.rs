//! What a request for a node's certificate has to look like, as a client and as a server.

use gantry_api::certificate_request::CertificateRequest;

/// The group of all nodes.
pub(crate) const NODES: &str = "system:nodes";
/// What stands before a node's name in its user name.
pub(crate) const USER_PREFIX: &str = "system:node:";

/// Why a request is not one for a node's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotForNode {
    #[error("subject organization is not system:nodes")]
    Organization,
    #[error("subject common name does not begin with system:node:")]
    CommonName,
    #[error("DNS or IP subjectAltName is required")]
    NoNames,
    #[error("DNS subjectAltNames are not allowed")]
    Dns,
    #[error("Email subjectAltNames are not allowed")]
    Email,
    #[error("IP subjectAltNames are not allowed")]
    Ip,
    #[error("URI subjectAltNames are not allowed")]
    Uri,
    #[error("usages did not match")]
    Usages,
}

/// Checks a request for a client certificate.
pub(crate) fn check_client(request: &CertificateRequest, usages: &[String]) -> Result<(), NotForNode> {
    subject(request)?;
    if !request.dns_names.is_empty() {
        return Err(NotForNode::Dns);
    }
    if !request.ip_addresses.is_empty() {
        return Err(NotForNode::Ip);
    }
    exactly(usages, "client auth")
}

/// Checks a request for a serving certificate.
pub(crate) fn check_serving(request: &CertificateRequest, usages: &[String]) -> Result<(), NotForNode> {
    subject(request)?;
    if request.dns_names.is_empty() && request.ip_addresses.is_empty() {
        return Err(NotForNode::NoNames);
    }
    exactly(usages, "server auth")
}

fn subject(request: &CertificateRequest) -> Result<(), NotForNode> {
    if request.organizations != [NODES] {
        return Err(NotForNode::Organization);
    }
    if !request.common_name.starts_with(USER_PREFIX) {
        return Err(NotForNode::CommonName);
    }
    if !request.email_addresses.is_empty() {
        return Err(NotForNode::Email);
    }
    if !request.uris.is_empty() { Err(NotForNode::Uri) } else { Ok(()) }
}

/// The purpose and a digital signature; RSA keys encipher keys besides.
fn exactly(usages: &[String], purpose: &str) -> Result<(), NotForNode> {
    let known =
        |usage: &String| usage == purpose || usage == "digital signature" || usage == "key encipherment";
    let has = |wanted: &str| usages.iter().any(|usage| usage == wanted);
    let right = has(purpose) && has("digital signature") && usages.iter().all(known);
    if right { Ok(()) } else { Err(NotForNode::Usages) }
}
