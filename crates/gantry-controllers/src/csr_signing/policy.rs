//! What the cluster's signers sign, and for how long.

use gantry_api::certificate_request::CertificateRequest;
use jiff::{SignedDuration, Timestamp};

use crate::kubelet_certificate::{check_client, check_serving};

/// The signers that the cluster's authority answers for.
pub(super) const SIGNERS: [&str; 4] = [
    "kubernetes.io/kube-apiserver-client",
    "kubernetes.io/kube-apiserver-client-kubelet",
    "kubernetes.io/kubelet-serving",
    "kubernetes.io/legacy-unknown",
];

/// Checks a request against the rules of its signer.
pub(super) fn check(signer: &str, request: &CertificateRequest, usages: &[String]) -> Result<(), String> {
    match signer {
        "kubernetes.io/kube-apiserver-client-kubelet" => {
            check_client(request, usages).map_err(|error| error.to_string())
        }
        "kubernetes.io/kubelet-serving" => check_serving(request, usages).map_err(|error| error.to_string()),
        "kubernetes.io/kube-apiserver-client" => {
            let known = |usage: &&String| {
                matches!(usage.as_str(), "client auth" | "digital signature" | "key encipherment")
            };
            if let Some(usage) = usages.iter().find(|usage| !known(usage)) {
                return Err(format!("invalid usage {usage:?} for the signer {signer}"));
            }
            let client = usages.iter().any(|usage| usage == "client auth");
            if client { Ok(()) } else { Err("usages did not match: client auth is required".into()) }
        }
        _ => Ok(()),
    }
}

/// When a certificate ends: as asked for, but neither later than the longest time nor after its issuer.
pub(super) fn not_after(
    seconds: Option<i32>,
    longest: SignedDuration,
    issuer: Timestamp,
    now: Timestamp,
) -> Timestamp {
    let asked = seconds.map_or(longest, |seconds| SignedDuration::from_secs(seconds.into()));
    (now + asked.min(longest)).min(issuer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let at = |second| Timestamp::from_second(second).unwrap_or_default();
        let year = SignedDuration::from_hours(24 * 365);
        let check =
            |asked, issuer, expect| assert_eq!(not_after(asked, year, at(issuer), at(1000)), at(expect));
        check(Some(600), i64::from(u32::MAX), 1600);
        check(Some(600), 1500, 1500);
        check(None, i64::from(u32::MAX), 1000 + 365 * 86_400);
        check(Some(i32::MAX), i64::from(u32::MAX), 1000 + 365 * 86_400);
    }

    #[test]
    fn client_usages() {
        let check = |usages: &[&str], expect: bool| {
            let usages: Vec<String> = usages.iter().map(ToString::to_string).collect();
            assert_eq!(check(SIGNERS[0], &CertificateRequest::default(), &usages).is_ok(), expect);
        };
        check(&["client auth"], true);
        check(&["client auth", "key encipherment"], true);
        check(&["digital signature"], false);
        check(&["client auth", "cert sign"], false);
    }
}
