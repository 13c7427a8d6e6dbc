//! CertificateSigningRequest. Who asked, and when conditions changed, is filled in by admission.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::common::{list, one_of, text};
use crate::certificate_request::CertificateRequest;
use crate::field::{FieldError, Path};
use crate::registry::Rules;
use crate::rules::common::{DNS_LABEL, DNS_SUBDOMAIN};
use crate::selector::{is_dns_label, is_dns_subdomain};

/// The usages that a certificate can have.
pub const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

const LEGACY: &str = "kubernetes.io/legacy-unknown";
/// Domain, slash and path: subdomain, label and subdomain.
const LONGEST_SIGNER: usize = 253 + 1 + 63 + 1 + 253;
/// Conditions that stay once they are there.
const LASTING: [&str; 3] = ["Approved", "Denied", "Failed"];

/// The rules.
pub const RULES: Rules = Rules {
    prepare_create: |request| request["status"] = json!({}),
    // A request is what it was made as; the rest belongs to subresources.
    prepare_update: |new, old| {
        new["spec"] = old["spec"].clone();
        new["status"] = old["status"].clone();
    },
    prepare_status: |new, old, subresource| {
        if subresource == "approval" {
            match old["status"].get("certificate") {
                Some(certificate) => new["status"]["certificate"] = certificate.clone(),
                None => drop(new["status"].as_object_mut().map(|status| status.remove("certificate"))),
            }
        }
    },
    validate,
    validate_status,
    selectable: |request| vec![("spec.signerName", text(&request["spec"], "signerName").into())],
    ..Rules::NONE
};

fn validate(request: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (path, spec) = (Path::new("spec"), &request["spec"]);
    let pem = STANDARD.decode(text(spec, "request")).unwrap_or_default();
    if let Err(error) = CertificateRequest::parse(&pem) {
        errors.push(FieldError::invalid(&path.child("request"), spec["request"].clone(), error.to_string()));
    }
    let usages = list(spec, "usages");
    if usages.is_empty() {
        errors.push(FieldError::required(&path.child("usages"), ""));
    }
    for (at, usage) in usages.iter().enumerate() {
        let path = path.child("usages").index(at);
        one_of(&path, usage.as_str().unwrap_or_default(), USAGES, &mut errors);
        if usages[..at].contains(usage) {
            errors.push(FieldError::duplicate(&path, usage.clone()));
        }
    }
    signer(&path.child("signerName"), text(spec, "signerName"), &mut errors);
    let expiration = &spec["expirationSeconds"];
    if expiration.as_i64().is_some_and(|seconds| seconds < 600) {
        errors.push(FieldError::invalid(
            &path.child("expirationSeconds"),
            expiration.clone(),
            "may not specify a duration less than 600 seconds (10 minutes)",
        ));
    }
    errors
}

fn signer(path: &Path, name: &str, errors: &mut Vec<FieldError>) {
    if name.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    if name == LEGACY {
        let words = "the legacy signerName is not allowed via this API version";
        errors.push(FieldError::invalid(path, name, words));
        return;
    }
    let Some((domain, rest)) = name.split_once('/').filter(|(_, rest)| !rest.contains('/')) else {
        let words = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        errors.push(FieldError::invalid(path, name, words));
        return;
    };
    if domain.len() > 253 {
        errors.push(FieldError::too_long(path, 253));
    }
    let labelled = |label: &str, words: &str| format!("validating label {label:?}: {words}");
    if let Some(label) = domain.split('.').find(|label| !is_dns_label(label)) {
        errors.push(FieldError::invalid(path, domain, labelled(label, DNS_LABEL)));
    }
    if !domain.contains('.') {
        let words = "should be a domain with at least two segments separated by dots";
        errors.push(FieldError::invalid(path, domain, words));
    }
    if let Some(label) = rest.split('.').find(|label| !is_dns_subdomain(label)) {
        errors.push(FieldError::invalid(path, rest, labelled(label, DNS_SUBDOMAIN)));
    }
    if name.len() > LONGEST_SIGNER {
        errors.push(FieldError::too_long(path, LONGEST_SIGNER));
    }
}

fn validate_status(new: &Value, old: &Value, subresource: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let path = Path::new("status").child("conditions");
    let conditions = list(&new["status"], "conditions");
    let has = |object: &Value, kind: &str| {
        list(&object["status"], "conditions").iter().any(|each| each["type"] == kind)
    };
    for (at, condition) in conditions.iter().enumerate() {
        let path = path.index(at);
        let kind = text(condition, "type");
        let statuses: &[&str] =
            if LASTING.contains(&kind) { &["True"] } else { &["False", "True", "Unknown"] };
        match text(condition, "status") {
            "" => errors.push(FieldError::required(&path.child("status"), "")),
            status => one_of(&path.child("status"), status, statuses, &mut errors),
        }
        if kind.is_empty() {
            errors.push(FieldError::required(&path.child("type"), ""));
        }
        if conditions[..at].iter().any(|each| each["type"] == kind) {
            errors.push(FieldError::duplicate(&path.child("type"), kind));
        }
    }
    if has(new, "Approved") && has(new, "Denied") {
        let words = "Approved and Denied conditions are mutually exclusive";
        errors.push(FieldError::invalid(&path, "Denied", words));
    }
    for kind in LASTING {
        match (has(old, kind), has(new, kind)) {
            (true, false) => errors.push(FieldError::forbidden(
                &path,
                format!("updates may not remove a condition of type {kind:?}"),
            )),
            (false, true) if kind != "Failed" && subresource != "approval" => errors.push(
                FieldError::forbidden(&path, format!("updates may not add a condition of type {kind:?}")),
            ),
            _ => {}
        }
    }
    let path = Path::new("status").child("certificate");
    let (before, after) = (text(&old["status"], "certificate"), text(&new["status"], "certificate"));
    if before != after && !before.is_empty() {
        errors.push(FieldError::forbidden(&path, "updates may not modify existing certificate content"));
    } else if before != after && !is_certificate(after) {
        errors.push(FieldError::invalid(&path, "<certificate data>", "must be PEM-encoded certificates"));
    }
    errors
}

/// Whether the base64 text holds certificates in PEM and nothing else.
fn is_certificate(text: &str) -> bool {
    let Ok(pem) = STANDARD.decode(text) else { return false };
    let mut blocks = Pem::iter_from_buffer(&pem).peekable();
    let certificate =
        |block: &Pem| block.label == "CERTIFICATE" && X509Certificate::from_der(&block.contents).is_ok();
    blocks.peek().is_some() && blocks.all(|block| block.is_ok_and(|block| certificate(&block)))
}
