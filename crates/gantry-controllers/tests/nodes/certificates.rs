//! Certificates of nodes: with a bootstrap token, and for a node's own API.

use anyhow::Result;
use bytes::Bytes;
use gantry_apiserver::User;
use gantry_json::{Value, json};
use gantry_testing::Pair;
use http::{Method, Request};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::PostParams;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

use crate::support::{Cluster, until};

const TOKEN: &str = "abcdef.0123456789abcdef";

fn request(key: &KeyPair, signer: &str, names: &[&str]) -> Result<CertificateSigningRequest> {
    let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
    params.distinguished_name.push(DnType::CommonName, "system:node:n1");
    let purpose = if names.is_empty() { "client auth" } else { "server auth" };
    let mut request = CertificateSigningRequest::default();
    request.metadata.generate_name = Some("csr-".into());
    request.spec = CertificateSigningRequestSpec {
        request: ByteString(params.serialize_request(key)?.pem()?.into_bytes()),
        signer_name: format!("kubernetes.io/{signer}"),
        usages: Some(vec!["digital signature".into(), purpose.into()]),
        ..Default::default()
    };
    Ok(request)
}

async fn issued(api: Api<CertificateSigningRequest>, name: &str) -> Result<String> {
    let has = |request: &CertificateSigningRequest| {
        request.status.as_ref().is_some_and(|status| status.certificate.is_some())
    };
    let done = until(api, name, |request| request.is_some_and(has)).await?;
    let pem = done.and_then(|request| request.status?.certificate).unwrap_or_default().0;
    Ok(String::from_utf8(pem)?)
}

#[tokio::test]
async fn a_bootstrap_token_gets_a_nodes_certificate() -> Result<()> {
    let cluster = Cluster::start(|_| {}).await?;
    let secret = json!({"metadata": {"name": "bootstrap-token-abcdef"}, "type": "bootstrap.kubernetes.io/token",
        "stringData": {"token-id": "abcdef", "token-secret": "0123456789abcdef",
            "usage-bootstrap-authentication": "true"}});
    let made = cluster.server.json(Method::POST, "/api/v1/namespaces/kube-system/secrets", &secret).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    let key = KeyPair::generate()?;
    let body = gantry_json::to_vec(&request(&key, "kube-apiserver-client-kubelet", &[])?)?;
    let call = Request::post("/apis/certificates.k8s.io/v1/certificatesigningrequests")
        .header("host", cluster.server.address.to_string())
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {TOKEN}"))
        .body(Bytes::from(body))?;
    let made = cluster.server.send(None, call).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    let name = made.json()["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let certificate = issued(cluster.all(), &name).await?;
    let node = Pair { certificate, key: key.serialize_pem() };
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let call = Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews")
        .header("host", cluster.server.address.to_string())
        .header("content-type", "application/json")
        .body(Bytes::from(review.to_string()))?;
    let answer: Value = cluster.server.send(Some(&node), call).await?.json();
    let info = &answer["status"]["userInfo"];
    assert_eq!(info["username"], "system:node:n1", "{answer}");
    assert_eq!(info["groups"], json!(["system:nodes", "system:authenticated"]));
    Ok(())
}

#[tokio::test]
async fn a_serving_certificate_waits_for_the_nodes_addresses() -> Result<()> {
    let cluster = Cluster::start(|_| {}).await?;
    let as_node = cluster.server.client_as(User::new("system:node:n1", ["system:nodes"]));
    let requests: Api<CertificateSigningRequest> = Api::all(as_node.clone());
    let key = KeyPair::generate()?;
    let made = requests
        .create(&PostParams::default(), &request(&key, "kubelet-serving", &["n1", "192.0.2.7"])?)
        .await?;
    let nodes: Api<Node> = Api::all(as_node);
    let mut node = Node::default();
    node.metadata.name = Some("n1".into());
    let addresses = gantry_json::from_value(json!([{"type": "InternalIP", "address": "192.0.2.7"}]))?;
    node.status.get_or_insert_default().addresses = Some(addresses);
    nodes.create(&PostParams::default(), &node).await?;
    let certificate = issued(cluster.all(), made.metadata.name.as_deref().unwrap_or_default()).await?;
    assert!(certificate.starts_with("-----BEGIN CERTIFICATE-----"));
    Ok(())
}
