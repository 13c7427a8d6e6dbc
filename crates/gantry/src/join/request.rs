//! Asking the cluster for certificates.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gantry_json::json;
use hyper_util::client::legacy::connect::HttpConnector;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use k8s_openapi::api::core::v1::{Node, NodeAddress};
use kube::api::{Patch, PatchParams, PostParams};
use kube::client::{ClientBuilder, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::wait::await_condition;
use kube::{Api, Client};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

use super::Certificate;
use super::connections::Connections;
use crate::pki::Pair;

/// How often an idle connection is tried.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// What a client proves its identity with.
pub(super) enum Credentials<'a> {
    Token(&'a str),
    Certificate(Arc<Certificate>),
}

/// A client of the server at `url` that trusts `authority`, PEM.
pub(super) async fn client(url: &str, authority: &str, credentials: Credentials<'_>) -> Result<Client> {
    let user = match &credentials {
        Credentials::Token(token) => json!({"token": token}),
        Credentials::Certificate(_) => json!({}),
    };
    let document = json!({
        "clusters": [{"name": "c", "cluster": {
            "server": url, "certificate-authority-data": STANDARD.encode(authority)}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    });
    let kubeconfig: Kubeconfig = gantry_json::from_value(document)?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let Credentials::Certificate(certificate) = credentials else { return Ok(Client::try_from(config)?) };
    let mut tls = config.rustls_client_config()?;
    tls.client_auth_cert_resolver = certificate.clone();
    // A session that is resumed would have the certificate that it began with.
    tls.resumption = rustls::client::Resumption::disabled();
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    // A watch waits in silence; a server that has gone without a word must be noticed all the same.
    connector.set_keepalive(Some(KEEPALIVE));
    connector.set_keepalive_interval(Some(KEEPALIVE));
    connector.set_tcp_user_timeout(Some(KEEPALIVE * 3));
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_only()
        .enable_http1()
        .wrap_connector(connector);
    Ok(ClientBuilder::new(Connections::new(connector, certificate), "default")
        .with_layer(&config.base_uri_layer())
        .build())
}

/// A client certificate for the node.
pub(super) async fn client_certificate(client: &Client, node: &str) -> Result<Pair> {
    obtain(client, node, "kubernetes.io/kube-apiserver-client-kubelet", "client auth", &BTreeSet::new()).await
}

/// A serving certificate for the node under `names`.
pub(super) async fn serving_certificate(
    client: &Client,
    node: &str,
    names: &BTreeSet<String>,
) -> Result<Pair> {
    obtain(client, node, "kubernetes.io/kubelet-serving", "server auth", names).await
}

async fn obtain(
    client: &Client,
    node: &str,
    signer: &str,
    purpose: &str,
    names: &BTreeSet<String>,
) -> Result<Pair> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names.iter().cloned().collect::<Vec<_>>())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
    params.distinguished_name.push(DnType::CommonName, format!("system:node:{node}"));
    let mut request = CertificateSigningRequest::default();
    request.metadata.generate_name = Some("csr-".into());
    request.spec = CertificateSigningRequestSpec {
        request: ByteString(params.serialize_request(&key)?.pem()?.into_bytes()),
        signer_name: signer.into(),
        usages: Some(vec!["digital signature".into(), purpose.into()]),
        ..Default::default()
    };
    let api = Api::<CertificateSigningRequest>::all(client.clone());
    let made = api.create(&PostParams::default(), &request).await.context("asking for a certificate")?;
    let name = made.metadata.name.unwrap_or_default();
    tracing::info!(
        request = name,
        signer,
        "asked for a certificate; an administrator may have to approve it"
    );
    let done = await_condition(api, &name, |request: Option<&CertificateSigningRequest>| {
        request.is_none_or(|request| issued(request).is_some() || refused(request).is_some())
    });
    let done = done.await.with_context(|| format!("waiting for the certificate of request {name}"))?;
    let Some(done) = done else { bail!("request {name} was deleted before it was decided on") };
    if let Some(why) = refused(&done) {
        bail!("request {name} was refused: {why}");
    }
    let pem = issued(&done).unwrap_or_default().to_vec();
    Ok(Pair { certificate: String::from_utf8(pem)?, key: key.serialize_pem() })
}

fn issued(request: &CertificateSigningRequest) -> Option<&[u8]> {
    let certificate = request.status.as_ref()?.certificate.as_ref()?;
    (!certificate.0.is_empty()).then_some(certificate.0.as_slice())
}

fn refused(request: &CertificateSigningRequest) -> Option<String> {
    let conditions = request.status.as_ref()?.conditions.iter().flatten();
    let found = conditions.into_iter().find(|each| matches!(each.type_.as_str(), "Denied" | "Failed"))?;
    Some(format!("{}: {}", found.type_, found.message.as_deref().unwrap_or_default()))
}

/// Makes the Node where it is missing, and lets it say its addresses where it says none.
pub(super) async fn ensure_node(client: &Client, name: &str, addresses: &[IpAddr]) -> Result<()> {
    let api = Api::<Node>::all(client.clone());
    let address = |type_: &str, address: String| NodeAddress { type_: type_.into(), address };
    let own = addresses.iter().map(|ip| address("InternalIP", ip.to_string()));
    let own: Vec<NodeAddress> = own.chain([address("Hostname", name.to_owned())]).collect();
    match api.get_opt(name).await? {
        Some(node) => {
            let known = node.status.and_then(|status| status.addresses).unwrap_or_default();
            if own.iter().all(|each| known.iter().any(|known| known.address == each.address)) {
                return Ok(());
            }
            let status = json!({"status": {"addresses": own}});
            api.patch_status(name, &PatchParams::default(), &Patch::Strategic(status)).await?;
        }
        None => {
            let mut node = Node::default();
            node.metadata.name = Some(name.to_owned());
            node.status.get_or_insert_default().addresses = Some(own);
            api.create(&PostParams::default(), &node).await.context("registering the node")?;
        }
    }
    Ok(())
}
