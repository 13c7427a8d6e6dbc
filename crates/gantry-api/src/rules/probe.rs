//! What is done to containers from outside: probes, and hooks of their lives.

use gantry_json::{Map, Value};

use super::common::{default, default_zero, list, not_negative, one_of, port, port_name, required};
use crate::field::{FieldError, Path};

/// The probes of a container.
pub(super) const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];
/// The hooks of a container.
const HOOKS: [&str; 2] = ["postStart", "preStop"];
/// What can be done, in the order in which it is looked at.
const ACTIONS: [&str; 5] = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"];

/// Sets the defaults of a container's probes and hooks.
pub(super) fn set_defaults(container: &mut Map) {
    for name in PROBES {
        let Some(Value::Object(probe)) = container.get_mut(name) else { continue };
        for (key, value) in
            [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
        {
            default_zero(probe, key, value);
        }
        action_defaults(probe);
    }
    if let Some(Value::Object(lifecycle)) = container.get_mut("lifecycle") {
        for hook in HOOKS {
            if let Some(Value::Object(handler)) = lifecycle.get_mut(hook) {
                action_defaults(handler);
            }
        }
    }
}

fn action_defaults(handler: &mut Map) {
    if let Some(Value::Object(http)) = handler.get_mut("httpGet") {
        default(http, "path", "/");
        default(http, "scheme", "HTTP");
    }
    if let Some(Value::Object(grpc)) = handler.get_mut("grpc") {
        default(grpc, "service", "");
    }
}

/// Checks a container's probes and hooks; `grace` is the time that the pod has to end, in seconds.
pub(super) fn validate(path: &Path, container: &Value, grace: Option<i64>, errors: &mut Vec<FieldError>) {
    for hook in HOOKS {
        let handler = &container["lifecycle"][hook];
        if handler.is_object() {
            action(&path.child("lifecycle").child(hook), handler, grace, errors);
        }
    }
    for name in PROBES {
        if container[name].is_object() {
            probe(&path.child(name), &container[name], name, grace, errors);
        }
    }
}

fn probe(path: &Path, probe: &Value, name: &str, grace: Option<i64>, errors: &mut Vec<FieldError>) {
    action(path, probe, grace, errors);
    for key in
        ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
    {
        not_negative(&path.child(key), &probe[key], errors);
    }
    let (at, own) = (path.child("terminationGracePeriodSeconds"), &probe["terminationGracePeriodSeconds"]);
    if own.as_i64().is_some_and(|seconds| seconds <= 0) {
        errors.push(FieldError::invalid(&at, own.clone(), "must be greater than 0"));
    }
    let successes = &probe["successThreshold"];
    if name == "readinessProbe" {
        if !own.is_null() {
            errors.push(FieldError::invalid(&at, own.clone(), "must not be set for readinessProbes"));
        }
    } else if successes.as_i64().is_some_and(|count| count != 1) {
        errors.push(FieldError::invalid(&path.child("successThreshold"), successes.clone(), "must be 1"));
    }
}

fn action(path: &Path, handler: &Value, grace: Option<i64>, errors: &mut Vec<FieldError>) {
    let mut present = ACTIONS.into_iter().filter(|kind| handler[*kind].is_object());
    let Some(kind) = present.next() else {
        return errors.push(FieldError::required(path, "must specify a handler type"));
    };
    let (at, given) = (path.child(kind), &handler[kind]);
    match kind {
        "exec" if list(given, "command").is_empty() => {
            errors.push(FieldError::required(&at.child("command"), ""));
        }
        "httpGet" => http(&at, given, errors),
        "tcpSocket" => port_or_name(&at.child("port"), &given["port"], errors),
        "grpc" => port(&at.child("port"), &given["port"], errors),
        "sleep" => {
            let seconds = given["seconds"].as_i64().unwrap_or(0);
            if let Some(grace) = grace.filter(|grace| seconds < 0 || seconds > *grace) {
                let words =
                    format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
                errors.push(FieldError::invalid(&at, seconds, words));
            }
        }
        _ => {}
    }
    let words = "may not specify more than 1 handler type";
    errors.extend(present.map(|kind| FieldError::forbidden(&path.child(kind), words)));
}

fn http(path: &Path, given: &Value, errors: &mut Vec<FieldError>) {
    required(path, given, "path", errors);
    port_or_name(&path.child("port"), &given["port"], errors);
    let scheme = given["scheme"].as_str().unwrap_or_default();
    one_of(&path.child("scheme"), scheme, &["HTTP", "HTTPS"], errors);
    for header in list(given, "httpHeaders") {
        let name = header["name"].as_str().unwrap_or_default();
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            let words = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
            errors.push(FieldError::invalid(&path.child("httpHeaders"), name, words));
        }
    }
}

/// Checks a port that is a number or has a name.
pub(super) fn port_or_name(path: &Path, given: &Value, errors: &mut Vec<FieldError>) {
    match given.as_str() {
        Some(name) => port_name(path, name, errors),
        None if given.is_null() => port(path, &0.into(), errors),
        None => port(path, given, errors),
    }
}
