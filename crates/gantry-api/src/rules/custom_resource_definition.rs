//! CustomResourceDefinition. What its expressions mean is checked where they are compiled.

mod approval;
mod conversion;
mod names;
mod schema;
mod structural;
mod versions;

use gantry_json::{Value, json};

use super::common::{default, dns_subdomain, immutable, keep_status, list, object, text};
use super::webhook_configuration::service_defaults;
use crate::custom::warnings;
use crate::field::{FieldError, Path};
use crate::registry::Rules;

pub use structural::faults as structural_faults;

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
        definition["status"] = json!({"acceptedNames": {"kind": "", "plural": ""}, "conditions": null});
        remember_storage(definition);
    },
    prepare_update: |new, old| {
        keep_status(new, old);
        remember_storage(new);
    },
    validate,
    validate_create: |definition| {
        let mut errors = Vec::new();
        stored_versions(definition, &mut errors);
        errors.extend(approval::validate(definition, None));
        errors
    },
    validate_update: |new, old| {
        let mut errors = Vec::new();
        let (path, spec, before) = (Path::new("spec"), &new["spec"], &old["spec"]);
        let names = path.child("names");
        if is_established(old) {
            immutable(&path.child("scope"), &spec["scope"], &before["scope"], &mut errors);
            let (kind, earlier) = (&spec["names"]["kind"], &before["names"]["kind"]);
            immutable(&names.child("kind"), kind, earlier, &mut errors);
        }
        immutable(&path.child("group"), &spec["group"], &before["group"], &mut errors);
        let (plural, earlier) = (&spec["names"]["plural"], &before["names"]["plural"]);
        immutable(&names.child("plural"), plural, earlier, &mut errors);
        conversion::validate_update(&path.child("conversion"), new, old, &mut errors);
        stored_versions(new, &mut errors);
        errors.extend(approval::validate(new, Some(old)));
        errors
    },
    validate_status: |new, _, _| {
        let mut errors = Vec::new();
        names::validate(
            &Path::new("status").child("acceptedNames"),
            &new["status"]["acceptedNames"],
            &mut errors,
        );
        stored_versions(new, &mut errors);
        errors
    },
    warn: warnings::of_definition,
    ..Rules::NONE
};

/// Whether the kind was served once.
fn is_established(definition: &Value) -> bool {
    let mut conditions = list(&definition["status"], "conditions").iter();
    conditions.any(|each| each["type"] == "Established" && each["status"] == "True")
}

/// Objects may be kept in every version that was once the one to keep.
fn remember_storage(definition: &mut Value) {
    let mut versions = list(&definition["spec"], "versions").iter();
    let Some(storage) = versions.find(|each| each["storage"] == true) else { return };
    let name = storage["name"].clone();
    let stored = &mut definition["status"]["storedVersions"];
    if !stored.is_array() {
        *stored = json!([]);
    }
    if let Some(stored) = stored.as_array_mut()
        && !stored.contains(&name)
    {
        stored.push(name);
    }
}

/// Versions in which objects may still be kept stay.
fn stored_versions(definition: &Value, errors: &mut Vec<FieldError>) {
    let path = Path::new("status").child("storedVersions");
    let (stored, versions) =
        (list(&definition["status"], "storedVersions"), list(&definition["spec"], "versions"));
    if stored.is_empty() {
        let words = "must have at least one stored version";
        errors.push(FieldError::invalid(&path, definition["status"]["storedVersions"].clone(), words));
        return;
    }
    let mut left: Vec<(usize, &Value)> = stored.iter().enumerate().collect();
    for version in versions {
        let name = &version["name"];
        if version["storage"] == true && left.iter().all(|(_, stored)| *stored != name) {
            let words = format!("must have the storage version {}", text(version, "name"));
            errors.push(FieldError::invalid(&path, stored.to_vec(), words));
        }
        // One of two that have the same name is missing.
        left.retain(|(_, stored)| *stored != name);
    }
    for (at, name) in left {
        let shown = name.as_str().unwrap_or_default();
        let words = format!(
            "missing from spec.versions; {shown} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {shown} and removes {shown} from status.storedVersions"
        );
        errors.push(FieldError::invalid(&path.index(at), name.clone(), words));
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
    let faults = joined(|faults| dns_subdomain(&at, group, faults));
    if group.is_empty() {
        errors.push(FieldError::required(&at, ""));
    } else if let Some(faults) = faults {
        errors.push(FieldError::invalid(&at, group, faults));
    } else if !group.contains('.') {
        errors.push(FieldError::invalid(&at, group, "should be a domain with at least one dot"));
    }
    required_one_of(&path.child("scope"), text(spec, "scope"), &["Cluster", "Namespaced"], &mut errors);
    versions::validate(&path, spec, &mut errors);
    conversion::validate(&path.child("conversion"), &spec["conversion"], &mut errors);
    names::validate(
        &Path::new("status").child("acceptedNames"),
        &definition["status"]["acceptedNames"],
        &mut errors,
    );
    if spec["preserveUnknownFields"] == true {
        errors.push(FieldError::invalid(
            &path.child("preserveUnknownFields"),
            true,
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        ));
    }
    errors
}

/// What several checks of one name find, as one text.
fn joined(check: impl FnOnce(&mut Vec<FieldError>)) -> Option<String> {
    let mut faults = Vec::new();
    check(&mut faults);
    let words: Vec<String> = faults.into_iter().map(|fault| fault.detail).collect();
    (!words.is_empty()).then(|| words.join(","))
}

fn required_one_of(path: &Path, value: &str, known: &[&str], errors: &mut Vec<FieldError>) {
    match value {
        "" => errors.push(FieldError::required(path, "")),
        value if known.contains(&value) => {}
        value => errors.push(FieldError::not_supported(path, value, known)),
    }
}
