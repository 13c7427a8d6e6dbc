//! PersistentVolume.

use serde_json::{Map, Value, json};

use super::common::{
    default, dns_subdomain, immutable, keep_status, list, object, one_of, required, restore, text,
};
use super::persistent_volume_claim::{above_zero, access_modes};
use crate::diff::diff;
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// What a volume can come from.
const SOURCES: [&str; 22] = [
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "csi",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "glusterfs",
    "hostPath",
    "iscsi",
    "local",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
];

/// The rules.
pub const RULES: Rules = Rules {
    default: |volume| {
        let Some(volume) = volume.as_object_mut() else { return };
        default(object(volume, "status"), "phase", "Pending");
        let spec = object(volume, "spec");
        default(spec, "persistentVolumeReclaimPolicy", "Retain");
        default(spec, "volumeMode", "Filesystem");
        source_defaults(spec);
    },
    prepare_create: |volume| {
        volume["status"] = json!({"phase": "Pending",
            "lastPhaseTransitionTime": volume["metadata"]["creationTimestamp"]});
    },
    prepare_update: keep_status,
    validate,
    validate_update: |new, old| {
        let mut errors = Vec::new();
        let (path, spec, before) = (Path::new("spec"), &new["spec"], &old["spec"]);
        let mut other = spec.clone();
        let fields = spec.as_object().into_iter().chain(before.as_object()).flat_map(Map::keys);
        for field in fields.filter(|field| !SOURCES.contains(&field.as_str())) {
            restore(&mut other, before, field);
        }
        // Secrets of a CSI volume may be named later.
        if let Some(secrets) = other.get_mut("csi") {
            restore(secrets, &before["csi"], "controllerExpandSecretRef");
            restore(secrets, &before["csi"], "nodeExpandSecretRef");
        }
        if other != *before {
            let source = |spec: &Value| -> Value {
                let fields = spec.as_object().into_iter().flatten();
                let sources = fields.filter(|(field, _)| SOURCES.contains(&field.as_str()));
                sources.map(|(field, value)| (field.clone(), value.clone())).collect::<Map<_, _>>().into()
            };
            let words = "spec.persistentvolumesource is immutable after creation";
            let words = format!("{words}\n{}", diff(&source(before), &source(&other)));
            errors.push(FieldError::forbidden(&path.child("persistentvolumesource"), words));
        }
        immutable(&path.child("volumeMode"), &spec["volumeMode"], &before["volumeMode"], &mut errors);
        if !before["nodeAffinity"].is_null() {
            let at = path.child("nodeAffinity");
            immutable(&at, &spec["nodeAffinity"], &before["nodeAffinity"], &mut errors);
        }
        errors
    },
    ..Rules::NONE
};

fn source_defaults(spec: &mut Map<String, Value>) {
    let defaults: [(&str, &[(&str, Value)]); 5] = [
        ("hostPath", &[("type", json!(""))]),
        ("iscsi", &[("iscsiInterface", json!("default"))]),
        ("rbd", &[("pool", json!("rbd")), ("user", json!("admin")), ("keyring", json!("/etc/ceph/keyring"))]),
        (
            "azureDisk",
            &[
                ("cachingMode", json!("ReadWrite")),
                ("kind", json!("Shared")),
                ("fsType", json!("ext4")),
                ("readOnly", json!(false)),
            ],
        ),
        ("scaleIO", &[("storageMode", json!("ThinProvisioned")), ("fsType", json!("xfs"))]),
    ];
    for (source, fields) in defaults {
        if let Some(Value::Object(source)) = spec.get_mut(source) {
            fields.iter().for_each(|(field, value)| default(source, field, value.clone()));
        }
    }
}

fn validate(volume: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (path, spec) = (Path::new("spec"), &volume["spec"]);
    access_modes(&path.child("accessModes"), list(spec, "accessModes"), &mut errors);
    let at = path.child("capacity");
    match spec["capacity"].as_object() {
        None => errors.push(FieldError::required(&at, "")),
        Some(capacity) if capacity.is_empty() => errors.push(FieldError::required(&at, "")),
        Some(capacity) => {
            if capacity.len() > 1 || !capacity.contains_key("storage") {
                let shown = spec["capacity"].clone();
                errors.push(FieldError::not_supported(&at, shown, &["storage"]));
            }
            capacity.iter().for_each(|(name, amount)| above_zero(&at.key(name), amount, &mut errors));
        }
    }
    let present: Vec<&str> = SOURCES.into_iter().filter(|source| spec[*source].is_object()).collect();
    match present.as_slice() {
        [] => errors.push(FieldError::required(&path, "must specify a volume type")),
        [source, rest @ ..] => {
            source_faults(&path.child(source), source, &spec[*source], &mut errors);
            let words = "may not specify more than 1 volume type";
            errors.extend(rest.iter().map(|extra| FieldError::forbidden(&path.child(extra), words)));
        }
    }
    affinity(&path, volume, &mut errors);
    let policy = text(spec, "persistentVolumeReclaimPolicy");
    let at = path.child("persistentVolumeReclaimPolicy");
    one_of(&at, policy, &["Delete", "Recycle", "Retain"], &mut errors);
    if text(&spec["hostPath"], "path") == "/" && policy == "Recycle" {
        errors.push(FieldError::forbidden(&at, "may not be 'recycle' for a hostPath mount of '/'"));
    }
    for key in ["storageClassName", "volumeAttributesClassName"] {
        if !text(spec, key).is_empty() {
            dns_subdomain(&path.child(key), text(spec, key), &mut errors);
        }
    }
    one_of(&path.child("volumeMode"), text(spec, "volumeMode"), &["Block", "Filesystem"], &mut errors);
    errors
}

fn affinity(path: &Path, volume: &Value, errors: &mut Vec<FieldError>) {
    let spec = &volume["spec"];
    let required = &spec["nodeAffinity"]["required"];
    let path = path.child("nodeAffinity").child("required");
    if spec["nodeAffinity"].is_object() && !required.is_object() {
        errors.push(FieldError::required(&path, "must specify required node constraints"));
    } else if required.is_object() {
        super::placement::node_selector(&path, required, errors);
    }
    if spec["local"].is_object() && !spec["nodeAffinity"].is_object() {
        let path = Path::new("metadata").child("annotations");
        errors.push(FieldError::required(&path, "Local volume requires node affinity"));
    }
}

fn source_faults(path: &Path, kind: &str, source: &Value, errors: &mut Vec<FieldError>) {
    let fields: &[&str] = match kind {
        "hostPath" | "local" => &["path"],
        "nfs" => &["server", "path"],
        "csi" => &["driver", "volumeHandle"],
        "iscsi" => &["targetPortal", "iqn"],
        "rbd" => &["image"],
        "cinder" | "awsElasticBlockStore" | "portworxVolume" => &["volumeID"],
        "gcePersistentDisk" => &["pdName"],
        "azureFile" => &["secretName", "shareName"],
        "azureDisk" => &["diskName", "diskURI"],
        "flexVolume" => &["driver"],
        "glusterfs" => &["endpoints", "path"],
        "vsphereVolume" => &["volumePath"],
        _ => &[],
    };
    for field in fields {
        required(path, source, field, errors);
    }
    let target = text(source, "path");
    match kind {
        "nfs" if !target.is_empty() && !target.starts_with('/') => {
            errors.push(FieldError::invalid(&path.child("path"), target, "must be an absolute path"));
        }
        "hostPath" | "local" if target.split('/').any(|part| part == "..") => {
            errors.push(FieldError::invalid(&path.child("path"), target, "must not contain '..'"));
        }
        _ => {}
    }
}
