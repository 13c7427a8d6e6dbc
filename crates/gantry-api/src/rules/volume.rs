//! The volumes of pods.

use std::collections::HashSet;

use gantry_json::{Map, Value};

use super::common::{default, dns_label, dns_subdomain, items, list, required, text};
use super::container_mounts::Volumes;
use super::persistent_volume_claim::{self, quantity};
use super::volume_source::{self, INITIATOR_TOO_LONG, ONLY_ONE, Owner, descending};
use super::{container, container_env};
use crate::field::{FieldError, Path};

/// What a volume can come from, in the order in which it is looked at.
const SOURCES: [&str; 30] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];
/// What of a pod files are told.
const FILE_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
/// The shortest life of a token, and the longest, in seconds.
const TOKEN_LIFE: (i64, i64) = (600, 1 << 32);

/// Sets the defaults of a volume.
pub(super) fn set_defaults(volume: &mut Map) {
    if volume.keys().all(|key| key == "name") {
        volume.insert("emptyDir".into(), Map::new().into());
    }
    volume_source::set_defaults(volume);
    for (kind, value) in volume.iter_mut().filter_map(|(kind, value)| Some((kind, value.as_object_mut()?))) {
        match kind.as_str() {
            "configMap" | "secret" => default(value, "defaultMode", 420),
            "projected" => {
                default(value, "defaultMode", 420);
                items(value, "sources").for_each(projection_defaults);
            }
            "downwardAPI" => {
                default(value, "defaultMode", 420);
                downward_defaults(value);
            }
            "ephemeral" => {
                if let Some(Value::Object(template)) = value.get_mut("volumeClaimTemplate")
                    && let Some(Value::Object(spec)) = template.get_mut("spec")
                {
                    persistent_volume_claim::set_spec_defaults(spec);
                }
            }
            "image" => {
                let reference = value.get("reference").and_then(Value::as_str).unwrap_or_default();
                let policy = container::pull_policy(reference);
                default(value, "pullPolicy", policy);
            }
            _ => {}
        }
    }
}

fn projection_defaults(source: &mut Map) {
    // Neither is served where its feature is off, which it is.
    source.remove("clusterTrustBundle");
    source.remove("podCertificate");
    if let Some(Value::Object(token)) = source.get_mut("serviceAccountToken") {
        default(token, "expirationSeconds", 3600);
    }
    if let Some(Value::Object(downward)) = source.get_mut("downwardAPI") {
        downward_defaults(downward);
    }
}

fn downward_defaults(volume: &mut Map) {
    for item in items(volume, "items") {
        if let Some(Value::Object(field)) = item.get_mut("fieldRef") {
            default(field, "apiVersion", "v1");
        }
    }
}

/// Checks a pod's volumes, and gives those that have nothing wrong; `pod` is the pod's name, where it is one.
pub(super) fn validate_all<'a>(
    path: &Path,
    volumes: &'a [Value],
    pod: Option<&str>,
    errors: &mut Vec<FieldError>,
) -> Volumes<'a> {
    let mut fine = Volumes::new();
    let pod = pod.filter(|pod| !pod.is_empty());
    let ephemeral = volumes.iter().filter(|volume| volume["ephemeral"].is_object());
    let made: HashSet<String> = pod
        .into_iter()
        .flat_map(|pod| ephemeral.clone().map(move |each| format!("{pod}-{}", text(each, "name"))))
        .collect();
    for (at, volume) in volumes.iter().enumerate() {
        let (path, name, before) = (path.index(at), text(volume, "name"), errors.len());
        validate(&path, volume, pod, errors);
        if let Some(name) = required(&path, volume, "name", errors) {
            dns_label(&path.child("name"), name, errors);
        }
        if fine.contains_key(name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
        if errors.len() == before {
            fine.insert(name, volume);
        }
        let claim = text(&volume["persistentVolumeClaim"], "claimName");
        if made.contains(claim) {
            let path = path.child("persistentVolumeClaim").child("claimName");
            let words = "must not reference a PVC that gets created for an ephemeral volume";
            errors.push(FieldError::invalid(&path, claim, words));
        }
    }
    fine
}

/// Checks what a volume comes from; `path` is the volume's.
fn validate(path: &Path, volume: &Value, pod: Option<&str>, errors: &mut Vec<FieldError>) {
    let mut present = SOURCES.into_iter().filter(|source| volume[*source].is_object());
    let Some(kind) = present.next() else {
        return errors.push(FieldError::required(path, "must specify a volume type"));
    };
    let (at, source) = (path.child(kind), &volume[kind]);
    match kind {
        "emptyDir" => {
            if quantity(&source["sizeLimit"]).is_some_and(|limit| limit.is_negative()) {
                let words = "SizeLimit field must be a valid resource quantity";
                errors.push(FieldError::forbidden(&at.child("sizeLimit"), words));
            }
        }
        "gitRepo" => {
            required(&at, source, "repository", errors);
            descending(&at.child("directory"), text(source, "directory"), errors);
        }
        "secret" => keys(&at, source, "secretName", errors),
        "configMap" => keys(&at, source, "name", errors),
        "persistentVolumeClaim" => drop(required(&at, source, "claimName", errors)),
        "downwardAPI" => {
            mode(&at.child("defaultMode"), &source["defaultMode"], errors);
            list(source, "items").iter().for_each(|file| downward_file(&at, file, errors));
        }
        "projected" => projected(&at, source, errors),
        "ephemeral" => ephemeral(path, &at, volume, pod, errors),
        "image" => {
            if pod.is_some() {
                required(&at, source, "reference", errors);
            }
            container::pull_policy_is_known(&at.child("pullPolicy"), text(source, "pullPolicy"), errors);
        }
        _ => volume_source::validate(path, kind, source, Owner::Pod, errors),
    }
    let iscsi = &volume["iscsi"];
    let name = text(volume, "name");
    if iscsi["initiatorName"].is_string() && name.len() + 1 + text(iscsi, "targetPortal").len() > 64 {
        errors.push(FieldError::invalid(&path.child("name"), name, INITIATOR_TOO_LONG));
    }
    for extra in present {
        // Upstream spells these two so.
        let shown = match extra {
            "cephfs" => "cephFS",
            "downwardAPI" => "downwarAPI",
            other => other,
        };
        errors.push(FieldError::forbidden(&path.child(shown), ONLY_ONE));
    }
}

fn ephemeral(path: &Path, at: &Path, volume: &Value, pod: Option<&str>, errors: &mut Vec<FieldError>) {
    let (at, template) = (at.child("volumeClaimTemplate"), &volume["ephemeral"]["volumeClaimTemplate"]);
    match template.is_object() {
        true => persistent_volume_claim::validate_template(&at, template, errors),
        false => errors.push(FieldError::required(&at, "")),
    }
    let name = text(volume, "name");
    if let Some(pod) = pod.filter(|_| !name.is_empty()) {
        let claim = format!("{pod}-{name}");
        let mut faults = Vec::new();
        dns_subdomain(path, &claim, &mut faults);
        for fault in faults {
            let words = format!("PVC name {claim:?}: {}", fault.detail);
            errors.push(FieldError::invalid(&path.child("name"), name, words));
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
    descending(path, target, errors);
    if target.starts_with("..") && !target.starts_with("../") {
        errors.push(FieldError::invalid(path, target, "must not start with '..'"));
    }
}

/// Checks a source whose keys become files; `name` is the field that names it.
fn keys(path: &Path, source: &Value, name: &str, errors: &mut Vec<FieldError>) {
    required(path, source, name, errors);
    mode(&path.child("defaultMode"), &source["defaultMode"], errors);
    for (at, item) in list(source, "items").iter().enumerate() {
        key_to_path(&path.child("items").index(at), item, errors);
    }
}

fn key_to_path(path: &Path, item: &Value, errors: &mut Vec<FieldError>) {
    required(path, item, "key", errors);
    required(path, item, "path", errors);
    place(&path.child("path"), text(item, "path"), errors);
    mode(&path.child("mode"), &item["mode"], errors);
}

/// Checks a file of what a pod is told; upstream tells faults at the volume.
fn downward_file(path: &Path, file: &Value, errors: &mut Vec<FieldError>) {
    required(path, file, "path", errors);
    place(&path.child("path"), text(file, "path"), errors);
    let (field, resource) = (&file["fieldRef"], &file["resourceFieldRef"]);
    match (field.is_object(), resource.is_object()) {
        (true, both) => {
            container_env::field(&path.child("fieldRef"), field, FILE_FIELDS, errors);
            if both {
                let words = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.push(FieldError::invalid(path, "resource", words));
            }
        }
        (false, true) => {
            container_env::resource_field(&path.child("resourceFieldRef"), resource, true, errors);
        }
        (false, false) => {
            errors.push(FieldError::required(path, "one of fieldRef and resourceFieldRef is required"));
        }
    }
    mode(&path.child("mode"), &file["mode"], errors);
}

fn projected(path: &Path, volume: &Value, errors: &mut Vec<FieldError>) {
    mode(&path.child("defaultMode"), &volume["defaultMode"], errors);
    let mut paths: HashSet<String> = HashSet::new();
    for (at, source) in list(volume, "sources").iter().enumerate() {
        let at = path.child("sources").index(at);
        let mut count = 0;
        let mut take = |target: &str, shown: &str, errors: &mut Vec<FieldError>| {
            if !target.is_empty() && !paths.insert(target.to_owned()) {
                errors.push(FieldError::invalid(path, shown, "conflicting duplicate paths"));
            }
        };
        for kind in ["secret", "configMap"].into_iter().filter(|kind| source[*kind].is_object()) {
            count += 1;
            let (at, keyed) = (at.child(kind), &source[kind]);
            required(&at, keyed, "name", errors);
            for (index, item) in list(keyed, "items").iter().enumerate() {
                key_to_path(&at.child("items").index(index), item, errors);
                take(text(item, "path"), text(keyed, "name"), errors);
            }
        }
        if source["downwardAPI"].is_object() {
            count += 1;
            for file in list(&source["downwardAPI"], "items") {
                downward_file(&at.child("downwardAPI"), file, errors);
                take(text(file, "path"), text(file, "path"), errors);
            }
        }
        if source["serviceAccountToken"].is_object() {
            count += 1;
            token(path, &at.child("serviceAccountToken"), &source["serviceAccountToken"], errors);
        }
        if count > 1 {
            let words = "may not specify more than 1 volume type per source";
            errors.push(FieldError::forbidden(&at, words));
        }
    }
}

/// Checks for how long a token is asked, here or by a driver.
pub(super) fn token_life(path: &Path, token: &Value, errors: &mut Vec<FieldError>) {
    let (at, life) = (path.child("expirationSeconds"), &token["expirationSeconds"]);
    let words = match life.as_i64() {
        Some(seconds) if seconds < TOKEN_LIFE.0 => "may not specify a duration less than 10 minutes",
        Some(seconds) if seconds > TOKEN_LIFE.1 => "may not specify a duration larger than 2^32 seconds",
        _ => return,
    };
    errors.push(FieldError::invalid(&at, life.clone(), words));
}

fn token(volume: &Path, path: &Path, token: &Value, errors: &mut Vec<FieldError>) {
    token_life(path, token, errors);
    // The path of a token is told at the volume.
    if let Some(target) = required(volume, token, "path", errors) {
        place(&volume.child("path"), target, errors);
    }
}
