//! Issues the certificates of approved requests with the cluster's authority, for the signers that
//! are the cluster's own.
//!
//! Flow: a request is approved; its form is checked against its signer's rules; the certificate, or
//! why there is none, is written into its status. Guarantee: a request gets one certificate.

mod authority;
mod certificate;
mod policy;

use std::sync::Arc;

use gantry_api::certificate_request::CertificateRequest;
use gantry_client::{Change, ObjectKey, WorkQueue, run_workers};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use kube::Api;
use kube::api::PostParams;

use crate::Context;
use authority::Authority;

/// Runs until shutdown. Without the authority's key there is nothing to do.
pub async fn run(context: Context) {
    let Some(key) = &context.config.ca_key else { return };
    let authority = match Authority::open(&context.config.root_ca, &key.0) {
        Ok(authority) => authority,
        Err(error) => {
            tracing::error!(%error, "no certificates are signed");
            return;
        }
    };
    let longest = context.config.certificate_lifetime;
    let requests = context.informers.get::<CertificateSigningRequest>();
    requests.synced().await;
    let queue = WorkQueue::new();
    let watch = requests.changes().each(|change| {
        if let Change::Applied { new, .. } = &change
            && is_waiting(new)
        {
            queue.add(ObjectKey::of(&new.metadata).name);
        }
    });
    let reconcile = async |name: String| {
        let request = requests.get(&ObjectKey::new("", &*name)).filter(|request| is_waiting(request));
        let Some(request) = request else { return Ok(None) };
        let answered = answer(&authority, &request, longest, Timestamp::now(), rand::random());
        let api = Api::<CertificateSigningRequest>::all(context.client.clone());
        api.replace_status(&name, &PostParams::default(), &answered).await?;
        Ok(None)
    };
    let work = run_workers("csrsigning", queue.clone(), 2, reconcile, context.shutdown.clone());
    tokio::join!(watch, work);
}

/// Whether the request waits for a certificate of ours.
fn is_waiting(request: &CertificateSigningRequest) -> bool {
    let Some(status) = &request.status else { return false };
    let has = |kind: &str| status.conditions.iter().flatten().any(|each| each.type_ == kind);
    let open = status.certificate.as_ref().is_none_or(|bytes| bytes.0.is_empty());
    open && has("Approved")
        && !has("Denied")
        && !has("Failed")
        && policy::SIGNERS.contains(&&*request.spec.signer_name)
}

/// The request with its certificate, or with the reason for which it gets none.
fn answer(
    authority: &Authority,
    request: &Arc<CertificateSigningRequest>,
    longest: SignedDuration,
    now: Timestamp,
    serial: [u8; 16],
) -> CertificateSigningRequest {
    let spec = &request.spec;
    let usages = spec.usages.as_deref().unwrap_or_default();
    let issued =
        CertificateRequest::parse(&spec.request.0).map_err(|error| error.to_string()).and_then(|parsed| {
            policy::check(&spec.signer_name, &parsed, usages)?;
            let until = policy::not_after(spec.expiration_seconds, longest, authority.not_after, now);
            certificate::issue(authority, &parsed.der, usages, (now, until), serial)
                .map_err(|error| error.to_string())
        });
    let mut answered = (**request).clone();
    let status = answered.status.get_or_insert_default();
    match issued {
        Ok(pem) => status.certificate = Some(ByteString(pem.into_bytes())),
        Err(message) => status.conditions.get_or_insert_default().push(CertificateSigningRequestCondition {
            type_: "Failed".into(),
            status: "True".into(),
            reason: Some("SignerValidationFailure".into()),
            message: Some(message),
            ..Default::default()
        }),
    }
    answered
}
