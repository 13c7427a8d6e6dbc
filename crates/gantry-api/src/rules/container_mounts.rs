//! Where containers find the volumes of their pod: as directories, or as devices.

use std::collections::BTreeMap;

use gantry_json::Value;

use super::common::{list, one_of, text};
use super::volume_source::{descending, no_backsteps};
use crate::field::{FieldError, Path};

/// The volumes of a pod that have nothing wrong, by name.
pub(super) type Volumes<'a> = BTreeMap<&'a str, &'a Value>;

/// Checks a container's mounts and devices.
pub(super) fn validate(path: &Path, container: &Value, volumes: &Volumes<'_>, errors: &mut Vec<FieldError>) {
    let (mounts, devices) = (list(container, "volumeMounts"), list(container, "volumeDevices"));
    let at = path.child("volumeMounts");
    for (index, mount) in mounts.iter().enumerate() {
        let place = &at.index(index);
        taken(place, mount, ("mountPath", &mounts[..index]), volumes, errors);
        beside(place, mount, ("mountPath", devices, "devicePath", "volumeDevices"), errors);
        sub_paths(&at, place, mount, errors);
        propagation(&at.child("mountPropagation"), mount, container, errors);
        recursive_read_only(&at.child("recursiveReadOnly"), mount, errors);
    }
    let at = path.child("volumeDevices");
    for (index, device) in devices.iter().enumerate() {
        validate_device(&at.index(index), device, &devices[..index], volumes, errors);
        beside(&at.index(index), device, ("devicePath", mounts, "mountPath", "volumeMounts"), errors);
    }
}

/// Checks the name and the place of a mount.
fn taken(
    path: &Path,
    mount: &Value,
    (field, before): (&str, &[Value]),
    volumes: &Volumes<'_>,
    errors: &mut Vec<FieldError>,
) {
    let (name, target) = (text(mount, "name"), text(mount, field));
    if name.is_empty() {
        errors.push(FieldError::required(&path.child("name"), ""));
    }
    if !volumes.contains_key(name) {
        errors.push(FieldError::not_found(&path.child("name"), name));
    }
    if target.is_empty() {
        errors.push(FieldError::required(&path.child(field), ""));
    }
    if before.iter().any(|other| text(other, field) == target) {
        errors.push(FieldError::invalid(&path.child(field), target, "must be unique"));
    }
}

/// Checks that nothing is both mounted and a device.
fn beside(
    path: &Path,
    each: &Value,
    (field, others, their_field, their_list): (&str, &[Value], &str, &str),
    errors: &mut Vec<FieldError>,
) {
    let (name, target) = (text(each, "name"), text(each, field));
    if others.iter().any(|other| text(other, "name") == name) {
        let words = format!("must not already exist in {their_list}");
        errors.push(FieldError::invalid(&path.child("name"), name, words));
    }
    if others.iter().any(|other| text(other, their_field) == target) {
        let words = format!("must not already exist as a path in {their_list}");
        errors.push(FieldError::invalid(&path.child(field), target, words));
    }
}

/// Checks which part of a volume is mounted; upstream tells some of it at the list.
fn sub_paths(all: &Path, path: &Path, mount: &Value, errors: &mut Vec<FieldError>) {
    let (plain, expression) = (text(mount, "subPath"), text(mount, "subPathExpr"));
    if !plain.is_empty() {
        descending(&all.child("subPath"), plain, errors);
    }
    if !expression.is_empty() {
        if !plain.is_empty() {
            let words = "subPathExpr and subPath are mutually exclusive";
            errors.push(FieldError::invalid(&path.child("subPathExpr"), expression, words));
        }
        descending(&all.child("subPathExpr"), expression, errors);
    }
}

fn propagation(path: &Path, mount: &Value, container: &Value, errors: &mut Vec<FieldError>) {
    let Some(propagation) = mount["mountPropagation"].as_str() else { return };
    one_of(path, propagation, &["Bidirectional", "HostToContainer", "None"], errors);
    if propagation == "Bidirectional" && container["securityContext"]["privileged"] != true {
        let words = "Bidirectional mount propagation is available only to privileged containers";
        errors.push(FieldError::forbidden(path, words));
    }
}

fn recursive_read_only(path: &Path, mount: &Value, errors: &mut Vec<FieldError>) {
    let Some(recursive) = mount["recursiveReadOnly"].as_str() else { return };
    match recursive {
        "Disabled" => {}
        "Enabled" | "IfPossible" => {
            if mount["readOnly"] != true {
                errors.push(FieldError::forbidden(path, "may only be specified when readOnly is true"));
            }
            if !matches!(text(mount, "mountPropagation"), "" | "None") {
                let words = "may only be specified when mountPropagation is None or not specified";
                errors.push(FieldError::forbidden(path, words));
            }
        }
        other => errors.push(FieldError::not_supported(path, other, &["Disabled", "Enabled", "IfPossible"])),
    }
}

fn validate_device(
    path: &Path,
    device: &Value,
    before: &[Value],
    volumes: &Volumes<'_>,
    errors: &mut Vec<FieldError>,
) {
    let (name, target) = (text(device, "name"), text(device, "devicePath"));
    let (at, place) = (path.child("name"), path.child("devicePath"));
    if name.is_empty() {
        errors.push(FieldError::required(&at, ""));
    }
    let mut refuse = |path: &Path, value: &str, words: &str| {
        errors.push(FieldError::invalid(path, value, words));
    };
    if !name.is_empty() && before.iter().any(|other| text(other, "name") == name) {
        refuse(&at, name, "must be unique");
    }
    let block =
        |volume: &Value| volume["persistentVolumeClaim"].is_object() || volume["ephemeral"].is_object();
    match volumes.get(name) {
        None => errors.push(FieldError::not_found(&at, name)),
        Some(volume) if !block(volume) => {
            let words =
                "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
            refuse(&at, name, words);
        }
        Some(_) => {}
    }
    if target.is_empty() {
        errors.push(FieldError::required(&place, ""));
    }
    let mut back = Vec::new();
    no_backsteps(&place, target, &mut back);
    if before.iter().any(|other| text(other, "devicePath") == target) {
        errors.push(FieldError::invalid(&place, target, "must be unique"));
    }
    if !back.is_empty() {
        errors.push(FieldError::invalid(&place, target, "can not contain backsteps ('..')"));
    }
}
