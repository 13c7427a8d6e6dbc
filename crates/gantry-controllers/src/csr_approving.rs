//! Approves what nodes ask for: their first client certificate with a bootstrap token, its renewal, and
//! the serving certificate of their own API.
//!
//! Flow: a request that nobody has decided on is recognized by its form; a SubjectAccessReview says
//! whether its requestor holds `create` on the subresource of `certificatesigningrequests` that stands
//! for that form. A serving certificate is approved for the Node's own addresses and nothing else, so
//! its request waits for the Node; upstream leaves these to the administrator. Guarantee: a request
//! that is decided on is left alone.

mod recognize;

use std::sync::Arc;

use gantry_client::{Change, Failure, ObjectKey, WorkQueue, run_workers};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::PostParams;

use crate::Context;
use recognize::{Form, is_decided, node_of, recognize};

/// Nobody allowed what was recognized.
#[derive(Debug, thiserror::Error)]
#[error("request {name} is recognized as {forms:?}, but its requestor may not have that")]
struct NotAllowed {
    name: String,
    forms: Vec<Form>,
}

/// Runs until shutdown.
pub async fn run(context: Context) {
    let requests = context.informers.get::<CertificateSigningRequest>();
    let nodes = context.informers.get::<Node>();
    requests.synced().await;
    nodes.synced().await;
    let queue = WorkQueue::new();
    let of_requests = requests.changes().each(|change| {
        if let Change::Applied { new, .. } = &change
            && !is_decided(new)
        {
            queue.add(ObjectKey::of(&new.metadata).name);
        }
    });
    let of_nodes = nodes.changes().each(|change| {
        let name = change.object().metadata.name.as_deref();
        let waiting = requests.list().into_iter().filter(|each| !is_decided(each) && node_of(each) == name);
        waiting.for_each(|each| queue.add(ObjectKey::of(&each.metadata).name));
    });
    let reconcile = async |name: String| {
        let request = requests.get(&ObjectKey::new("", &*name)).filter(|request| !is_decided(request));
        let Some(request) = request else { return Ok(None) };
        let node = node_of(&request).and_then(|node| nodes.get(&ObjectKey::new("", node)));
        decide(&context, request, node.as_deref()).await.map(|()| None)
    };
    let work = run_workers("csrapproving", queue.clone(), 2, reconcile, context.shutdown.clone());
    tokio::join!(of_requests, of_nodes, work);
}

async fn decide(
    context: &Context,
    request: Arc<CertificateSigningRequest>,
    node: Option<&Node>,
) -> Result<(), Failure> {
    let forms = recognize(&request.spec, node);
    for form in &forms {
        if allowed(context, &request, *form).await? {
            let name = request.metadata.name.clone().unwrap_or_default();
            let mut approved = (*request).clone();
            let conditions = approved.status.get_or_insert_default().conditions.get_or_insert_default();
            conditions.push(CertificateSigningRequestCondition {
                type_: "Approved".into(),
                status: "True".into(),
                reason: Some("AutoApproved".into()),
                message: Some(form.message().into()),
                ..Default::default()
            });
            let api = Api::<CertificateSigningRequest>::all(context.client.clone());
            api.replace_subresource("approval", &name, &PostParams::default(), &approved).await?;
            return Ok(());
        }
    }
    if forms.is_empty() {
        return Ok(());
    }
    Err(NotAllowed { name: request.metadata.name.clone().unwrap_or_default(), forms }.into())
}

async fn allowed(context: &Context, request: &CertificateSigningRequest, form: Form) -> kube::Result<bool> {
    let spec = &request.spec;
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: spec.username.clone(),
            uid: spec.uid.clone(),
            groups: spec.groups.clone(),
            extra: spec.extra.clone(),
            resource_attributes: Some(ResourceAttributes {
                group: Some("certificates.k8s.io".into()),
                resource: Some("certificatesigningrequests".into()),
                verb: Some("create".into()),
                subresource: Some(form.subresource().into()),
                ..Default::default()
            }),
            ..Default::default()
        },
        ..Default::default()
    };
    let answer = Api::all(context.client.clone()).create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}
