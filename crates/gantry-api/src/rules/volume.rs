//! The volumes of pods.

use serde_json::Value;

use super::common::{list, one_of, required, text};
use super::persistent_volume_claim::{self, quantity};
use crate::field::{FieldError, Path};

const HOST_PATHS: &[&str] =
    &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

/// Checks what a volume comes from; `path` is the volume's.
pub(super) fn validate(path: &Path, volume: &Value, errors: &mut Vec<FieldError>) {
    let part = |key: &str| (path.child(key), &volume[key]);
    let (at, source) = part("hostPath");
    if source.is_object() {
        required(&at, source, "path", errors);
        if text(source, "path").split('/').any(|part| part == "..") {
            errors.push(FieldError::invalid(
                &at.child("path"),
                text(source, "path"),
                "must not contain '..'",
            ));
        }
        one_of(&at.child("type"), text(source, "type"), HOST_PATHS, errors);
    }
    let (at, source) = part("emptyDir");
    if quantity(&source["sizeLimit"]).is_some_and(|limit| limit.is_negative()) {
        let words = "SizeLimit field must be a valid resource quantity";
        errors.push(FieldError::forbidden(&at.child("sizeLimit"), words));
    }
    for (key, name) in
        [("secret", "secretName"), ("configMap", "name"), ("persistentVolumeClaim", "claimName")]
    {
        let (at, source) = part(key);
        if source.is_object() {
            required(&at, source, name, errors);
            items(&at, source, errors);
        }
    }
    let (at, source) = part("downwardAPI");
    if source.is_object() {
        mode(&at.child("defaultMode"), &source["defaultMode"], errors);
        downward(&at, source, errors);
    }
    let (at, source) = part("projected");
    if source.is_object() {
        projected(&at, source, errors);
    }
    let (at, source) = part("nfs");
    if source.is_object() {
        required(&at, source, "server", errors);
        if let Some(target) = required(&at, source, "path", errors)
            && !target.starts_with('/')
        {
            errors.push(FieldError::invalid(&at.child("path"), target, "must be an absolute path"));
        }
    }
    let (at, source) = part("csi");
    if source.is_object() {
        super::csi_driver::name(&at.child("driver"), text(source, "driver"), errors);
    }
    let (at, source) = part("ephemeral");
    if source.is_object() {
        let (at, template) = (at.child("volumeClaimTemplate"), &source["volumeClaimTemplate"]);
        match template.is_object() {
            true => persistent_volume_claim::validate_spec(&at.child("spec"), &template["spec"], errors),
            false => errors.push(FieldError::required(&at, "")),
        }
    }
}

fn mode(path: &Path, mode: &Value, errors: &mut Vec<FieldError>) {
    if mode.as_i64().is_some_and(|mode| !(0..=0o777).contains(&mode)) {
        let words = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.push(FieldError::invalid(path, mode.clone(), words));
    }
}

/// Checks where in a volume a file stands.
pub fn place(path: &Path, target: &str, errors: &mut Vec<FieldError>) {
    if target.starts_with('/') {
        errors.push(FieldError::invalid(path, target, "must be a relative path"));
    }
    if target.split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(path, target, "must not contain '..'"));
    } else if target.starts_with("..") {
        errors.push(FieldError::invalid(path, target, "must not start with '..'"));
    }
}

/// Checks which keys become which files.
fn items(path: &Path, source: &Value, errors: &mut Vec<FieldError>) {
    mode(&path.child("defaultMode"), &source["defaultMode"], errors);
    for (at, item) in list(source, "items").iter().enumerate() {
        let path = path.child("items").index(at);
        required(&path, item, "key", errors);
        if let Some(target) = required(&path, item, "path", errors) {
            place(&path.child("path"), target, errors);
        }
        mode(&path.child("mode"), &item["mode"], errors);
    }
}

fn downward(path: &Path, source: &Value, errors: &mut Vec<FieldError>) {
    for (at, item) in list(source, "items").iter().enumerate() {
        let path = path.child("items").index(at);
        if let Some(target) = required(&path, item, "path", errors) {
            place(&path.child("path"), target, errors);
        }
        mode(&path.child("mode"), &item["mode"], errors);
        match (item["fieldRef"].is_object(), item["resourceFieldRef"].is_object()) {
            (true, true) => errors.push(FieldError::invalid(
                &path,
                "resource",
                "fieldRef and resourceFieldRef can not be specified simultaneously",
            )),
            (false, false) => {
                let words = "one of fieldRef and resourceFieldRef is required";
                errors.push(FieldError::required(&path, words));
            }
            (true, false) => drop(required(&path.child("fieldRef"), &item["fieldRef"], "fieldPath", errors)),
            (false, true) => {
                let path = path.child("resourceFieldRef");
                required(&path, &item["resourceFieldRef"], "containerName", errors);
                required(&path, &item["resourceFieldRef"], "resource", errors);
            }
        }
    }
}

fn projected(path: &Path, volume: &Value, errors: &mut Vec<FieldError>) {
    mode(&path.child("defaultMode"), &volume["defaultMode"], errors);
    for (at, source) in list(volume, "sources").iter().enumerate() {
        let path = path.child("sources").index(at);
        for key in ["secret", "configMap"] {
            if source[key].is_object() {
                required(&path.child(key), &source[key], "name", errors);
                items(&path.child(key), &source[key], errors);
            }
        }
        if source["downwardAPI"].is_object() {
            downward(&path.child("downwardAPI"), &source["downwardAPI"], errors);
        }
        let token = &source["serviceAccountToken"];
        if token.is_object() {
            let path = path.child("serviceAccountToken");
            let life = &token["expirationSeconds"];
            if life.as_i64().is_some_and(|seconds| seconds < 600) {
                let words = "may not specify a duration less than 10 minutes";
                errors.push(FieldError::invalid(&path.child("expirationSeconds"), life.clone(), words));
            }
            if let Some(target) = required(&path, token, "path", errors) {
                place(&path.child("path"), target, errors);
            }
        }
    }
}
