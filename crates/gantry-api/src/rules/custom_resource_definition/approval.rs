//! Groups of the Kubernetes community need its approval, written in an annotation.

use gantry_json::Value;

use crate::custom::is_request_uri;
use crate::field::{FieldError, Path};
use crate::rules::common::text;

const ANNOTATION: &str = "api-approved.kubernetes.io";
const SEE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";

/// What the annotation says.
#[derive(PartialEq, Eq)]
enum Approval {
    Invalid,
    Approved,
    Bypassed,
    Missing,
}

fn approval(definition: &Value) -> Approval {
    match text(&definition["metadata"]["annotations"], ANNOTATION) {
        "" => Approval::Missing,
        text if text.starts_with("unapproved") => Approval::Bypassed,
        text if is_request_uri(text)
            && text.split_once("://").is_some_and(|(scheme, rest)| {
                !scheme.is_empty() && !rest.is_empty() && !rest.starts_with(['/', '?'])
            }) =>
        {
            Approval::Approved
        }
        _ => Approval::Invalid,
    }
}

/// Checks the approval, which an update may leave as it was.
pub(super) fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let group = text(&new["spec"], "group");
    let of =
        |domain: &str| group.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    let found = approval(new);
    if !(of("k8s.io") || of("kubernetes.io")) || old.is_some_and(|old| approval(old) == found) {
        return Vec::new();
    }
    let path = Path::new("metadata").child("annotations").key(ANNOTATION);
    match found {
        Approval::Approved | Approval::Bypassed => Vec::new(),
        Approval::Missing => {
            let words = format!("protected groups must have approval annotation {ANNOTATION:?}, {SEE}");
            vec![FieldError::required(&path, words)]
        }
        Approval::Invalid => {
            let words = format!(
                "protected groups must have approval annotation {ANNOTATION:?} with either a URL or a reason starting with \"unapproved\", {SEE}"
            );
            let shown = text(&new["metadata"]["annotations"], ANNOTATION);
            vec![FieldError::invalid(&path, shown, words)]
        }
    }
}
