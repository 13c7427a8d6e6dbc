//! Ingress.

use gantry_json::Value;

use super::common::{
    dns_1035, dns_subdomain, drop_status, keep_status, legacy_ip, list, one_of, port, port_name, required,
    text, typed_reference,
};
use crate::field::{FieldError, Path};
use crate::registry::Rules;
use crate::selector::is_dns_subdomain;

/// The class, before it was a field.
const CLASS: &str = "kubernetes.io/ingress.class";

/// The rules.
pub const RULES: Rules = Rules {
    prepare_create: drop_status,
    prepare_update: keep_status,
    validate: |ingress| {
        let mut errors = Vec::new();
        let (path, spec) = (Path::new("spec"), &ingress["spec"]);
        if list(spec, "rules").is_empty() && !spec["defaultBackend"].is_object() {
            let words = "either `defaultBackend` or `rules` must be specified";
            errors.push(FieldError::invalid(&path, spec["rules"].clone(), words));
        }
        if spec["defaultBackend"].is_object() {
            backend(&path.child("defaultBackend"), &spec["defaultBackend"], &mut errors);
        }
        for (at, each) in list(spec, "rules").iter().enumerate() {
            rule(&path.child("rules").index(at), each, &mut errors);
        }
        for (at, tls) in list(spec, "tls").iter().enumerate() {
            for (index, name) in list(tls, "hosts").iter().enumerate() {
                let path = path.child("tls").index(at).child("hosts").index(index);
                host(&path, name.as_str().unwrap_or_default(), &mut errors);
            }
            if !text(tls, "secretName").is_empty() {
                let path = path.child("tls").index(at).child("secretName");
                dns_subdomain(&path, text(tls, "secretName"), &mut errors);
            }
        }
        if !spec["ingressClassName"].is_null() {
            dns_subdomain(&path.child("ingressClassName"), text(spec, "ingressClassName"), &mut errors);
        }
        errors
    },
    validate_create: |ingress| {
        let annotated = &ingress["metadata"]["annotations"][CLASS];
        let class = &ingress["spec"]["ingressClassName"];
        if annotated.is_null() || class.is_null() || annotated == class {
            return Vec::new();
        }
        let path = Path::new("annotations").child(CLASS);
        let words = "must match `ingressClassName` when both are specified";
        vec![FieldError::invalid(&path, annotated.clone(), words)]
    },
    validate_status: |new, _, _| {
        let mut errors = Vec::new();
        let path = Path::new("status").child("loadBalancer").child("ingress");
        for (at, each) in list(&new["status"]["loadBalancer"], "ingress").iter().enumerate() {
            let path = path.index(at);
            if !text(each, "ip").is_empty() {
                legacy_ip(&path.child("ip"), text(each, "ip"), &mut errors);
            }
            let name = text(each, "hostname");
            if !name.is_empty() {
                let path = path.child("hostname");
                dns_subdomain(&path, name, &mut errors);
                not_an_address(&path, name, &mut errors);
            }
        }
        errors
    },
    warn: |ingress, old| {
        let class = &ingress["metadata"]["annotations"]["kubernetes.io/ingress.class"];
        let named = !class.is_null() && ingress["spec"]["ingressClassName"].is_null() && old.is_none();
        let words = "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead";
        named.then(|| words.to_owned()).into_iter().collect()
    },
    ..Rules::NONE
};

fn not_an_address(path: &Path, name: &str, errors: &mut Vec<FieldError>) {
    if name.parse::<std::net::IpAddr>().is_ok() {
        errors.push(FieldError::invalid(path, name, "must be a DNS name, not an IP address"));
    }
}

fn host(path: &Path, name: &str, errors: &mut Vec<FieldError>) {
    if name.contains('*') {
        if !name.strip_prefix("*.").is_some_and(is_dns_subdomain) {
            let words = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
            errors.push(FieldError::invalid(path, name, words));
        }
    } else {
        dns_subdomain(path, name, errors);
    }
}

fn rule(path: &Path, rule: &Value, errors: &mut Vec<FieldError>) {
    let name = text(rule, "host");
    if !name.is_empty() {
        let path = path.child("host");
        not_an_address(&path, name, errors);
        host(&path, name, errors);
    }
    if !rule["http"].is_object() {
        return;
    }
    let path = path.child("http").child("paths");
    let paths = list(&rule["http"], "paths");
    if paths.is_empty() {
        errors.push(FieldError::required(&path, ""));
    }
    for (at, each) in paths.iter().enumerate() {
        let path = path.index(at);
        if each["pathType"].is_null() {
            errors.push(FieldError::required(&path.child("pathType"), "pathType must be specified"));
            continue;
        }
        http_path(&path, each, errors);
        backend(&path.child("backend"), &each["backend"], errors);
    }
}

fn http_path(path: &Path, each: &Value, errors: &mut Vec<FieldError>) {
    let (at, wanted) = (path.child("path"), text(each, "path"));
    match text(each, "pathType") {
        "Exact" | "Prefix" => {
            if !wanted.starts_with('/') {
                errors.push(FieldError::invalid(&at, wanted, "must be an absolute path"));
            }
            for part in ["//", "/./", "/../", "%2f", "%2F"].iter().filter(|part| wanted.contains(**part)) {
                errors.push(FieldError::invalid(&at, wanted, format!("must not contain '{part}'")));
            }
            for end in ["/..", "/."].iter().filter(|end| wanted.ends_with(**end)) {
                errors.push(FieldError::invalid(&at, wanted, format!("cannot end with '{end}'")));
            }
        }
        "ImplementationSpecific" => {
            if !wanted.is_empty() && !wanted.starts_with('/') {
                errors.push(FieldError::invalid(&at, wanted, "must be an absolute path"));
            }
        }
        other => {
            one_of(&path.child("pathType"), other, &["Exact", "ImplementationSpecific", "Prefix"], errors);
        }
    }
}

fn backend(path: &Path, backend: &Value, errors: &mut Vec<FieldError>) {
    let (service, resource) = (&backend["service"], &backend["resource"]);
    match (service.is_object(), resource.is_object()) {
        (true, true) => {
            errors.push(FieldError::invalid(path, "", "cannot set both resource and service backends"));
        }
        (false, false) => {
            errors.push(FieldError::invalid(path, "", "resource or service backend is required"));
        }
        (false, true) => {
            typed_reference(&path.child("resource"), resource, errors);
        }
        (true, false) => {
            let at = path.child("service");
            if let Some(name) = required(&at, service, "name", errors) {
                dns_1035(&at.child("name"), name, errors);
            }
            service_port(path, &service["port"], errors);
        }
    }
}

fn service_port(path: &Path, wanted: &Value, errors: &mut Vec<FieldError>) {
    let (name, number) = (text(wanted, "name"), wanted["number"].as_i64().unwrap_or(0));
    match (name.is_empty(), number == 0) {
        (true, true) => errors.push(FieldError::required(path, "port name or number is required")),
        (false, false) => {
            errors.push(FieldError::invalid(path, "", "cannot set both port name & port number"));
        }
        (false, true) => port_name(&path.child("service").child("port").child("name"), name, errors),
        (true, false) => {
            port(&path.child("service").child("port").child("number"), &wanted["number"], errors)
        }
    }
}
