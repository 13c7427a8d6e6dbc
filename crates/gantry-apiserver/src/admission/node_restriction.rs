//! NodeRestriction: a node writes its own Node, its own lease, and pods that run on it; it gets tokens
//! only for them, and it does not give itself labels or take its taints away.

mod token;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gantry_api::certificate_request::CertificateRequest;
use gantry_api::status::ApiError;
use gantry_json::Value;
use gantry_store::Store;

use super::{Operation, Request, Turns, WaitingPlugin, text};
use crate::authz::Authorizer;
use crate::authz::node::node_name;
use crate::{Attributes, Lookup};

/// With the authorizer that may allow a node tokens for further audiences.
pub(super) struct NodeRestriction(pub(super) Arc<Authorizer>);

/// What has to be allowed for a request that is otherwise refused.
#[derive(Debug)]
struct Question {
    asked: Attributes,
    otherwise: ApiError,
}

#[async_trait]
impl WaitingPlugin for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    fn turns(&self) -> Turns {
        Turns::validating(Turns::CHANGES)
    }

    fn concerns(&self, request: &Request<'_>) -> bool {
        node_name(request.user).is_some()
    }

    async fn validate(&self, request: &mut Request<'_>, store: &Store) -> Result<(), ApiError> {
        let Some(question) = judge(request, &store.snapshot())? else { return Ok(()) };
        match self.0.authorize(&question.asked).await.is_allowed() {
            true => Ok(()),
            false => Err(question.otherwise),
        }
    }
}

/// Whether a node may do this, or what it depends on.
fn judge(request: &Request<'_>, objects: &dyn Lookup) -> Result<Option<Question>, ApiError> {
    let Some(node) = node_name(request.user) else { return Ok(None) };
    match (request.group, request.resource, request.subresource) {
        ("", "pods", "") => pod(node, request),
        ("", "pods", "status") => pod_status(node, request),
        ("", "pods", "eviction") => pod_eviction(node, request, objects),
        ("", "pods", "resize") | ("", "pods", "ephemeralcontainers") => {
            Err(request.forbidden(format!("unexpected subresource {:?}", request.subresource)))
        }
        ("", "nodes", _) => own_node(node, request),
        ("", "serviceaccounts", "token") => return token::judge(node, request, objects),
        ("certificates.k8s.io", "certificatesigningrequests", "") => certificate(request),
        ("resource.k8s.io", "resourceslices", "") => slice(node, request),
        ("", "persistentvolumeclaims", "") => Err(request.forbidden("may only update PVC status")),
        ("coordination.k8s.io", "leases", _) => lease(node, request),
        ("storage.k8s.io", "csinodes", _) => {
            own_name(node, request, "can only access CSINode with the same name as the requesting node")
        }
        _ => Ok(()),
    }
    .map(|()| None)
}

fn pod(node: &str, request: &Request<'_>) -> Result<(), ApiError> {
    match request.operation {
        Operation::Create => new_mirror_pod(node, request),
        Operation::Delete if request.old.is_some_and(|old| text(old, "/spec/nodeName") == node) => Ok(()),
        Operation::Delete => {
            Err(request
                .forbidden(format!("node {node:?} can only delete pods with spec.nodeName set to itself")))
        }
        _ => Err(request.forbidden(format!("unexpected operation {:?}", request.operation))),
    }
}

fn new_mirror_pod(node: &str, request: &Request<'_>) -> Result<(), ApiError> {
    if request.object.pointer("/metadata/annotations/kubernetes.io~1config.mirror").is_none() {
        return Err(request.forbidden(format!(
            "pod does not have \"kubernetes.io/config.mirror\" annotation, node {node:?} can only create mirror pods"
        )));
    }
    if request.text("/spec/nodeName") != node {
        return Err(
            request.forbidden(format!("node {node:?} can only create pods with spec.nodeName set to itself"))
        );
    }
    let owners = request.object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    for owner in owners.into_iter().flatten() {
        if owner["kind"] != "Node" || owner["name"] != node {
            return Err(request.forbidden(format!(
                "node {node:?} can only create pods with an owner reference set to itself"
            )));
        }
    }
    let spec = request.object["spec"].to_string();
    for (what, fields) in [
        ("secrets", &["\"secret\":", "\"secretRef\":", "\"secretKeyRef\":"][..]),
        ("configmaps", &["\"configMap\":", "\"configMapRef\":", "\"configMapKeyRef\":"][..]),
        ("persistentvolumeclaims", &["\"persistentVolumeClaim\":"][..]),
    ] {
        if fields.iter().any(|field| spec.contains(field)) {
            return Err(request.forbidden(format!("node {node:?} can not create pods that reference {what}")));
        }
    }
    if !request.text("/spec/serviceAccountName").is_empty() {
        return Err(
            request.forbidden(format!("node {node:?} can not create pods that reference a service account"))
        );
    }
    Ok(())
}

fn pod_status(node: &str, request: &Request<'_>) -> Result<(), ApiError> {
    let Some(old) = request.old else { return Ok(()) };
    if text(old, "/spec/nodeName") != node {
        let why =
            format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself");
        return Err(request.forbidden(why));
    }
    if labels(old) != labels(&request.object) {
        return Err(request.forbidden(format!("node {node:?} cannot update labels through pod status")));
    }
    Ok(())
}

fn pod_eviction(node: &str, request: &Request<'_>, objects: &dyn Lookup) -> Result<(), ApiError> {
    let pod = objects.get("", "pods", request.namespace, request.name);
    if pod.is_some_and(|pod| text(&pod, "/spec/nodeName") != node) {
        return Err(
            request.forbidden(format!("node {node:?} can only evict pods with spec.nodeName set to itself"))
        );
    }
    Ok(())
}

fn own_node(node: &str, request: &Request<'_>) -> Result<(), ApiError> {
    let name = request.object_name();
    if name != node {
        return Err(request.forbidden(format!("node {node:?} is not allowed to modify node {name:?}")));
    }
    let none = BTreeSet::new();
    let before = request.old.map_or(none, labels);
    if matches!(request.operation, Operation::Create | Operation::Update) {
        let after = labels(&request.object);
        let changed = before.symmetric_difference(&after).map(|(key, _)| *key);
        let refused: BTreeSet<&str> = changed.filter(|key| is_restricted(key)).collect();
        if !refused.is_empty() {
            let verb = if request.operation == Operation::Create { "set" } else { "modify" };
            let list = refused.into_iter().collect::<Vec<_>>().join(", ");
            return Err(request.forbidden(format!("is not allowed to {verb} the following labels: {list}")));
        }
    }
    if let (Operation::Update, Some(old)) = (request.operation, request.old) {
        if old["spec"]["taints"] != request.object["spec"]["taints"] {
            return Err(request.forbidden(format!("node {node:?} is not allowed to modify taints")));
        }
        if old["metadata"]["ownerReferences"] != request.object["metadata"]["ownerReferences"] {
            return Err(request.forbidden(format!("node {node:?} is not allowed to modify ownerReferences")));
        }
    }
    Ok(())
}

fn labels(object: &Value) -> BTreeSet<(&str, &str)> {
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object).into_iter().flatten();
    labels.map(|(key, value)| (key.as_str(), value.as_str().unwrap_or(""))).collect()
}

/// Labels in the project's own name space belong to the cluster's administrator, but for those that a
/// node agent knows best.
fn is_restricted(key: &str) -> bool {
    const OWN: [&str; 13] = [
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
        "node.kubernetes.io/windows-build",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.kubernetes.io/zone",
    ];
    let Some((space, _)) = key.split_once('/') else { return false };
    let below =
        |parent: &str| space == parent || space.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'));
    if below("node-restriction.kubernetes.io") {
        return true;
    }
    let known = OWN.contains(&key) || below("kubelet.kubernetes.io") || below("node.kubernetes.io");
    (below("kubernetes.io") || below("k8s.io")) && !known
}

/// A node's certificates are for itself.
fn certificate(request: &Request<'_>) -> Result<(), ApiError> {
    let own = ["kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"];
    if request.operation != Operation::Create || !own.contains(&request.text("/spec/signerName")) {
        return Ok(());
    }
    let pem = STANDARD.decode(request.text("/spec/request")).unwrap_or_default();
    let parsed = CertificateRequest::parse(&pem)
        .map_err(|error| request.forbidden(format!("unable to parse csr: {error}")))?;
    let user = &request.user.name;
    if parsed.common_name == *user {
        return Ok(());
    }
    Err(request.forbidden(format!("can only create a node CSR with CN={user}")))
}

/// The node authorizer sees no content: what is created, and each object of a collection that is deleted.
fn slice(node: &str, request: &Request<'_>) -> Result<(), ApiError> {
    let (verb, slice) = match (request.operation, request.old) {
        (Operation::Create, _) => ("create", &request.object),
        (Operation::Delete, Some(old)) => ("delete", old),
        _ => return Ok(()),
    };
    if text(slice, "/spec/nodeName") == node {
        return Ok(());
    }
    Err(request
        .forbidden(format!("can only {verb} ResourceSlice with the same NodeName as the requesting node")))
}

fn lease(node: &str, request: &Request<'_>) -> Result<(), ApiError> {
    if request.namespace != "kube-node-lease" {
        let why = "can only access leases in the \"kube-node-lease\" system namespace";
        return Err(request.forbidden(why));
    }
    own_name(node, request, "can only access node lease with the same name as the requesting node")
}

fn own_name(node: &str, request: &Request<'_>, otherwise: &str) -> Result<(), ApiError> {
    if request.object_name() == node { Ok(()) } else { Err(request.forbidden(otherwise)) }
}

#[cfg(test)]
mod tests;
