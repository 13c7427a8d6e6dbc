//! How objects become other versions of themselves.

use gantry_json::Value;

use super::{is_established, required_one_of};
use crate::field::{FieldError, Path};
use crate::rules::common::{dns_1035, list, text};
use crate::rules::webhook_configuration::client;

/// The versions of reviews that the server sends.
const REVIEWS: [&str; 2] = ["v1", "v1beta1"];

pub(super) fn validate(path: &Path, conversion: &Value, errors: &mut Vec<FieldError>) {
    let strategy = text(conversion, "strategy");
    required_one_of(&path.child("strategy"), strategy, &["None", "Webhook"], errors);
    let webhook = &conversion["webhook"];
    let (to, reviews) = (path.child("webhookClientConfig"), path.child("conversionReviewVersions"));
    let versions = list(webhook, "conversionReviewVersions");
    if strategy != "Webhook" {
        let words = "should not be set when strategy is not set to Webhook";
        if webhook["clientConfig"].is_object() {
            errors.push(FieldError::forbidden(&to, words));
        }
        if !versions.is_empty() {
            errors.push(FieldError::forbidden(&reviews, words));
        }
        return;
    }
    if webhook["clientConfig"].is_object() {
        client(&to, &webhook["clientConfig"], errors);
    } else {
        errors.push(FieldError::required(&to, "required when strategy is set to Webhook"));
    }
    if versions.is_empty() {
        errors.push(FieldError::required(&reviews, ""));
        return;
    }
    for (at, version) in versions.iter().enumerate() {
        let name = version.as_str().unwrap_or_default();
        if versions[..at].contains(version) {
            errors.push(FieldError::invalid(&reviews.index(at), name, "duplicate version"));
        } else {
            dns_1035(&reviews.index(at), name, errors);
        }
    }
    if !versions.iter().any(|version| REVIEWS.iter().any(|known| version == known)) {
        let words = format!("must include at least one of {}", REVIEWS.join(", "));
        errors.push(FieldError::invalid(&reviews, versions.to_vec(), words));
    }
}

/// The authority that a webhook is known by may be missing until the kind is served, and what was
/// wrong with it may stay.
pub(super) fn validate_update(path: &Path, new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let bundle = |definition: &Value| {
        text(&definition["spec"]["conversion"]["webhook"]["clientConfig"], "caBundle").to_owned()
    };
    let (found, before) = (bundle(new), bundle(old));
    if found.is_empty() || !is_established(old) || (!before.is_empty() && fault(&before).is_some()) {
        return;
    }
    if let Some(words) = fault(&found) {
        let at = path.child("webhookClientConfig").child("caBundle");
        errors.push(FieldError::invalid(&at, found, words));
    }
}

/// Why a bundle, in base64, holds no certificates.
fn fault(bundle: &str) -> Option<String> {
    use base64::Engine as _;
    let plain = joined_lines(bundle);
    let bytes = base64::engine::general_purpose::STANDARD.decode(plain).unwrap_or_default();
    let mut count = 0;
    for pem in x509_parser::pem::Pem::iter_from_buffer(&bytes) {
        match pem {
            Ok(pem) if pem.label == "CERTIFICATE" => match pem.parse_x509() {
                Ok(_) => count += 1,
                Err(error) => return Some(format!("unable to load root certificates: {error}")),
            },
            Ok(_) => {}
            Err(_) => break,
        }
    }
    (count == 0).then(|| "unable to load root certificates: unable to parse bytes as PEM block".to_owned())
}

fn joined_lines(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_whitespace()).collect()
}
