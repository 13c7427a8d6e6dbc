//! PersistentVolume.

use gantry_json::{Map, Value, json};

use super::common::{
    IMMUTABLE, default, dns_subdomain, immutable, keep_status, list, object, one_of, restore, text,
};
use super::persistent_volume_claim::{above_zero, access_modes, quantity};
use super::volume_source::{self, ONLY_ONE, Owner};
use crate::diff::diff;
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// What a volume can come from, in the order in which it is looked at.
const SOURCES: [&str; 22] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];

/// Old and new names of labels that a node affinity may change to.
const RENAMED: [(&str, &str); 5] = [
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("beta.kubernetes.io/os", "kubernetes.io/os"),
    ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
    ("beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"),
];

/// The rules.
pub const RULES: Rules = Rules {
    default: |volume| {
        let Some(volume) = volume.as_object_mut() else { return };
        default(object(volume, "status"), "phase", "Pending");
        let spec = object(volume, "spec");
        default(spec, "persistentVolumeReclaimPolicy", "Retain");
        default(spec, "volumeMode", "Filesystem");
        volume_source::set_defaults(spec);
    },
    prepare_create: |volume| {
        volume["status"] = json!({"phase": "Pending",
            "lastPhaseTransitionTime": volume["metadata"]["creationTimestamp"]});
    },
    prepare_update: keep_status,
    validate: |volume| {
        let mut errors = Vec::new();
        let name = text(&volume["metadata"], "name");
        validate_spec(&Path::new("spec"), &volume["spec"], name, &mut errors);
        errors
    },
    validate_update,
    warn: super::volume_warnings::of_persistent_volume,
    ..Rules::NONE
};

fn validate_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (path, spec, before) = (Path::new("spec"), &new["spec"], &old["spec"]);
    let source = |spec: &Value| -> Value {
        let fields = spec.as_object().into_iter().flatten();
        let sources = fields.filter(|(field, _)| SOURCES.contains(&field.as_str()));
        sources.map(|(field, value)| (field.clone(), value.clone())).collect::<Map>().into()
    };
    let (earlier, mut now) = (source(before), source(spec));
    // The secret for growing a CSI volume may be named once.
    if let Some(csi) = now.get_mut("csi")
        && before["csi"].is_object()
        && before["csi"]["controllerExpandSecretRef"].is_null()
    {
        restore(csi, &before["csi"], "controllerExpandSecretRef");
    }
    if earlier != now {
        let words = "spec.persistentvolumesource is immutable after creation";
        let words = format!("{words}\n{}", diff(&earlier, &now));
        errors.push(FieldError::forbidden(&path.child("persistentvolumesource"), words));
    }
    immutable(&Path::new("volumeMode"), &spec["volumeMode"], &before["volumeMode"], &mut errors);
    if !before["nodeAffinity"].is_null()
        && renamed(&spec["nodeAffinity"], &before["nodeAffinity"]) != spec["nodeAffinity"]
    {
        let words = format!("{IMMUTABLE}, except for updating from beta label to GA");
        let (at, affinity) = (Path::new("nodeAffinity"), spec["nodeAffinity"].clone());
        errors.push(FieldError::invalid(&at, affinity, words));
    }
    let class = "volumeAttributesClassName";
    if !before[class].is_null() && spec[class].is_null() {
        let words = "update from non-nil value to nil is forbidden";
        errors.push(FieldError::forbidden(&path.child(class), words));
    }
    errors
}

/// The old affinity with the new names of labels where the new affinity has them.
fn renamed(new: &Value, old: &Value) -> Value {
    let mut old = old.clone();
    let terms = old["required"]["nodeSelectorTerms"].as_array_mut();
    for (at, term) in terms.into_iter().flatten().enumerate() {
        let expressions = term.get_mut("matchExpressions").and_then(Value::as_array_mut);
        for (index, expression) in expressions.into_iter().flatten().enumerate() {
            let now = &new["required"]["nodeSelectorTerms"][at]["matchExpressions"][index]["key"];
            if RENAMED.iter().any(|(before, after)| expression["key"] == *before && now == after) {
                expression["key"] = now.clone();
            }
        }
    }
    old
}

/// Checks the spec of the volume of that name.
fn validate_spec(path: &Path, spec: &Value, name: &str, errors: &mut Vec<FieldError>) {
    access_modes(&path.child("accessModes"), list(spec, "accessModes"), "", errors);
    capacity(&path.child("capacity"), &spec["capacity"], errors);
    let policy = text(spec, "persistentVolumeReclaimPolicy");
    let at = path.child("persistentVolumeReclaimPolicy");
    one_of(&at, policy, &["Delete", "Recycle", "Retain"], errors);
    affinity(&path.child("nodeAffinity"), spec, errors);
    sources(path, spec, name, errors);
    let root =
        |target: &str| target.starts_with('/') && target.split('/').all(|part| matches!(part, "" | "."));
    if root(text(&spec["hostPath"], "path")) && policy == "Recycle" {
        errors.push(FieldError::forbidden(&at, "may not be 'recycle' for a hostPath mount of '/'"));
    }
    if !text(spec, "storageClassName").is_empty() {
        dns_subdomain(&path.child("storageClassName"), text(spec, "storageClassName"), errors);
    }
    one_of(&path.child("volumeMode"), text(spec, "volumeMode"), &["Block", "Filesystem"], errors);
    attributes_class(path, spec, errors);
}

fn capacity(path: &Path, capacity: &Value, errors: &mut Vec<FieldError>) {
    let amounts = capacity.as_object();
    if amounts.is_none_or(Map::is_empty) {
        errors.push(FieldError::required(path, ""));
    }
    if amounts.is_none_or(|amounts| amounts.len() > 1 || !amounts.contains_key("storage")) {
        errors.push(FieldError::not_supported(path, capacity.clone(), &["storage"]));
    }
    for (name, amount) in amounts.into_iter().flatten() {
        basic_resource(&path.key(name), amount, errors);
        above_zero(&path.key(name), amount, errors);
    }
}

/// Checks that an amount is not below zero, in the words for capacities.
pub(super) fn basic_resource(path: &Path, amount: &Value, errors: &mut Vec<FieldError>) {
    if let Some(value) = quantity(amount).map(|amount| amount.value()).filter(|value| *value < 0) {
        errors.push(FieldError::invalid(path, value, "must be a valid resource quantity"));
    }
}

fn affinity(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    let (affinity, path) = (&spec["nodeAffinity"], path.child("required"));
    match affinity["required"].is_object() {
        true => super::placement::node_selector(&path, &affinity["required"], errors),
        false if affinity.is_object() => {
            errors.push(FieldError::required(&path, "must specify required node constraints"));
        }
        false => {}
    }
}

fn sources(path: &Path, spec: &Value, name: &str, errors: &mut Vec<FieldError>) {
    let mut present = SOURCES.into_iter().filter(|source| spec[*source].is_object()).peekable();
    if present.peek().is_none() {
        errors.push(FieldError::required(path, "must specify a volume type"));
    }
    for (at, source) in present.enumerate() {
        if at > 0 && source != "flexVolume" {
            let shown = if source == "cephfs" { "cephFS" } else { source };
            errors.push(FieldError::forbidden(&path.child(shown), ONLY_ONE));
            continue;
        }
        volume_source::validate(path, source, &spec[source], Owner::PersistentVolume(name), errors);
        if source == "local" && !spec["nodeAffinity"]["required"].is_object() {
            let path = path.child("nodeAffinity");
            errors.push(FieldError::required(&path, "Local volume requires node affinity"));
        }
    }
}

fn attributes_class(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    let at = path.child("volumeAttributesClassName");
    match spec["volumeAttributesClassName"].as_str() {
        None => return,
        Some("") => errors.push(FieldError::required(&at, "an empty string is disallowed")),
        Some(name) => dns_subdomain(&at, name, errors),
    }
    if !spec["csi"].is_object() {
        let words = "has to be specified when using volumeAttributesClassName";
        errors.push(FieldError::required(&path.child("csi"), words));
    }
}

/// Checks the spec of a volume that a VolumeAttachment holds itself.
pub(super) fn validate_inline(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    let context = "in the context of inline volumes";
    let mut forbid = |field: &str, words: &str| {
        errors.push(FieldError::forbidden(&path.child(field), format!("{words} {context}")));
    };
    if spec["claimRef"].is_object() {
        forbid("claimRef", "may not be specified");
    }
    if spec["capacity"].as_object().is_some_and(|capacity| !capacity.is_empty()) {
        forbid("capacity", "may not be specified");
    }
    if !matches!(text(spec, "persistentVolumeReclaimPolicy"), "" | "Retain") {
        forbid("persistentVolumeReclaimPolicy", "may only be Retain");
    }
    if spec["nodeAffinity"].is_object() {
        forbid("nodeAffinity", "may not be specified");
    }
    if !text(spec, "storageClassName").is_empty() {
        forbid("storageClassName", "may not be specified");
    }
    if !matches!(text(spec, "volumeMode"), "" | "Filesystem") {
        forbid("volumeMode", "may not specify volumeMode other than Filesystem");
    }
    if !spec["csi"].is_object() {
        errors.push(FieldError::required(&path.child("csi"), format!("has to be specified {context}")));
    }
    access_modes(&path.child("accessModes"), list(spec, "accessModes"), "", errors);
    sources(path, spec, "", errors);
    attributes_class(path, spec, errors);
}
