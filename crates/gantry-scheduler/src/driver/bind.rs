//! Bindings.

use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::{Api, Client};
use serde::Serialize;

use crate::scheduler::Binding;

/// How a binding ended.
#[derive(Debug)]
pub(super) enum Bound {
    /// The pod has its node.
    Yes,
    /// It has not, or nobody knows; why.
    No(String),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    api_version: &'a str,
    kind: &'a str,
    metadata: Metadata<'a>,
    target: Target<'a>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    name: &'a str,
    namespace: &'a str,
    uid: &'a str,
}

#[derive(Serialize)]
struct Target<'a> {
    kind: &'a str,
    name: &'a str,
}

/// Asks the API server to give a pod its node.
pub(super) async fn bind(client: Client, binding: Binding) -> (Binding, Bound) {
    let pod = &binding.pod;
    let api: Api<Pod> = Api::namespaced(client, &pod.namespace);
    let request = Request {
        api_version: "v1",
        kind: "Binding",
        metadata: Metadata { name: &pod.name, namespace: &pod.namespace, uid: &pod.uid },
        target: Target { kind: "Node", name: &binding.node },
    };
    let answer: kube::Result<serde::de::IgnoredAny> =
        api.create_subresource("binding", &pod.name, &PostParams::default(), &request).await;
    let bound = match answer {
        Ok(_) => Bound::Yes,
        Err(error) => Bound::No(error.to_string()),
    };
    (binding, bound)
}
