//! CertificateSigningRequest. Who asked, and when conditions changed, is filled in by admission.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gantry_json::{Value, json};
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::common::{dns_label_faults, list, one_of, required_one_of, subdomain_faults, text};
use crate::certificate_request::CertificateRequest;
use crate::field::{FieldError, Path};
use crate::registry::Rules;

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
/// Conditions that only the approval sets.
const DECISIONS: [&str; 2] = ["Approved", "Denied"];

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
        } else {
            DECISIONS.into_iter().for_each(|kind| keep_conditions(new, old, kind));
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
    labelled(path, domain, dns_label_faults, errors);
    if !domain.contains('.') {
        let words = "should be a domain with at least two segments separated by dots";
        errors.push(FieldError::invalid(path, domain, words));
    }
    labelled(path, rest, subdomain_faults, errors);
    if name.len() > LONGEST_SIGNER {
        errors.push(FieldError::too_long(path, LONGEST_SIGNER));
    }
}

/// Tells what is wrong with the first bad label of a part of a signer's name.
fn labelled(path: &Path, part: &str, faults: fn(&str) -> Vec<String>, errors: &mut Vec<FieldError>) {
    let mut labels = part.split('.').map(|label| (label, faults(label)));
    if let Some((label, faults)) = labels.find(|(_, faults)| !faults.is_empty()) {
        let words = faults.into_iter().map(|fault| format!("validating label {label:?}: {fault}"));
        errors.extend(words.map(|words| FieldError::invalid(path, part, words)));
    }
}

/// The conditions of that type.
fn of_type<'a>(request: &'a Value, kind: &str) -> Vec<&'a Value> {
    list(&request["status"], "conditions").iter().filter(|each| each["type"] == kind).collect()
}

/// Leaves the conditions of that type as they were, where none was added or removed.
fn keep_conditions(new: &mut Value, old: &Value, kind: &str) {
    let before = of_type(old, kind);
    if before.len() != of_type(new, kind).len() {
        return;
    }
    let conditions = new["status"]["conditions"].as_array_mut().into_iter().flatten();
    conditions
        .filter(|each| each["type"] == kind)
        .zip(before)
        .for_each(|(each, before)| *each = before.clone());
}

fn validate_status(new: &Value, old: &Value, subresource: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let path = Path::new("status").child("conditions");
    conditions(&path, list(&new["status"], "conditions"), &mut errors);
    let at = Path::new("status").child("certificate");
    let (before, after) = (text(&old["status"], "certificate"), text(&new["status"], "certificate"));
    if before != after
        && let Err(why) = certificates(after)
    {
        errors.push(FieldError::invalid(&at, "<certificate data>", why));
    }
    let counts = |kind: &str| (of_type(old, kind).len(), of_type(new, kind).len());
    for kind in LASTING.into_iter().filter(|kind| counts(kind).1 < counts(kind).0) {
        let words = format!("updates may not remove a condition of type {kind:?}");
        errors.push(FieldError::forbidden(&path, words));
    }
    if subresource != "approval" {
        for kind in DECISIONS.into_iter().filter(|kind| counts(kind).1 > counts(kind).0) {
            let words = format!("updates may not add a condition of type {kind:?}");
            errors.push(FieldError::forbidden(&path, words));
        }
    }
    if before != after && !before.is_empty() {
        errors.push(FieldError::forbidden(&at, "updates may not modify existing certificate content"));
    }
    errors
}

fn conditions(path: &Path, conditions: &[Value], errors: &mut Vec<FieldError>) {
    for (at, condition) in conditions.iter().enumerate() {
        let (each, kind) = (path.index(at), text(condition, "type"));
        let earlier = |kind: &str| conditions[..at].iter().any(|other| text(other, "type") == kind);
        if kind.is_empty() {
            errors.push(FieldError::required(&each.child("type"), ""));
        }
        let statuses: &[&str] =
            if LASTING.contains(&kind) { &["True"] } else { &["False", "True", "Unknown"] };
        required_one_of(&each.child("status"), text(condition, "status"), statuses, errors);
        if (kind == "Approved" && earlier("Denied")) || (kind == "Denied" && earlier("Approved")) {
            let words = "Approved and Denied conditions are mutually exclusive";
            errors.push(FieldError::invalid(path, kind, words));
        }
        if earlier(kind) {
            errors.push(FieldError::duplicate(&each.child("type"), kind));
        }
    }
}

/// Checks that the base64 text holds certificates in PEM and no other block; none at all is fine.
fn certificates(text: &str) -> Result<(), String> {
    let pem = STANDARD.decode(text).map_err(|error| error.to_string())?;
    if pem.is_empty() {
        return Ok(());
    }
    let mut found = false;
    // What is no block is skipped over.
    for block in Pem::iter_from_buffer(&pem).map_while(Result::ok) {
        if block.label != "CERTIFICATE" {
            return Err(format!("only CERTIFICATE PEM blocks are allowed, found {:?}", block.label));
        }
        X509Certificate::from_der(&block.contents).map_err(|error| error.to_string())?;
        found = true;
    }
    match found {
        true => Ok(()),
        false => Err("must contain at least one CERTIFICATE PEM block".to_owned()),
    }
}
