//! The variables of containers, and what of a pod they and files are told.

use gantry_json::{Map, Value};

use super::common::{default, dns_subdomain, list, one_of, qualified_name, required, text};
use super::persistent_volume_claim::quantity;
use super::{secret, volume};
use crate::field::{FieldError, Path};

/// What of a pod variables are told.
const POD_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// What of a container is told.
const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
/// Every field that a field reference knows, without those that take a key.
const KNOWN_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "status.phase", "spec.restartPolicy"];

/// Sets the defaults of a container's variables.
pub(super) fn set_defaults(variable: &mut Map) {
    let Some(Value::Object(source)) = variable.get_mut("valueFrom") else { return };
    if let Some(Value::Object(field)) = source.get_mut("fieldRef") {
        default(field, "apiVersion", "v1");
    }
    if let Some(Value::Object(file)) = source.get_mut("fileKeyRef") {
        default(file, "optional", false);
    }
}

/// Checks a container's variables.
pub(super) fn validate(path: &Path, container: &Value, errors: &mut Vec<FieldError>) {
    for (at, each) in list(container, "env").iter().enumerate() {
        variable(&path.child("env").index(at), each, errors);
    }
    for (at, each) in list(container, "envFrom").iter().enumerate() {
        let path = path.child("envFrom");
        source(&path, &path.index(at), each, errors);
    }
}

fn variable(path: &Path, variable: &Value, errors: &mut Vec<FieldError>) {
    if let Some(name) = required(path, variable, "name", errors) {
        variable_name(&path.child("name"), name, errors);
    }
    let Some(source) = variable["valueFrom"].as_object() else { return };
    let (path, mut count) = (path.child("valueFrom"), 0);
    for kind in ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"] {
        let Some(reference) = source.get(kind).filter(|reference| reference.is_object()) else { continue };
        let path = path.child(kind);
        count += 1;
        match kind {
            "fieldRef" => field(&path, reference, POD_FIELDS, errors),
            "resourceFieldRef" => resource_field(&path, reference, false, errors),
            "fileKeyRef" => file_key(&path, reference, errors),
            _ => key(&path, reference, errors),
        }
    }
    let words = match count {
        0 => {
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        }
        _ if !text(variable, "value").is_empty() => "may not be specified when `value` is not empty",
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    errors.push(FieldError::invalid(&path, "", words));
}

fn key(path: &Path, reference: &Value, errors: &mut Vec<FieldError>) {
    dns_subdomain(&path.child("name"), text(reference, "name"), errors);
    if let Some(key) = required(path, reference, "key", errors) {
        secret::key(&path.child("key"), key, errors);
    }
}

fn file_key(path: &Path, file: &Value, errors: &mut Vec<FieldError>) {
    for field in ["volumeName", "path", "key"] {
        required(path, file, field, errors);
    }
    volume::place(&path.child("path"), text(file, "path"), errors);
    variable_name(&path.child("key"), text(file, "key"), errors);
}

fn variable_name(path: &Path, name: &str, errors: &mut Vec<FieldError>) {
    if name.contains('=') || !name.chars().all(|c| (' '..='~').contains(&c)) {
        let words = "a valid environment variable name must consist only of printable ASCII characters other than '='";
        errors.push(FieldError::invalid(path, name, words));
    }
}

/// Checks a reference to a field of the pod; `fields` are those that may be named.
pub(super) fn field(path: &Path, reference: &Value, fields: &[&str], errors: &mut Vec<FieldError>) {
    let version = text(reference, "apiVersion");
    if version.is_empty() {
        return errors.push(FieldError::required(&path.child("apiVersion"), ""));
    }
    let Some(label) = required(path, reference, "fieldPath", errors) else { return };
    let at = path.child("fieldPath");
    let subscript = label.strip_suffix("']").and_then(|label| label.split_once("['"));
    let mut refuse = |words: String| {
        let words = format!("error converting fieldPath: {words}");
        errors.push(FieldError::invalid(&at, label, words));
    };
    if version != "v1" {
        return refuse(format!("unsupported pod version: {version}"));
    }
    match subscript {
        Some(("metadata.annotations", key)) => qualified_name(path, &key.to_lowercase(), errors),
        Some(("metadata.labels", key)) => qualified_name(path, key, errors),
        Some(_) => refuse(format!("field label does not support subscript: {label}")),
        None if label == "spec.host" => one_of(&at, "spec.nodeName", fields, errors),
        None if POD_FIELDS.contains(&label) || KNOWN_FIELDS.contains(&label) || fields.contains(&label) => {
            one_of(&at, label, fields, errors);
        }
        None => refuse(format!("field label not supported: {label}")),
    }
}

/// Checks a reference to what a container asks for; in a volume it names the container.
pub(super) fn resource_field(path: &Path, reference: &Value, volume: bool, errors: &mut Vec<FieldError>) {
    let resource = text(reference, "resource");
    let huge_pages =
        ["limits.hugepages-", "requests.hugepages-"].iter().any(|start| resource.starts_with(start));
    if volume && text(reference, "containerName").is_empty() {
        errors.push(FieldError::required(&path.child("containerName"), ""));
    } else if resource.is_empty() {
        errors.push(FieldError::required(&path.child("resource"), ""));
    } else if !huge_pages {
        one_of(&path.child("resource"), resource, RESOURCES, errors);
    }
    let Some(divisor) = quantity(&reference["divisor"]).filter(|divisor| !divisor.is_zero()) else { return };
    const UNITS: [&str; 13] =
        ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
    let (units, what): (&[&str], &str) = match resource.split_once('.').map_or("", |(_, name)| name) {
        "cpu" => (&["1m", "1"], "cpu resource"),
        "memory" => (&UNITS, "memory resource"),
        "ephemeral-storage" => (&UNITS, "local ephemeral storage resource"),
        _ if huge_pages => (&UNITS, "hugepages resource"),
        _ => return,
    };
    if !units.contains(&divisor.to_string().as_str()) {
        let listed = match units.len() {
            2 => units.join(" and "),
            _ => units.join(", "),
        };
        let words = format!("only divisor's values {listed} are supported with the {what}");
        errors.push(FieldError::invalid(&path.child("divisor"), resource, words));
    }
}

fn source(all: &Path, path: &Path, source: &Value, errors: &mut Vec<FieldError>) {
    let prefix = text(source, "prefix");
    variable_name(&path.child("prefix"), prefix, errors);
    let mut count = 0;
    for kind in ["configMapRef", "secretRef"].into_iter().filter(|kind| source[*kind].is_object()) {
        count += 1;
        if let Some(name) = required(&path.child(kind), &source[kind], "name", errors) {
            // The name may be one that more is to follow.
            let whole = name.strip_suffix('-').filter(|start| !start.is_empty());
            let checked = whole.map(|start| format!("{start}a"));
            let first = errors.len();
            dns_subdomain(&path.child(kind).child("name"), checked.as_deref().unwrap_or(name), errors);
            errors[first..].iter_mut().for_each(|error| error.value = name.into());
        }
    }
    let words = match count {
        0 => "must specify one of: `configMapRef` or `secretRef`",
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    errors.push(FieldError::invalid(all, "", words));
}

/// Checks that files with variables stand in volumes that containers can write to.
pub(super) fn validate_files(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    for field in ["containers", "initContainers", "ephemeralContainers"] {
        for (at, container) in list(spec, field).iter().enumerate() {
            for (number, variable) in list(container, "env").iter().enumerate() {
                let file = &variable["valueFrom"]["fileKeyRef"];
                let name = text(file, "volumeName");
                if name.is_empty() {
                    continue;
                }
                let env = path.child(field).index(at).child("env").index(number);
                let path = env.child("valueFrom").child("fileKeyRef").child("volumeName");
                match list(spec, "volumes").iter().find(|volume| text(volume, "name") == name) {
                    None => errors.push(FieldError::not_found(&path, name)),
                    Some(volume) if !volume["emptyDir"].is_object() => {
                        let words = "referenced volume must be of type emptyDir";
                        errors.push(FieldError::invalid(&path, name, words));
                    }
                    Some(_) => {}
                }
            }
        }
    }
}
