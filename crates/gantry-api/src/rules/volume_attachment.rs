//! VolumeAttachment.

use gantry_json::Value;

use super::common::{dns_subdomain, drop_status, immutable, keep_status, text};
use super::{csi_driver, persistent_volume};
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The largest metadata of an attachment, in bytes.
const LARGEST_METADATA: usize = 256 << 10;
/// The longest message of an error, in bytes.
const LONGEST_MESSAGE: usize = 1024;

/// The rules.
pub const RULES: Rules = Rules {
    prepare_create: drop_status,
    prepare_update: keep_status,
    validate,
    validate_update: |new, old| {
        let mut errors = Vec::new();
        immutable(&Path::new("spec"), &new["spec"], &old["spec"], &mut errors);
        errors
    },
    validate_status: |new, _, _| {
        let mut errors = Vec::new();
        let (path, status) = (Path::new("status"), &new["status"]);
        let metadata = status["attachmentMetadata"].as_object().into_iter().flatten();
        let size: usize = metadata.map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
        if size > LARGEST_METADATA {
            errors.push(FieldError::too_long(&path.child("attachmentMetadata"), LARGEST_METADATA));
        }
        for key in ["attachError", "detachError"] {
            let (path, error) = (path.child(key), &status[key]);
            if text(error, "message").len() > LONGEST_MESSAGE {
                // The limit that is told is the other one, as upstream does.
                errors.push(FieldError::too_long(&path.child("message"), LARGEST_METADATA));
            }
            if error["errorCode"].as_i64().is_some_and(|code| code < 0) {
                let words = "must be between 0 and 2147483647, inclusive";
                errors.push(FieldError::invalid(&path.child("errorCode"), error["errorCode"].clone(), words));
            }
        }
        errors
    },
    ..Rules::NONE
};

fn validate(attachment: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (path, spec) = (Path::new("spec"), &attachment["spec"]);
    csi_driver::name(&path.child("attacher"), text(spec, "attacher"), &mut errors);
    let (at, source) = (path.child("source"), &spec["source"]);
    let (inline, volume) = (&source["inlineVolumeSpec"], &source["persistentVolumeName"]);
    let words = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    match (inline.is_object(), volume.as_str()) {
        (false, None) => errors.push(FieldError::required(&at, words)),
        (true, Some(_)) => errors.push(FieldError::forbidden(&at, words)),
        (false, Some("")) => errors.push(FieldError::required(
            &at.child("persistentVolumeName"),
            "must specify non empty persistentVolumeName",
        )),
        (false, Some(_)) => {}
        (true, None) => {
            persistent_volume::validate_inline(&at.child("inlineVolumeSpec"), inline, &mut errors)
        }
    }
    dns_subdomain(&path.child("nodeName"), text(spec, "nodeName"), &mut errors);
    if let Some(name) = volume.as_str() {
        dns_subdomain(&at.child("persistentVolumeName"), name, &mut errors);
    }
    errors
}
