//! CustomResourceDefinition. What its expressions mean is checked where they are compiled.

mod structural;

use serde_json::{Value, json};

use super::common::{default, dns_1035, dns_subdomain, immutable, keep_status, list, object, one_of, text};
use super::webhook_configuration::{client, service_defaults};
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The types and formats of columns.
const TYPES: &[&str] = &["boolean", "date", "integer", "number", "string"];
const FORMATS: &[&str] = &["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
/// The most fields that objects are selected by.
const MOST_SELECTABLE: usize = 8;

/// The rules.
pub const RULES: Rules = Rules {
    default: |definition| {
        let Some(definition) = definition.as_object_mut() else { return };
        let spec = object(definition, "spec");
        let names = object(spec, "names");
        let kind = names.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        if !kind.is_empty() {
            default(names, "singular", kind.to_lowercase());
            default(names, "listKind", format!("{kind}List"));
        }
        default(spec, "conversion", json!({"strategy": "None"}));
        let conversion = object(spec, "conversion");
        if let Some(Value::Object(webhook)) = conversion.get_mut("webhook")
            && let Some(Value::Object(client)) = webhook.get_mut("clientConfig")
        {
            service_defaults(client);
        }
    },
    prepare_create: |definition| {
        definition["status"] = json!({"acceptedNames": {"kind": "", "plural": ""}});
        remember_storage(definition);
    },
    prepare_update: |new, old| {
        keep_status(new, old);
        remember_storage(new);
    },
    validate,
    validate_update: |new, old| {
        let mut errors = Vec::new();
        let (path, spec, before) = (Path::new("spec"), &new["spec"], &old["spec"]);
        let established = list(&old["status"], "conditions")
            .iter()
            .any(|each| each["type"] == "Established" && each["status"] == "True");
        let names = path.child("names");
        if established {
            immutable(&path.child("scope"), &spec["scope"], &before["scope"], &mut errors);
            let (kind, earlier) = (&spec["names"]["kind"], &before["names"]["kind"]);
            immutable(&names.child("kind"), kind, earlier, &mut errors);
        }
        immutable(&path.child("group"), &spec["group"], &before["group"], &mut errors);
        let (plural, earlier) = (&spec["names"]["plural"], &before["names"]["plural"]);
        immutable(&names.child("plural"), plural, earlier, &mut errors);
        for (at, version) in list(&new["status"], "storedVersions").iter().enumerate() {
            stored_version(at, version, spec, &mut errors);
        }
        errors
    },
    validate_status: |new, _, _| {
        let mut errors = Vec::new();
        let versions = list(&new["status"], "storedVersions");
        let path = Path::new("status").child("storedVersions");
        if versions.is_empty() {
            errors.push(FieldError::invalid(
                &path,
                Value::Array(Vec::new()),
                "must have at least one stored version",
            ));
        }
        for (at, version) in versions.iter().enumerate() {
            stored_version(at, version, &new["spec"], &mut errors);
        }
        errors
    },
    ..Rules::NONE
};

/// Objects may be kept in every version that was once the one to keep.
fn remember_storage(definition: &mut Value) {
    let versions = list(&definition["spec"], "versions").iter();
    let storage: Vec<Value> =
        versions.filter(|each| each["storage"] == true).map(|each| each["name"].clone()).collect();
    let stored = &mut definition["status"]["storedVersions"];
    if !stored.is_array() {
        *stored = json!([]);
    }
    if let Some(stored) = stored.as_array_mut() {
        for name in storage {
            if !stored.contains(&name) {
                stored.push(name);
            }
        }
    }
}

fn stored_version(at: usize, version: &Value, spec: &Value, errors: &mut Vec<FieldError>) {
    if !list(spec, "versions").iter().any(|each| each["name"] == *version) {
        let path = Path::new("status").child("storedVersions").index(at);
        errors.push(FieldError::invalid(&path, version.clone(), "must appear in spec.versions"));
    }
}

fn validate(definition: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (path, spec) = (Path::new("spec"), &definition["spec"]);
    let (group, plural) = (text(spec, "group"), text(&spec["names"], "plural"));
    let name = text(&definition["metadata"], "name");
    if name != format!("{plural}.{group}") {
        let words = "must be spec.names.plural+\".\"+spec.group";
        errors.push(FieldError::invalid(&Path::new("metadata").child("name"), name, words));
    }
    let at = path.child("group");
    if group.is_empty() {
        errors.push(FieldError::required(&at, ""));
    } else {
        dns_subdomain(&at, group, &mut errors);
        if !group.contains('.') {
            errors.push(FieldError::invalid(&at, group, "should be a domain with at least one dot"));
        }
    }
    required_one_of(&path.child("scope"), text(spec, "scope"), &["Cluster", "Namespaced"], &mut errors);
    if spec["preserveUnknownFields"] == true {
        errors.push(FieldError::invalid(
            &path.child("preserveUnknownFields"),
            true,
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        ));
    }
    versions(&path.child("versions"), spec, &mut errors);
    names(&path.child("names"), &spec["names"], &mut errors);
    conversion(&path.child("conversion"), &spec["conversion"], &mut errors);
    errors
}

fn required_one_of(path: &Path, value: &str, known: &[&str], errors: &mut Vec<FieldError>) {
    match value {
        "" => errors.push(FieldError::required(path, "")),
        value => one_of(path, value, known, errors),
    }
}

fn versions(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    let versions = list(spec, "versions");
    for (at, version) in versions.iter().enumerate() {
        let path = path.index(at);
        dns_1035(&path.child("name"), text(version, "name"), errors);
        if let Some(warning) = version["deprecationWarning"].as_str() {
            let at = path.child("deprecationWarning");
            if version["deprecated"] != true {
                errors.push(FieldError::invalid(&at, warning, "can only be set for deprecated versions"));
            }
            if warning.len() > 256 {
                errors.push(FieldError::invalid(&at, warning, "must be <= 256 UTF-8 bytes long"));
            }
            if warning.is_empty() {
                errors.push(FieldError::invalid(&at, warning, "must not be empty"));
            }
        }
        let at = path.child("schema").child("openAPIV3Schema");
        let schema = &version["schema"]["openAPIV3Schema"];
        if schema.is_object() {
            structural::validate(&at, schema, errors);
        } else {
            errors.push(FieldError::required(&at, "schemas are required"));
        }
        subresources(&path.child("subresources"), &version["subresources"], errors);
        for (at, column) in list(version, "additionalPrinterColumns").iter().enumerate() {
            printer_column(&path.child("additionalPrinterColumns").index(at), column, errors);
        }
        let fields = list(version, "selectableFields");
        let at = path.child("selectableFields");
        if fields.len() > MOST_SELECTABLE {
            errors.push(FieldError::too_many(&at, fields.len(), MOST_SELECTABLE));
        }
        for (index, field) in fields.iter().enumerate() {
            let at = at.index(index).child("jsonPath");
            if text(field, "jsonPath").is_empty() {
                errors.push(FieldError::required(&at, ""));
            } else if fields[..index].contains(field) {
                errors.push(FieldError::duplicate(&at, field["jsonPath"].clone()));
            }
        }
    }
    let named = |at: usize| &versions[at]["name"];
    if (0..versions.len()).any(|at| (0..at).any(|other| named(at) == named(other))) {
        let words = "must contain unique version names";
        errors.push(FieldError::invalid(path, spec["versions"].clone(), words));
    }
    if versions.iter().filter(|version| version["storage"] == true).count() != 1 {
        let words = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid(path, spec["versions"].clone(), words));
    }
}

fn names(path: &Path, names: &Value, errors: &mut Vec<FieldError>) {
    for key in ["plural", "singular", "kind", "listKind"] {
        let (path, name) = (path.child(key), text(names, key));
        match name {
            "" => errors.push(FieldError::required(&path, "")),
            name => {
                let mut faults = Vec::new();
                dns_1035(&path, &name.to_lowercase(), &mut faults);
                if let Some(fault) = faults.into_iter().next() {
                    let words = match key {
                        "kind" | "listKind" => {
                            format!("may have mixed case, but should otherwise match: {}", fault.detail)
                        }
                        _ => fault.detail,
                    };
                    errors.push(FieldError::invalid(&path, name, words));
                }
            }
        }
    }
    for key in ["shortNames", "categories"] {
        for (at, name) in list(names, key).iter().enumerate() {
            dns_1035(&path.child(key).index(at), name.as_str().unwrap_or_default(), errors);
        }
    }
    let kind = text(names, "kind");
    if !kind.is_empty() && names["listKind"] == kind {
        let words = "kind and listKind may not be the same";
        errors.push(FieldError::invalid(&path.child("listKind"), kind, words));
    }
}

fn conversion(path: &Path, conversion: &Value, errors: &mut Vec<FieldError>) {
    let strategy = text(conversion, "strategy");
    required_one_of(&path.child("strategy"), strategy, &["None", "Webhook"], errors);
    let (at, webhook) = (path.child("webhook"), &conversion["webhook"]);
    if strategy != "Webhook" {
        if !webhook.is_null() {
            let words = "should not be set when strategy is not set to Webhook";
            errors.push(FieldError::forbidden(&path.child("webhookClientConfig"), words));
        }
        return;
    }
    if !webhook["clientConfig"].is_object() {
        let words = "required when strategy is set to Webhook";
        errors.push(FieldError::required(&path.child("webhookClientConfig"), words));
    } else {
        client(&at.child("clientConfig"), &webhook["clientConfig"], errors);
    }
    let versions: Vec<&str> =
        list(webhook, "conversionReviewVersions").iter().filter_map(Value::as_str).collect();
    let at = path.child("conversionReviewVersions");
    if versions.is_empty() {
        errors.push(FieldError::required(&at, ""));
    } else if !versions.iter().any(|version| matches!(*version, "v1" | "v1beta1")) {
        let shown = webhook["conversionReviewVersions"].clone();
        errors.push(FieldError::invalid(&at, shown, "must include at least one of v1, v1beta1"));
    }
}

fn subresources(path: &Path, subresources: &Value, errors: &mut Vec<FieldError>) {
    let scale = &subresources["scale"];
    if !scale.is_object() {
        return;
    }
    let path = path.child("scale");
    for (key, under, words) in [
        ("specReplicasPath", ".spec.", "should be a json path under .spec"),
        ("statusReplicasPath", ".status.", "should be a json path under .status"),
    ] {
        let at = path.child(key);
        match text(scale, key) {
            "" => errors.push(FieldError::required(&at, "")),
            value if !value.starts_with(under) => errors.push(FieldError::invalid(&at, value, words)),
            _ => {}
        }
    }
    let labels = text(scale, "labelSelectorPath");
    if !labels.is_empty() && !labels.starts_with(".spec.") && !labels.starts_with(".status.") {
        let words = "should be a json path under either .spec or .status";
        errors.push(FieldError::invalid(&path.child("labelSelectorPath"), labels, words));
    }
}

fn printer_column(path: &Path, column: &Value, errors: &mut Vec<FieldError>) {
    if text(column, "name").is_empty() {
        errors.push(FieldError::required(&path.child("name"), ""));
    }
    required_one_of(&path.child("type"), text(column, "type"), TYPES, errors);
    if !text(column, "format").is_empty() {
        one_of(&path.child("format"), text(column, "format"), FORMATS, errors);
    }
    match text(column, "jsonPath") {
        "" => errors.push(FieldError::required(&path.child("jsonPath"), "")),
        value if !value.starts_with('.') => {
            let words = "must be a simple json path starting with .";
            errors.push(FieldError::invalid(&path.child("jsonPath"), value, words));
        }
        _ => {}
    }
}
