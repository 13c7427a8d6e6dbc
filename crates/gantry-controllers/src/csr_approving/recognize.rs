//! Which form a request has.

use std::net::IpAddr;

use gantry_api::certificate_request::CertificateRequest;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use k8s_openapi::api::core::v1::Node;

use crate::kubelet_certificate::{NODES, USER_PREFIX, check_client, check_serving};

const CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const SERVING: &str = "kubernetes.io/kubelet-serving";

/// A request that can be approved without a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A node's own client certificate, renewed by the node.
    SelfNodeClient,
    /// A node's client certificate, asked for by somebody else.
    NodeClient,
    /// A node's serving certificate, asked for by the node.
    SelfNodeServer,
}

impl Form {
    /// The subresource that its requestor must be able to create.
    pub(super) fn subresource(self) -> &'static str {
        match self {
            Self::SelfNodeClient => "selfnodeclient",
            Self::NodeClient => "nodeclient",
            Self::SelfNodeServer => "selfnodeserver",
        }
    }

    pub(super) fn message(self) -> &'static str {
        match self {
            Self::SelfNodeClient => {
                "Auto approving self kubelet client certificate after SubjectAccessReview."
            }
            Self::NodeClient => "Auto approving kubelet client certificate after SubjectAccessReview.",
            Self::SelfNodeServer => {
                "Auto approving self kubelet serving certificate for the Node's addresses after SubjectAccessReview."
            }
        }
    }
}

/// Whether the request is approved, denied, failed or done.
pub(super) fn is_decided(request: &CertificateSigningRequest) -> bool {
    request.status.as_ref().is_some_and(|status| {
        status.certificate.is_some() || status.conditions.as_ref().is_some_and(|all| !all.is_empty())
    })
}

/// The node whose serving certificate is asked for by itself.
pub(super) fn node_of(request: &CertificateSigningRequest) -> Option<&str> {
    let spec = &request.spec;
    let asks = spec.signer_name == SERVING && spec.groups.iter().flatten().any(|group| group == NODES);
    spec.username.as_deref().filter(|_| asks)?.strip_prefix(USER_PREFIX)
}

/// The forms that the request has, the narrowest first. `node` is the requestor's Node.
pub(super) fn recognize(spec: &CertificateSigningRequestSpec, node: Option<&Node>) -> Vec<Form> {
    let Ok(request) = CertificateRequest::parse(&spec.request.0) else { return Vec::new() };
    let usages = spec.usages.as_deref().unwrap_or_default();
    let own = spec.username.as_deref() == Some(&*request.common_name);
    match &*spec.signer_name {
        CLIENT if check_client(&request, usages).is_ok() => {
            let narrow = own.then_some(Form::SelfNodeClient);
            narrow.into_iter().chain([Form::NodeClient]).collect()
        }
        SERVING if own && check_serving(&request, usages).is_ok() => {
            let fits = node.is_some_and(|node| has_names(node, &request));
            fits.then_some(Form::SelfNodeServer).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// Whether the node has every name and address that the request names.
fn has_names(node: &Node, request: &CertificateRequest) -> bool {
    let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    let known: Vec<&str> = addresses.map(|each| each.address.as_str()).collect();
    let name = node.metadata.name.as_deref();
    let dns = request.dns_names.iter().all(|dns| name == Some(dns.as_str()) || known.contains(&dns.as_str()));
    let parsed: Vec<IpAddr> = known.iter().filter_map(|each| each.parse().ok()).collect();
    dns && request.ip_addresses.iter().all(|ip| parsed.contains(ip))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use k8s_openapi::api::core::v1::{NodeAddress, NodeStatus};
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    fn spec(signer: &str, user: &str, names: &[&str], usages: &[&str]) -> CertificateSigningRequestSpec {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, NODES);
        params.distinguished_name.push(DnType::CommonName, "system:node:n1");
        let request = params.serialize_request(&KeyPair::generate().expect("a key")).expect("a request");
        CertificateSigningRequestSpec {
            request: ByteString(request.pem().expect("PEM").into_bytes()),
            signer_name: signer.into(),
            username: Some(user.into()),
            groups: Some(vec![NODES.into()]),
            usages: Some(usages.iter().map(ToString::to_string).collect()),
            ..Default::default()
        }
    }

    fn node() -> Node {
        let address =
            |type_: &str, address: &str| NodeAddress { type_: type_.into(), address: address.into() };
        let mut node = Node::default();
        node.metadata.name = Some("n1".into());
        let addresses = vec![address("InternalIP", "192.0.2.7"), address("Hostname", "n1.example.com")];
        node.status = Some(NodeStatus { addresses: Some(addresses), ..Default::default() });
        node
    }

    #[test]
    fn client_certificates() {
        let check = |signer, user, usages: &[&str], expect: &[Form]| {
            assert_eq!(recognize(&spec(signer, user, &[], usages), None), expect);
        };
        let usages = ["client auth", "digital signature"];
        check(CLIENT, "system:node:n1", &usages, &[Form::SelfNodeClient, Form::NodeClient]);
        check(CLIENT, "system:bootstrap:abcdef", &usages, &[Form::NodeClient]);
        check(CLIENT, "system:node:n1", &["client auth", "digital signature", "server auth"], &[]);
        check("kubernetes.io/kube-apiserver-client", "system:node:n1", &usages, &[]);
        check(SERVING, "system:node:n1", &["server auth", "digital signature"], &[]);
    }

    #[test]
    fn serving_certificates_are_for_the_nodes_own_addresses() {
        let check = |user, names: &[&str], node: Option<Node>, expect: bool| {
            let spec = spec(SERVING, user, names, &["server auth", "digital signature"]);
            assert_eq!(!recognize(&spec, node.as_ref()).is_empty(), expect, "{names:?}");
        };
        check("system:node:n1", &["n1", "192.0.2.7", "n1.example.com"], Some(node()), true);
        check("system:node:n1", &["n1", "192.0.2.7"], None, false);
        check("system:node:n1", &["n1", "192.0.2.8"], Some(node()), false);
        check("system:node:n1", &["kubernetes"], Some(node()), false);
        check("system:node:n2", &["n1"], Some(node()), false);
    }
}
