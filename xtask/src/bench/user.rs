//! The user that the loads run as. The administrator is exempt from fairness and needs no rules to have
//! every right; this user's rights come from RBAC, and its requests take turns like anybody's.

use std::path::Path;

use anyhow::{Context, Result};
use gantry_json::json;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};

use super::http::Client;

const NAME: &str = "bench";

/// Gives the user its rights.
pub async fn bind(admin: &Client) -> Result<()> {
    let group = "rbac.authorization.k8s.io";
    let binding = json!({"apiVersion": format!("{group}/v1"), "kind": "ClusterRoleBinding",
        "metadata": {"name": NAME},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": NAME}]});
    admin.create(&format!("/apis/{group}/v1/clusterrolebindings"), &binding).await
}

/// The user's client: `admin`'s with a certificate that the authority in the directory `pki` signs.
pub fn client(admin: &Client, pki: &Path) -> Result<Client> {
    let read = |name: &str| {
        let path = pki.join(name);
        std::fs::read_to_string(&path).with_context(|| path.display().to_string())
    };
    let issuer = Issuer::from_ca_cert_pem(&read("ca.crt")?, KeyPair::from_pem(&read("ca.key")?)?)?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, NAME);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    admin.with_certificate(certificate.pem().as_bytes(), key.serialize_pem().as_bytes())
}
