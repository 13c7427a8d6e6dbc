//! What volumes come from, in pods and in PersistentVolumes: one of many sources.

use gantry_json::{Map, Value, json};

use super::common::{default, dns_label, dns_subdomain, list, one_of, required, text};
use super::csi_driver;
use crate::field::{FieldError, Path};

/// Whose source it is.
#[derive(Clone, Copy)]
pub(super) enum Owner<'a> {
    /// A pod's.
    Pod,
    /// That of the PersistentVolume of this name.
    PersistentVolume(&'a str),
}

impl Owner<'_> {
    fn is_pod(self) -> bool {
        matches!(self, Self::Pod)
    }
}

/// The types of a path of a node.
const HOST_PATHS: &[&str] =
    &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
/// Words for a second source.
pub(super) const ONLY_ONE: &str = "may not specify more than 1 volume type";
/// Words for a wrong list of Quobyte's registries.
const REGISTRY: &str = "must be a host:port pair or multiple pairs separated by commas";
/// Words for a number of a partition.
const PARTITION: &str = "must be between 0 and 255, inclusive";

/// Sets the defaults of the sources among the fields.
pub(super) fn set_defaults(fields: &mut Map) {
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
    for (source, values) in defaults {
        if let Some(Value::Object(source)) = fields.get_mut(source) {
            values.iter().for_each(|(field, value)| default(source, field, value.clone()));
        }
    }
}

/// Checks a source that pods and PersistentVolumes have alike; `path` is the holder's.
pub(super) fn validate(
    path: &Path,
    kind: &str,
    source: &Value,
    owner: Owner<'_>,
    errors: &mut Vec<FieldError>,
) {
    // A disk of GCE has another name in upstream's paths.
    let path = path.child(if kind == "gcePersistentDisk" { "persistentDisk" } else { kind });
    match kind {
        "hostPath" | "local" => node_path(&path, kind, source, errors),
        "gcePersistentDisk" => disk(&path, "pdName", source, errors),
        "awsElasticBlockStore" => disk(&path, "volumeID", source, errors),
        "nfs" => {
            needs(&path, source, &["server", "path"], errors);
            if !text(source, "path").starts_with('/') {
                let words = "must be an absolute path";
                errors.push(FieldError::invalid(&path.child("path"), text(source, "path"), words));
            }
        }
        "iscsi" => iscsi(&path, source, owner, errors),
        "glusterfs" => {
            needs(&path, source, &["endpoints", "path"], errors);
            endpoints_namespace(&path.child("endpointsNamespace"), &source["endpointsNamespace"], errors);
        }
        "flocker" => flocker(&path, source, errors),
        "rbd" => {
            needs_items(&path, source, "monitors", errors);
            needs(&path, source, &["image"], errors);
        }
        "cephfs" => needs_items(&path, source, "monitors", errors),
        "cinder" => {
            needs(&path, source, &["volumeID"], errors);
            secret(&path, source, owner, errors);
        }
        "quobyte" => quobyte(&path, source, errors),
        "fc" => fibre_channel(&path, source, errors),
        "flexVolume" => {
            needs(&path, source, &["driver"], errors);
            reserved_options(&path.child("options"), &source["options"], errors);
        }
        "azureFile" => {
            needs(&path, source, &["secretName", "shareName"], errors);
            if !owner.is_pod() && source["secretNamespace"] == "" {
                errors.push(FieldError::required(&path.child("secretNamespace"), ""));
            }
        }
        "azureDisk" => azure_disk(&path, source, errors),
        "vsphereVolume" => needs(&path, source, &["volumePath"], errors),
        "photonPersistentDisk" => needs(&path, source, &["pdID"], errors),
        "portworxVolume" => needs(&path, source, &["volumeID"], errors),
        "scaleIO" => needs(&path, source, &["gateway", "system", "volumeName"], errors),
        "storageos" => {
            if let Some(name) = required(&path, source, "volumeName", errors) {
                dns_label(&path.child("volumeName"), name, errors);
            }
            if !text(source, "volumeNamespace").is_empty() {
                dns_label(&path.child("volumeNamespace"), text(source, "volumeNamespace"), errors);
            }
            secret(&path, source, owner, errors);
        }
        "csi" => csi(&path, source, owner, errors),
        _ => {}
    }
}

fn needs(path: &Path, source: &Value, fields: &[&str], errors: &mut Vec<FieldError>) {
    for field in fields {
        required(path, source, field, errors);
    }
}

fn needs_items(path: &Path, source: &Value, field: &str, errors: &mut Vec<FieldError>) {
    if list(source, field).is_empty() {
        errors.push(FieldError::required(&path.child(field), ""));
    }
}

/// Checks that a path does not lead back.
pub(super) fn no_backsteps(path: &Path, target: &str, errors: &mut Vec<FieldError>) {
    if target.split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(path, target, "must not contain '..'"));
    }
}

/// Checks that a path leads down only.
pub(super) fn descending(path: &Path, target: &str, errors: &mut Vec<FieldError>) {
    if target.starts_with('/') {
        errors.push(FieldError::invalid(path, target, "must be a relative path"));
    }
    no_backsteps(path, target, errors);
}

fn node_path(path: &Path, kind: &str, source: &Value, errors: &mut Vec<FieldError>) {
    let Some(target) = required(path, source, "path", errors) else { return };
    no_backsteps(&path.child("path"), target, errors);
    if kind == "hostPath" {
        one_of(&path.child("type"), text(source, "type"), HOST_PATHS, errors);
    }
}

fn disk(path: &Path, name: &str, source: &Value, errors: &mut Vec<FieldError>) {
    needs(path, source, &[name], errors);
    byte(&path.child("partition"), &source["partition"], errors);
}

/// Checks a number from 0 to 255.
fn byte(path: &Path, value: &Value, errors: &mut Vec<FieldError>) {
    if value.as_i64().is_some_and(|number| !(0..=255).contains(&number)) {
        errors.push(FieldError::invalid(path, value.clone(), PARTITION));
    }
}

fn secret(path: &Path, source: &Value, owner: Owner<'_>, errors: &mut Vec<FieldError>) {
    let reference = &source["secretRef"];
    if reference.is_object() {
        let fields: &[&str] = if owner.is_pod() { &["name"] } else { &["name", "namespace"] };
        needs(&path.child("secretRef"), reference, fields, errors);
    }
}

/// Whether a name of an initiator or a target has a form that iSCSI knows; none where its type is unknown.
fn iscsi_name(name: &str) -> Option<bool> {
    let alphanumeric = |text: &str, length: usize| {
        let mut rest = text.chars();
        rest.next();
        let rest = rest.as_str();
        rest.len() == length && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    if let Some(rest) = name.strip_prefix("iqn") {
        return Some(qualified_iscsi_name(rest).is_some());
    }
    if let Some(rest) = name.strip_prefix("eui") {
        return Some(alphanumeric(rest, 16));
    }
    name.strip_prefix("naa").map(|rest| alphanumeric(rest, 32))
}

/// `.2001-04.com.example:storage.disk1`
fn qualified_iscsi_name(rest: &str) -> Option<()> {
    let (date, rest) = rest.strip_prefix('.')?.split_once('.')?;
    let (year, month) = date.split_once('-')?;
    let digits = |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    let (domain, own) = rest.split_once(':')?;
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    let own_fine = |c: char| !matches!(c, ',' | ';' | '*' | '&' | '$' | '|') && !c.is_ascii_whitespace();
    let all = digits(year, 4)
        && digits(month, 2)
        && !domain.is_empty()
        && domain.chars().all(fine)
        && !own.is_empty()
        && own.chars().all(own_fine);
    all.then_some(())
}

fn iscsi(path: &Path, source: &Value, owner: Owner<'_>, errors: &mut Vec<FieldError>) {
    const FORM: &str = "must be valid format";
    let unknown = if owner.is_pod() { "must be valid format starting with iqn, eui, or naa" } else { FORM };
    let portal = required(path, source, "targetPortal", errors).unwrap_or_default();
    let initiator = source["initiatorName"].as_str();
    if let Owner::PersistentVolume(name) = owner
        && initiator.is_some()
        && name.len() + 1 + portal.len() > 64
    {
        errors.push(FieldError::invalid(&path.child("targetportal"), portal, INITIATOR_TOO_LONG));
    }
    let mut form = |at: Path, name: &str| match iscsi_name(name) {
        Some(true) => {}
        Some(false) => errors.push(FieldError::invalid(&at, name, FORM)),
        None => errors.push(FieldError::invalid(&at, name, unknown)),
    };
    let target = text(source, "iqn");
    if !target.is_empty() {
        form(path.child("iqn"), target);
    }
    if let Some(name) = initiator {
        form(path.child("initiatorname"), name);
    }
    if target.is_empty() {
        errors.push(FieldError::required(&path.child("iqn"), ""));
    }
    byte(&path.child("lun"), &source["lun"], errors);
    let (secret, at) = (&source["secretRef"], path.child("secretRef"));
    let authenticates = ["chapAuthDiscovery", "chapAuthSession"].iter().any(|key| source[*key] == true);
    if authenticates && !secret.is_object() {
        errors.push(FieldError::required(&at, ""));
    }
    if !owner.is_pod() && secret.is_object() {
        needs(&at, secret, &["name"], errors);
    }
}

/// Words for an initiator's volume whose name does not fit beside its portal.
pub(super) const INITIATOR_TOO_LONG: &str = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";

fn endpoints_namespace(path: &Path, namespace: &Value, errors: &mut Vec<FieldError>) {
    match namespace.as_str() {
        None => {}
        Some("") => {
            let words = "if the endpointnamespace is set, it must be a valid namespace name";
            errors.push(FieldError::invalid(path, "", words));
        }
        Some(name) => dns_label(path, name, errors),
    }
}

fn flocker(path: &Path, source: &Value, errors: &mut Vec<FieldError>) {
    let (name, id) = (text(source, "datasetName"), text(source, "datasetUUID"));
    if name.is_empty() && id.is_empty() {
        errors.push(FieldError::required(path, "one of datasetName and datasetUUID is required"));
    }
    if !name.is_empty() && !id.is_empty() {
        let words = "datasetName and datasetUUID can not be specified simultaneously";
        errors.push(FieldError::invalid(path, "resource", words));
    }
    if name.contains('/') {
        errors.push(FieldError::invalid(&path.child("datasetName"), name, "must not contain '/'"));
    }
}

fn quobyte(path: &Path, source: &Value, errors: &mut Vec<FieldError>) {
    let (registry, at) = (text(source, "registry"), path.child("registry"));
    if registry.is_empty() {
        errors.push(FieldError::required(&at, REGISTRY));
    } else if text(source, "tenant").len() >= 65 {
        let words = "must be a UUID and may not exceed a length of 64 characters";
        errors.push(FieldError::required(&path.child("tenant"), words));
    } else {
        let pair = |pair: &str| {
            let host = |host: &str| !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
            pair.rsplit_once(':').is_some_and(|(name, _)| host(name))
        };
        let wrong = registry.split(',').filter(|each| !pair(each));
        errors.extend(wrong.map(|_| FieldError::invalid(&at, registry, REGISTRY)));
    }
    needs(path, source, &["volume"], errors);
}

fn fibre_channel(path: &Path, source: &Value, errors: &mut Vec<FieldError>) {
    let (targets, ids, at) = (list(source, "targetWWNs"), list(source, "wwids"), path.child("targetWWNs"));
    if targets.is_empty() && ids.is_empty() {
        errors.push(FieldError::required(&at, "must specify either targetWWNs or wwids, but not both"));
    }
    if !targets.is_empty() && !ids.is_empty() {
        let words = "targetWWNs and wwids can not be specified simultaneously";
        errors.push(FieldError::invalid(&at, targets.to_vec(), words));
    }
    if !targets.is_empty() {
        let at = path.child("lun");
        match source["lun"].is_null() {
            true => errors.push(FieldError::required(&at, "lun is required if targetWWNs is specified")),
            false => byte(&at, &source["lun"], errors),
        }
    }
}

fn reserved_options(path: &Path, options: &Value, errors: &mut Vec<FieldError>) {
    for key in options.as_object().into_iter().flat_map(Map::keys) {
        let namespace = key.split_once('/').map_or(key.as_str(), |(namespace, _)| namespace);
        let namespace = format!(".{}", namespace.to_lowercase());
        if namespace.ends_with(".kubernetes.io") || namespace.ends_with(".k8s.io") {
            let words = "kubernetes.io and k8s.io namespaces are reserved";
            errors.push(FieldError::invalid(&path.key(key), key.as_str(), words));
        }
    }
}

fn azure_disk(path: &Path, source: &Value, errors: &mut Vec<FieldError>) {
    needs(path, source, &["diskName", "diskURI"], errors);
    let modes = ["None", "ReadOnly", "ReadWrite"];
    one_of(&path.child("cachingMode"), text(source, "cachingMode"), &modes, errors);
    let kind = text(source, "kind");
    one_of(&path.child("kind"), kind, &["Dedicated", "Managed", "Shared"], errors);
    let (start, form) = match kind {
        "Managed" => (
            "/subscriptions/",
            "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",
        ),
        _ => ("https://", "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"),
    };
    let address = text(source, "diskURI");
    if !address.starts_with(start) {
        errors.push(FieldError::not_supported(&path.child("diskURI"), address, &[form]));
    }
}

fn csi(path: &Path, source: &Value, owner: Owner<'_>, errors: &mut Vec<FieldError>) {
    csi_driver::name(&path.child("driver"), text(source, "driver"), errors);
    if owner.is_pod() {
        let reference = &source["nodePublishSecretRef"];
        if reference.is_object()
            && let Some(name) = required(&path.child("nodePublishSecretRef"), reference, "name", errors)
        {
            dns_subdomain(&path.child("name"), name, errors);
        }
        return;
    }
    needs(path, source, &["volumeHandle"], errors);
    for key in [
        "controllerPublishSecretRef",
        "controllerExpandSecretRef",
        "nodePublishSecretRef",
        "nodeExpandSecretRef",
    ] {
        let (path, reference) = (path.child(key), &source[key]);
        if !reference.is_object() {
            continue;
        }
        if let Some(name) = required(&path, reference, "name", errors) {
            dns_subdomain(&path.child("name"), name, errors);
        }
        if let Some(namespace) = required(&path, reference, "namespace", errors) {
            dns_label(&path.child("namespace"), namespace, errors);
        }
    }
}
