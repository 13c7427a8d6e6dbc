//! VolumeAttachment.

use super::common::{dns_subdomain, drop_status, immutable, keep_status, text};
use super::csi_driver;
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The rules.
pub const RULES: Rules = Rules {
    prepare_create: drop_status,
    prepare_update: keep_status,
    validate: |attachment| {
        let mut errors = Vec::new();
        let (path, spec) = (Path::new("spec"), &attachment["spec"]);
        csi_driver::name(&path.child("attacher"), text(spec, "attacher"), &mut errors);
        let (at, source) = (path.child("source"), &spec["source"]);
        let (inline, volume) = (source["inlineVolumeSpec"].is_object(), text(source, "persistentVolumeName"));
        let words = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
        if source["persistentVolumeName"].is_null() && !inline {
            errors.push(FieldError::required(&at, words));
        } else if !source["persistentVolumeName"].is_null() && inline {
            errors.push(FieldError::forbidden(&at, words));
        } else if !inline {
            match volume {
                "" => errors.push(FieldError::required(
                    &at.child("persistentVolumeName"),
                    "must specify non empty persistentVolumeName",
                )),
                name => dns_subdomain(&at.child("persistentVolumeName"), name, &mut errors),
            }
        }
        dns_subdomain(&path.child("nodeName"), text(spec, "nodeName"), &mut errors);
        errors
    },
    validate_update: |new, old| {
        let mut errors = Vec::new();
        immutable(&Path::new("spec"), &new["spec"], &old["spec"], &mut errors);
        errors
    },
    ..Rules::NONE
};
