//! ValidatingWebhookConfiguration and MutatingWebhookConfiguration.

use gantry_json::{Map, Value, json};

use super::admission_rules::{match_conditions, resource_rule, rule_defaults};
use super::common::{
    default, default_absent, dns_1035, items, label_selector, list, one_of, qualified_domain,
    subdomain_faults, text,
};
use crate::field::{FieldError, Path};
use crate::registry::Rules;
use crate::url::Url;

/// The versions of reviews that the server sends.
const REVIEWS: [&str; 2] = ["v1", "v1beta1"];

/// The rules of ValidatingWebhookConfiguration.
pub const VALIDATING: Rules = Rules {
    default: |configuration| {
        let Some(configuration) = configuration.as_object_mut() else { return };
        items(configuration, "webhooks").for_each(set_defaults);
    },
    validate: |configuration| validate(configuration, false),
    ..Rules::NONE
};

/// The rules of MutatingWebhookConfiguration.
pub const MUTATING: Rules = Rules {
    default: |configuration| {
        let Some(configuration) = configuration.as_object_mut() else { return };
        for webhook in items(configuration, "webhooks") {
            set_defaults(webhook);
            default_absent(webhook, "reinvocationPolicy", "Never");
        }
    },
    validate: |configuration| validate(configuration, true),
    ..Rules::NONE
};

fn set_defaults(webhook: &mut Map) {
    default_absent(webhook, "failurePolicy", "Fail");
    default_absent(webhook, "matchPolicy", "Equivalent");
    default(webhook, "namespaceSelector", json!({}));
    default(webhook, "objectSelector", json!({}));
    default(webhook, "timeoutSeconds", 10);
    items(webhook, "rules").for_each(rule_defaults);
    if let Some(Value::Object(client)) = webhook.get_mut("clientConfig") {
        service_defaults(client);
    }
}

/// Sets the defaults of how a server reaches another.
pub(super) fn service_defaults(client: &mut Map) {
    if let Some(Value::Object(service)) = client.get_mut("service") {
        default(service, "port", 443);
    }
}

fn validate(configuration: &Value, mutating: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let webhooks = list(configuration, "webhooks");
    for (at, webhook) in webhooks.iter().enumerate() {
        let path = Path::new("webhooks").index(at);
        validate_webhook(&path, webhook, mutating, &mut errors);
        let name = text(webhook, "name");
        if !name.is_empty() && webhooks[..at].iter().any(|other| text(other, "name") == name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
    }
    errors
}

fn validate_webhook(path: &Path, webhook: &Value, mutating: bool, errors: &mut Vec<FieldError>) {
    qualified_domain(&path.child("name"), text(webhook, "name"), errors);
    for (at, rule) in list(webhook, "rules").iter().enumerate() {
        resource_rule(&path.child("rules").index(at), rule, errors);
    }
    one_of(&path.child("failurePolicy"), text(webhook, "failurePolicy"), &["Fail", "Ignore"], errors);
    one_of(&path.child("matchPolicy"), text(webhook, "matchPolicy"), &["Equivalent", "Exact"], errors);
    match webhook["sideEffects"].as_str() {
        None => errors
            .push(FieldError::required(&path.child("sideEffects"), "must specify one of None, NoneOnDryRun")),
        Some(effects) => one_of(&path.child("sideEffects"), effects, &["None", "NoneOnDryRun"], errors),
    }
    let timeout = &webhook["timeoutSeconds"];
    if timeout.as_i64().is_some_and(|seconds| !(1..=30).contains(&seconds)) {
        let words = "the timeout value must be between 1 and 30 seconds";
        errors.push(FieldError::invalid(&path.child("timeoutSeconds"), timeout.clone(), words));
    }
    for key in ["namespaceSelector", "objectSelector"] {
        label_selector(&path.child(key), &webhook[key], errors);
    }
    if mutating {
        let policy = text(webhook, "reinvocationPolicy");
        one_of(&path.child("reinvocationPolicy"), policy, &["IfNeeded", "Never"], errors);
    }
    client(&path.child("clientConfig"), &webhook["clientConfig"], errors);
    match_conditions(&path.child("matchConditions"), list(webhook, "matchConditions"), errors);
    reviews(&path.child("admissionReviewVersions"), webhook, errors);
}

fn reviews(path: &Path, webhook: &Value, errors: &mut Vec<FieldError>) {
    let versions: Vec<&str> =
        list(webhook, "admissionReviewVersions").iter().filter_map(Value::as_str).collect();
    if versions.is_empty() {
        errors.push(FieldError::required(path, "must specify one of v1, v1beta1"));
        return;
    }
    for (at, version) in versions.iter().enumerate() {
        if versions[..at].contains(version) {
            errors.push(FieldError::invalid(&path.index(at), *version, "duplicate version"));
            continue;
        }
        dns_1035(&path.index(at), version, errors);
    }
    if !versions.iter().any(|version| REVIEWS.contains(version)) {
        let shown = webhook["admissionReviewVersions"].clone();
        errors.push(FieldError::invalid(path, shown, "must include at least one of v1, v1beta1"));
    }
}

/// Checks how a server reaches another: by URL or by service.
pub(super) fn client(path: &Path, client: &Value, errors: &mut Vec<FieldError>) {
    let (url, service) = (client["url"].as_str(), &client["service"]);
    if url.is_some() == service.is_object() {
        errors.push(FieldError::required(path, "exactly one of url or service is required"));
    } else if let Some(url) = url {
        web_address(&path.child("url"), url, errors);
    } else {
        service_reference(&path.child("service"), service, errors);
    }
}

fn web_address(path: &Path, url: &str, errors: &mut Vec<FieldError>) {
    const FORM: &str = "; desired format: https://host[/path]";
    let parsed = match Url::parse(url) {
        Ok(parsed) => parsed,
        Err(why) => {
            let words = format!("url must be a valid URL: parse {url:?}: {why}{FORM}");
            errors.push(FieldError::required(path, words));
            return;
        }
    };
    if parsed.scheme != "https" {
        let words = format!("'https' is the only allowed URL scheme{FORM}");
        errors.push(FieldError::invalid(path, parsed.scheme, words));
    }
    if parsed.host.is_empty() {
        errors.push(FieldError::invalid(path, "", format!("host must be provided{FORM}")));
    }
    if let Some(user) = parsed.user {
        errors.push(FieldError::invalid(path, user, "user information is not permitted in the URL"));
    }
    if !parsed.fragment.is_empty() {
        errors.push(FieldError::invalid(path, parsed.fragment, "fragments are not permitted in the URL"));
    }
    if !parsed.query.is_empty() {
        errors.push(FieldError::invalid(path, parsed.query, "query parameters are not permitted in the URL"));
    }
}

fn service_reference(path: &Path, service: &Value, errors: &mut Vec<FieldError>) {
    for (key, words) in [("name", "service name is required"), ("namespace", "service namespace is required")]
    {
        if text(service, key).is_empty() {
            errors.push(FieldError::required(&path.child(key), words));
        }
    }
    let port = &service["port"];
    if port.as_i64().is_some_and(|port| !(1..=65535).contains(&port)) {
        let words = "port is not valid: must be between 1 and 65535, inclusive";
        errors.push(FieldError::invalid(&path.child("port"), port.clone(), words));
    }
    let Some(target) = service["path"].as_str() else { return };
    let path = path.child("path");
    if target == "/" || target.is_empty() {
        return;
    }
    if target == "//" {
        errors.push(FieldError::invalid(&path, target, "segment[0] may not be empty"));
        return;
    }
    if !target.starts_with('/') {
        errors.push(FieldError::invalid(&path, target, "must start with a '/'"));
    }
    let mut below = target.chars();
    below.next();
    let below = below.as_str();
    for (at, step) in below.strip_suffix('/').unwrap_or(below).split('/').enumerate() {
        if step.is_empty() {
            errors.push(FieldError::invalid(&path, target, format!("segment[{at}] may not be empty")));
            continue;
        }
        for fault in subdomain_faults(step) {
            errors.push(FieldError::invalid(&path, target, format!("segment[{at}]: {fault}")));
        }
    }
}
