//! Containers, wherever a pod or pod template has them.

use serde_json::{Map, Value};

use super::common::{default, dns_label, items, list, object, one_of, port, port_name, text};
use super::{security_context, volume};
use crate::field::{FieldError, Path};
use crate::quantity::Quantity;

type Object = Map<String, Value>;

/// Sets a container's defaults.
pub fn set_defaults(container: &mut Object) {
    if !container.contains_key("imagePullPolicy") {
        let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
        container.insert("imagePullPolicy".into(), pull_policy(image).into());
    }
    default(container, "terminationMessagePath", "/dev/termination-log");
    default(container, "terminationMessagePolicy", "File");
    let resources = object(container, "resources");
    if let Some(Value::Object(limits)) = resources.get("limits").cloned() {
        // A limit without a request requests as much.
        let requests = object(resources, "requests");
        limits.into_iter().for_each(|(name, amount)| default(requests, &name, amount));
    }
    for port in items(container, "ports") {
        default(port, "protocol", "TCP");
    }
    for variable in items(container, "env") {
        let Some(Value::Object(source)) = variable.get_mut("valueFrom") else { continue };
        if let Some(Value::Object(field)) = source.get_mut("fieldRef") {
            default(field, "apiVersion", "v1");
        }
        if let Some(Value::Object(file)) = source.get_mut("fileKeyRef") {
            default(file, "optional", false);
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(Value::Object(probe)) = container.get_mut(name) {
            for (key, value) in [
                ("timeoutSeconds", 1),
                ("periodSeconds", 10),
                ("successThreshold", 1),
                ("failureThreshold", 3),
            ] {
                default(probe, key, value);
            }
            handler_defaults(probe);
        }
    }
    if let Some(Value::Object(lifecycle)) = container.get_mut("lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(Value::Object(handler)) = lifecycle.get_mut(hook) {
                handler_defaults(handler);
            }
        }
    }
}

fn handler_defaults(handler: &mut Object) {
    if let Some(Value::Object(http)) = handler.get_mut("httpGet") {
        default(http, "path", "/");
        default(http, "scheme", "HTTP");
    }
    if let Some(Value::Object(grpc)) = handler.get_mut("grpc") {
        default(grpc, "service", "");
    }
}

/// Images without a tag, or tagged `latest`, are looked up each time.
fn pull_policy(image: &str) -> &'static str {
    if image.contains('@') {
        return "IfNotPresent";
    }
    let last = image.rsplit('/').next().unwrap_or_default();
    match last.split_once(':') {
        None | Some((_, "latest")) => "Always",
        Some(_) => "IfNotPresent",
    }
}

/// Checks a list of containers; `volumes` are the names of the pod's volumes.
pub fn validate_all(path: &Path, containers: &[Value], volumes: &[&str], errors: &mut Vec<FieldError>) {
    let mut names: Vec<&str> = Vec::new();
    for (at, container) in containers.iter().enumerate() {
        let path = path.index(at);
        let name = text(container, "name");
        if name.is_empty() {
            errors.push(FieldError::required(&path.child("name"), ""));
        } else {
            dns_label(&path.child("name"), name, errors);
        }
        if names.contains(&name) && !name.is_empty() {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
        names.push(name);
        validate(&path, container, volumes, errors);
    }
}

fn validate(path: &Path, container: &Value, volumes: &[&str], errors: &mut Vec<FieldError>) {
    let image = text(container, "image");
    if image.is_empty() {
        errors.push(FieldError::required(&path.child("image"), ""));
    } else if image.trim() != image {
        errors.push(FieldError::invalid(
            &path.child("image"),
            image,
            "must not have leading or trailing whitespace",
        ));
    }
    one_of(
        &path.child("imagePullPolicy"),
        text(container, "imagePullPolicy"),
        &["Always", "IfNotPresent", "Never"],
        errors,
    );
    one_of(
        &path.child("terminationMessagePolicy"),
        text(container, "terminationMessagePolicy"),
        &["FallbackToLogsOnError", "File"],
        errors,
    );
    ports(&path.child("ports"), list(container, "ports"), errors);
    for (at, variable) in list(container, "env").iter().enumerate() {
        environment(&path.child("env").index(at), variable, errors);
    }
    mounts(&path.child("volumeMounts"), list(container, "volumeMounts"), volumes, errors);
    resources(&path.child("resources"), &container["resources"], errors);
    security_context::of_container(&path.child("securityContext"), &container["securityContext"], errors);
    for (at, source) in list(container, "envFrom").iter().enumerate() {
        environment_source(&path.child("envFrom").index(at), source, errors);
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if container[name].is_object() {
            probe(&path.child(name), &container[name], name, errors);
        }
    }
    for hook in ["postStart", "preStop"] {
        let handler = &container["lifecycle"][hook];
        if handler.is_object() {
            action(
                &path.child("lifecycle").child(hook),
                handler,
                &["exec", "httpGet", "tcpSocket", "sleep"],
                errors,
            );
        }
    }
}

fn ports(path: &Path, ports: &[Value], errors: &mut Vec<FieldError>) {
    let mut names: Vec<&str> = Vec::new();
    for (at, each) in ports.iter().enumerate() {
        let path = path.index(at);
        let name = text(each, "name");
        if !name.is_empty() {
            port_name(&path.child("name"), name, errors);
            if names.contains(&name) {
                errors.push(FieldError::duplicate(&path.child("name"), name));
            }
            names.push(name);
        }
        match each["containerPort"].as_i64() {
            None | Some(0) => errors.push(FieldError::required(&path.child("containerPort"), "")),
            Some(_) => port(&path.child("containerPort"), &each["containerPort"], errors),
        }
        if each["hostPort"].as_i64().is_some_and(|number| number != 0) {
            port(&path.child("hostPort"), &each["hostPort"], errors);
        }
        one_of(&path.child("protocol"), text(each, "protocol"), &["SCTP", "TCP", "UDP"], errors);
    }
}

fn environment(path: &Path, variable: &Value, errors: &mut Vec<FieldError>) {
    let name = text(variable, "name");
    if name.is_empty() {
        errors.push(FieldError::required(&path.child("name"), ""));
    } else {
        variable_name(&path.child("name"), name, errors);
    }
    let Some(source) = variable["valueFrom"].as_object() else { return };
    let path = path.child("valueFrom");
    if !text(variable, "value").is_empty() && !source.is_empty() {
        errors.push(FieldError::invalid(&path, "", "may not be specified when `value` is not empty"));
    }
    match source.len() {
        0 => errors.push(FieldError::invalid(
            &path,
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        )),
        1 => {}
        _ => errors.push(FieldError::invalid(&path, "", "may not have more than one field specified at a time")),
    }
    for kind in ["configMapKeyRef", "secretKeyRef"] {
        if let Some(reference) = source.get(kind)
            && text(reference, "key").is_empty()
        {
            errors.push(FieldError::required(&path.child(kind).child("key"), ""));
        }
    }
    let Some(file) = source.get("fileKeyRef") else { return };
    let path = path.child("fileKeyRef");
    for field in ["volumeName", "path", "key"] {
        if text(file, field).is_empty() {
            errors.push(FieldError::required(&path.child(field), ""));
        }
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

/// Checks that files with variables stand in volumes that containers can write to.
pub fn validate_files(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
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

fn environment_source(path: &Path, source: &Value, errors: &mut Vec<FieldError>) {
    let kinds = ["configMapRef", "secretRef"].into_iter().filter(|kind| source[*kind].is_object());
    let kinds: Vec<&str> = kinds.collect();
    for kind in &kinds {
        if text(&source[*kind], "name").is_empty() {
            errors.push(FieldError::required(&path.child(kind).child("name"), ""));
        }
    }
    let words = match kinds.len() {
        0 => "must specify one of: `configMapRef` or `secretRef`",
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    errors.push(FieldError::invalid(path, "", words));
}

fn mounts(path: &Path, mounts: &[Value], volumes: &[&str], errors: &mut Vec<FieldError>) {
    let mut paths: Vec<&str> = Vec::new();
    for (at, mount) in mounts.iter().enumerate() {
        let path = path.index(at);
        let name = text(mount, "name");
        if name.is_empty() {
            errors.push(FieldError::required(&path.child("name"), ""));
        } else if !volumes.contains(&name) {
            errors.push(FieldError::not_found(&path.child("name"), name));
        }
        let target = text(mount, "mountPath");
        if target.is_empty() {
            errors.push(FieldError::required(&path.child("mountPath"), ""));
        } else if paths.contains(&target) {
            errors.push(FieldError::invalid(&path.child("mountPath"), target, "must be unique"));
        }
        paths.push(target);
        let sub_path = text(mount, "subPath");
        if sub_path.starts_with('/') {
            errors.push(FieldError::invalid(&path.child("subPath"), sub_path, "must be a relative path"));
        } else if sub_path.split('/').any(|part| part == "..") {
            errors.push(FieldError::invalid(&path.child("subPath"), sub_path, "must not contain '..'"));
        }
    }
}

fn resources(path: &Path, resources: &Value, errors: &mut Vec<FieldError>) {
    let amount = |value: &Value| value.as_str().and_then(|text| text.parse::<Quantity>().ok());
    for list in ["limits", "requests"] {
        for (name, value) in resources[list].as_object().into_iter().flatten() {
            let path = path.child(list).key(name);
            if amount(value).is_some_and(|quantity| quantity.is_negative()) {
                errors.push(FieldError::invalid(&path, value.clone(), "must be greater than or equal to 0"));
            }
        }
    }
    for (name, value) in resources["requests"].as_object().into_iter().flatten() {
        let (Some(request), Some(limit)) = (amount(value), amount(&resources["limits"][name])) else {
            continue;
        };
        if request > limit {
            errors.push(FieldError::invalid(
                &path.child("requests"),
                value.clone(),
                format!("must be less than or equal to {name} limit of {limit}"),
            ));
        }
    }
}

fn probe(path: &Path, probe: &Value, name: &str, errors: &mut Vec<FieldError>) {
    action(path, probe, &["exec", "httpGet", "tcpSocket", "grpc"], errors);
    for key in
        ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
    {
        super::common::not_negative(&path.child(key), &probe[key], errors);
    }
    if name != "readinessProbe" && probe["successThreshold"].as_i64().is_some_and(|count| count != 1) {
        errors.push(FieldError::invalid(
            &path.child("successThreshold"),
            probe["successThreshold"].clone(),
            "must be 1",
        ));
    }
    let grace = &probe["terminationGracePeriodSeconds"];
    if grace.as_i64().is_some_and(|seconds| seconds <= 0) {
        errors.push(FieldError::invalid(
            &path.child("terminationGracePeriodSeconds"),
            grace.clone(),
            "must be greater than 0",
        ));
    }
}

fn action(path: &Path, handler: &Value, kinds: &[&str], errors: &mut Vec<FieldError>) {
    let present: Vec<_> = kinds.iter().filter(|kind| handler[**kind].is_object()).collect();
    match present.as_slice() {
        [] => errors.push(FieldError::required(path, "must specify a handler type")),
        [_] => {}
        [_, rest @ ..] => {
            for kind in rest {
                errors.push(FieldError::forbidden(
                    &path.child(kind),
                    "may not specify more than 1 handler type",
                ));
            }
        }
    }
    if handler["exec"].is_object() && list(&handler["exec"], "command").is_empty() {
        errors.push(FieldError::required(&path.child("exec").child("command"), ""));
    }
    for kind in ["httpGet", "tcpSocket"] {
        let target = &handler[kind]["port"];
        if target.is_i64() {
            port(&path.child(kind).child("port"), target, errors);
        }
    }
}
