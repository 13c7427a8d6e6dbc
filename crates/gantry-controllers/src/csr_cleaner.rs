//! Removes signing requests that nobody needs any longer: decided ones after an hour, others after a
//! day, and those whose certificate has expired.
//!
//! Flow: every change of a request sets the time at which it goes; there is no sweep.

use std::time::Duration;

use gantry_client::{Change, ObjectKey, WorkQueue, run_workers};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::Context;

const DECIDED: SignedDuration = SignedDuration::from_hours(1);
const PENDING: SignedDuration = SignedDuration::from_hours(24);

/// Runs until shutdown.
pub async fn run(context: Context) {
    let requests = context.informers.get::<CertificateSigningRequest>();
    requests.synced().await;
    let queue = WorkQueue::new();
    let watch = requests.changes().each(|change| {
        if let Change::Applied { new, .. } = &change {
            queue.add(ObjectKey::of(&new.metadata).name);
        }
    });
    let reconcile = async |name: String| {
        let Some(request) = requests.get(&ObjectKey::new("", &*name)) else { return Ok(None) };
        let left = expires(&request).duration_since(Timestamp::now());
        if left.is_positive() {
            return Ok(Some(Duration::try_from(left)?));
        }
        let uid = request.metadata.uid.clone();
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid, resource_version: None }),
            ..DeleteParams::default()
        };
        match Api::<CertificateSigningRequest>::all(context.client.clone()).delete(&name, &params).await {
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(None),
            other => Ok(other.map(|_| None)?),
        }
    };
    let work = run_workers("csrcleaner", queue.clone(), 1, reconcile, context.shutdown.clone());
    tokio::join!(watch, work);
}

/// When the request is to be removed.
fn expires(request: &CertificateSigningRequest) -> Timestamp {
    let created = request.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let status = request.status.clone().unwrap_or_default();
    let issued = status.certificate.as_ref().filter(|bytes| !bytes.0.is_empty());
    let of_conditions = status.conditions.iter().flatten().filter_map(|condition| {
        let updated = condition.last_update_time.as_ref().map_or(created, |time| time.0);
        match condition.type_.as_str() {
            "Denied" | "Failed" => Some(updated + DECIDED),
            "Approved" if issued.is_some() => Some(updated + DECIDED),
            "Approved" => Some(updated + PENDING),
            _ => None,
        }
    });
    let ends = issued.and_then(|bytes| not_after(&bytes.0));
    of_conditions.chain(ends).min().unwrap_or(created + PENDING)
}

fn not_after(pem: &[u8]) -> Option<Timestamp> {
    let (_, block) = x509_parser::pem::parse_x509_pem(pem).ok()?;
    let (_, certificate) = X509Certificate::from_der(&block.contents).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use k8s_openapi::api::certificates::v1::{
        CertificateSigningRequestCondition, CertificateSigningRequestStatus,
    };
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    #[test]
    fn each_state_has_its_time() {
        let at = |second| Timestamp::from_second(second).unwrap_or_default();
        let check = |kind: Option<&str>, issued: bool, expect: i64| {
            let condition = kind.map(|kind| CertificateSigningRequestCondition {
                type_: kind.into(),
                last_update_time: Some(Time(at(5000))),
                ..Default::default()
            });
            let mut request = CertificateSigningRequest::default();
            request.metadata.creation_timestamp = Some(Time(at(1000)));
            request.status = Some(CertificateSigningRequestStatus {
                certificate: issued.then(|| ByteString(b"x".to_vec())),
                conditions: condition.map(|condition| vec![condition]),
            });
            assert_eq!(expires(&request), at(expect), "{kind:?}");
        };
        check(None, false, 1000 + 86_400);
        check(Some("Approved"), false, 5000 + 86_400);
        check(Some("Approved"), true, 5000 + 3600);
        check(Some("Denied"), false, 5000 + 3600);
        check(Some("Failed"), false, 5000 + 3600);
    }
}
