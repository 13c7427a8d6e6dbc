//! Containers, wherever a pod or pod template has them.

use gantry_json::{Map, Value};

use super::common::{
    default, dns_label, items, list, object, one_of, port, port_name, protocol, required, required_one_of,
    text,
};
use super::container_mounts::{self, Volumes};
use super::resources::{self, Of};
use super::{container_env, probe, security_context};
use crate::field::{FieldError, Path};

type Object = Map;

/// The fields that a container has which is added to a running pod.
const EPHEMERAL_FIELDS: [&str; 15] = [
    "name",
    "image",
    "command",
    "args",
    "workingDir",
    "env",
    "envFrom",
    "volumeMounts",
    "volumeDevices",
    "imagePullPolicy",
    "securityContext",
    "stdin",
    "stdinOnce",
    "tty",
    "targetContainerName",
];
/// The most rules that say when a container starts again, and the most exit codes of one.
const MOST_RULES: usize = 20;
const MOST_CODES: usize = 255;

/// What of the pod a container is checked beside.
pub(super) struct Around<'a> {
    /// The volumes that have nothing wrong.
    pub volumes: Volumes<'a>,
    /// The names of the resource claims.
    pub claims: Vec<&'a str>,
    /// The time that the pod has to end, in seconds.
    pub grace: Option<i64>,
    /// When containers start again.
    pub restart: &'a str,
    /// Whether users are the node's.
    pub host_users: bool,
    /// Whether it is a pod, not a template of pods.
    pub is_pod: bool,
}

/// Sets a container's defaults.
pub fn set_defaults(container: &mut Object) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let policy = pull_policy(image);
    default(container, "imagePullPolicy", policy);
    default(container, "terminationMessagePath", "/dev/termination-log");
    default(container, "terminationMessagePolicy", "File");
    object(container, "resources");
    for port in items(container, "ports") {
        default(port, "protocol", "TCP");
    }
    items(container, "env").for_each(container_env::set_defaults);
    probe::set_defaults(container);
    // Containers cannot choose their signal yet.
    if let Some(Value::Object(lifecycle)) = container.get_mut("lifecycle") {
        lifecycle.remove("stopSignal");
    }
}

/// A limit without a request requests as much.
pub(super) fn request_limits(container: &mut Object) {
    let resources = object(container, "resources");
    if let Some(Value::Object(limits)) = resources.get("limits").cloned() {
        let requests = object(resources, "requests");
        limits.into_iter().for_each(|(name, amount)| default(requests, &name, amount));
    }
}

/// Images without a tag, or tagged `latest`, are looked up each time.
pub(super) fn pull_policy(image: &str) -> &'static str {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let (folders, last) = name.rsplit_once('/').unwrap_or(("", name));
    let (last, tag) = last.split_once(':').map_or((last, None), |(last, tag)| (last, Some(tag)));
    let domain =
        folders.split('/').next().filter(|domain| domain.contains(['.', ':']) || *domain == "localhost");
    let path = domain.map_or(folders, |domain| &folders[domain.len()..]);
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-' | '/');
    let is_name = !last.is_empty() && path.chars().chain(last.chars()).all(fine);
    match (tag, digest) {
        (Some("latest"), _) | (None, None) if is_name => "Always",
        _ => "IfNotPresent",
    }
}

/// Checks the containers of a pod that do its work.
pub(super) fn validate_all(
    path: &Path,
    containers: &[Value],
    around: &Around<'_>,
    errors: &mut Vec<FieldError>,
) {
    if containers.is_empty() {
        return errors.push(FieldError::required(path, ""));
    }
    for (at, container) in containers.iter().enumerate() {
        let path = path.index(at);
        validate(&path, container, around, errors);
        let name = text(container, "name");
        if containers[..at].iter().any(|other| text(other, "name") == name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
        probe::validate(&path, container, around.grace, errors);
        restart_rules(&path, container, errors);
    }
    host_ports(path, 0, containers, errors);
}

/// Checks the containers that run before those of the pod's work.
pub(super) fn validate_init(path: &Path, spec: &Value, around: &Around<'_>, errors: &mut Vec<FieldError>) {
    let (containers, works) = (list(spec, "initContainers"), list(spec, "containers"));
    for (index, container) in containers.iter().enumerate() {
        let at = path.index(index);
        validate(&at, container, around, errors);
        restart_rules(&at, container, errors);
        let name = text(container, "name");
        let before = containers[..index].iter().filter(|other| !text(other, "name").is_empty());
        if works.iter().chain(before).any(|other| text(other, "name") == name) {
            errors.push(FieldError::duplicate(&at.child("name"), name));
        }
        host_ports(path, 0, std::slice::from_ref(container), errors);
        let sidecar = container["restartPolicy"] == "Always";
        if sidecar {
            probe::validate(&at, container, around.grace, errors);
            continue;
        }
        // One that runs to its end has no life to look after.
        for field in ["lifecycle"].into_iter().chain(probe::PROBES) {
            if container[field].is_object() {
                let words = "may not be set for init containers without restartPolicy=Always";
                errors.push(FieldError::forbidden(&at.child(field), words));
            }
        }
        if !list(container, "resizePolicy").is_empty() {
            let shown = container["resizePolicy"].clone();
            let words = "must not be set for init containers";
            errors.push(FieldError::invalid(&at.child("resizePolicy"), shown, words));
        }
    }
}

/// Checks the containers that were added to a running pod.
pub(super) fn validate_ephemeral(
    path: &Path,
    spec: &Value,
    around: &Around<'_>,
    errors: &mut Vec<FieldError>,
) {
    let ephemeral = list(spec, "ephemeralContainers");
    let others = || list(spec, "containers").iter().chain(list(spec, "initContainers"));
    for (at, container) in ephemeral.iter().enumerate() {
        let path = path.index(at);
        validate(&path, container, around, errors);
        if !around.is_pod {
            image_is_trimmed(&path, container, errors);
        }
        let name = text(container, "name");
        if others().chain(&ephemeral[..at]).any(|other| text(other, "name") == name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
        let target = text(container, "targetContainerName");
        if !target.is_empty() && !others().any(|other| text(other, "name") == target) {
            errors.push(FieldError::not_found(&path.child("targetContainerName"), target));
        }
        let words = "cannot be set for an Ephemeral Container";
        let empty = |value: &Value| {
            value.is_null()
                || value.as_object().is_some_and(Map::is_empty)
                || value.as_array().is_some_and(Vec::is_empty)
        };
        for (field, value) in container.as_object().into_iter().flatten() {
            let known = EPHEMERAL_FIELDS.contains(&field.as_str()) || field.starts_with("terminationMessage");
            if !known && !empty(value) {
                errors.push(FieldError::forbidden(&path.child(field), words));
            }
        }
        for (index, mount) in list(container, "volumeMounts").iter().enumerate() {
            for field in ["subPath", "subPathExpr"].into_iter().filter(|field| !text(mount, field).is_empty())
            {
                let path = path.child("volumeMounts").index(index).child(field);
                errors.push(FieldError::forbidden(&path, words));
            }
        }
    }
}

/// Checks what all containers have.
fn validate(path: &Path, container: &Value, around: &Around<'_>, errors: &mut Vec<FieldError>) {
    if let Some(name) = required(path, container, "name", errors) {
        dns_label(&path.child("name"), name, errors);
    }
    required(path, container, "image", errors);
    if around.is_pod {
        image_is_trimmed(path, container, errors);
    }
    let policies = ["FallbackToLogsOnError", "File"];
    let at = path.child("terminationMessagePolicy");
    required_one_of(&at, text(container, "terminationMessagePolicy"), &policies, errors);
    ports(&path.child("ports"), list(container, "ports"), errors);
    container_env::validate(path, container, errors);
    container_mounts::validate(path, container, &around.volumes, errors);
    pull_policy_is_known(&path.child("imagePullPolicy"), text(container, "imagePullPolicy"), errors);
    let at = path.child("resources");
    resources::requirements(&at, &container["resources"], Of::Container, &around.claims, errors);
    resize_policy(&path.child("resizePolicy"), list(container, "resizePolicy"), around.restart, errors);
    let at = path.child("securityContext");
    security_context::of_container(&at, &container["securityContext"], around.host_users, errors);
}

fn image_is_trimmed(path: &Path, container: &Value, errors: &mut Vec<FieldError>) {
    let image = text(container, "image");
    if image.trim() != image {
        let words = "must not have leading or trailing whitespace";
        errors.push(FieldError::invalid(&path.child("image"), image, words));
    }
}

/// Checks when an image is looked up.
pub(super) fn pull_policy_is_known(path: &Path, policy: &str, errors: &mut Vec<FieldError>) {
    required_one_of(path, policy, &["Always", "IfNotPresent", "Never"], errors);
}

fn ports(path: &Path, ports: &[Value], errors: &mut Vec<FieldError>) {
    let mut names: Vec<&str> = Vec::new();
    for (at, each) in ports.iter().enumerate() {
        let path = path.index(at);
        let name = text(each, "name");
        if !name.is_empty() {
            let before = errors.len();
            port_name(&path.child("name"), name, errors);
            if errors.len() == before {
                if names.contains(&name) {
                    errors.push(FieldError::duplicate(&path.child("name"), name));
                }
                names.push(name);
            }
        }
        match each["containerPort"].as_i64() {
            None | Some(0) => errors.push(FieldError::required(&path.child("containerPort"), "")),
            Some(_) => port(&path.child("containerPort"), &each["containerPort"], errors),
        }
        if each["hostPort"].as_i64().is_some_and(|number| number != 0) {
            port(&path.child("hostPort"), &each["hostPort"], errors);
        }
        protocol(&path.child("protocol"), text(each, "protocol"), errors);
    }
}

/// Checks that no two containers take the same port of the node.
fn host_ports(path: &Path, first: usize, containers: &[Value], errors: &mut Vec<FieldError>) {
    let mut taken = Vec::new();
    for (at, container) in containers.iter().enumerate() {
        for (index, port) in list(container, "ports").iter().enumerate() {
            let Some(number) = port["hostPort"].as_i64().filter(|number| *number != 0) else { continue };
            let here = format!("{}/{}/{number}", text(port, "protocol"), text(port, "hostIP"));
            if taken.contains(&here) {
                let path = path.index(first + at).child("ports").index(index).child("hostPort");
                errors.push(FieldError::duplicate(&path, here.as_str()));
            }
            taken.push(here);
        }
    }
}

fn resize_policy(path: &Path, policies: &[Value], restart: &str, errors: &mut Vec<FieldError>) {
    for (at, each) in policies.iter().enumerate() {
        let (name, policy) = (text(each, "resourceName"), text(each, "restartPolicy"));
        if policies[..at].iter().any(|other| text(other, "resourceName") == name) {
            errors.push(FieldError::duplicate(&path.index(at), name));
        }
        required_one_of(path, name, &["cpu", "memory"], errors);
        required_one_of(path, policy, &["NotRequired", "RestartContainer"], errors);
        if restart == "Never" && policy != "NotRequired" {
            let words = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            errors.push(FieldError::invalid(path, policy, words));
        }
    }
}

/// Checks when a container alone starts again.
fn restart_rules(path: &Path, container: &Value, errors: &mut Vec<FieldError>) {
    let (at, rules) = (path.child("restartPolicy"), list(container, "restartPolicyRules"));
    match container["restartPolicy"].as_str() {
        Some(policy) => one_of(&at, policy, &["Always", "Never", "OnFailure"], errors),
        None if !rules.is_empty() => {
            let words = "must specify restartPolicy when restart rules are used";
            errors.push(FieldError::required(&at, words));
        }
        None => {}
    }
    let at = path.child("restartPolicyRules");
    if rules.len() > MOST_RULES {
        errors.push(FieldError::too_many(&at, rules.len(), MOST_RULES));
    }
    for (index, rule) in rules.iter().enumerate() {
        let (path, codes) = (at.index(index), &rule["exitCodes"]);
        one_of(&path.child("action"), text(rule, "action"), &["Restart"], errors);
        let path = path.child("exitCodes");
        if !codes.is_object() {
            errors.push(FieldError::required(&path, "must be specified"));
            continue;
        }
        one_of(&path.child("operator"), text(codes, "operator"), &["In", "NotIn"], errors);
        let values = list(codes, "values").len();
        if values > MOST_CODES {
            errors.push(FieldError::too_many(&path.child("values"), values, MOST_CODES));
        }
    }
}
