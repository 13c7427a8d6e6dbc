//! The versions of a kind.
//!
//! What all versions say alike is reported once, as what the kind says: upstream's own form of a
//! definition has it there.

use gantry_json::Value;

use super::{joined, names, schema};
use crate::custom::path::checked;
use crate::field::{FieldError, Path};
use crate::rules::common::{dns_1035, list, text};

/// The types and formats of columns.
const TYPES: &str = "boolean,date,integer,number,string";
const FORMATS: &str = "byte,date,date-time,double,float,int32,int64,password";
/// The most fields that objects are selected by.
const MOST_SELECTABLE: usize = 8;

/// Where the parts of the versions stand.
struct Shared<'a> {
    versions: &'a [Value],
}

impl<'a> Shared<'a> {
    /// What all versions say at `key`, if it is the same.
    fn part(&self, key: &str) -> Option<&'a Value> {
        let first = &self.versions.first()?[key];
        self.versions.iter().all(|version| version[key] == *first).then_some(first)
    }
}

pub(super) fn validate(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    let versions = list(spec, "versions");
    let shared = Shared { versions };
    let at = path.child("versions");
    for (index, version) in versions.iter().enumerate() {
        if !version["schema"]["openAPIV3Schema"].is_object() {
            let at = at.index(index).child("schema").child("openAPIV3Schema");
            errors.push(FieldError::required(&at, "schemas are required"));
        }
    }
    for (index, version) in versions.iter().enumerate() {
        let at = at.index(index);
        let name = text(version, "name");
        if let Some(faults) = joined(|faults| dns_1035(&at, name, faults)) {
            errors.push(FieldError::invalid(&at.child("name"), name, faults));
        }
        deprecation(&at.child("deprecationWarning"), version, errors);
        if shared.part("schema").is_none() {
            let status = version["subresources"]["status"].is_object();
            schema::validate(&at.child("schema"), &version["schema"], status, errors);
        }
        if shared.part("subresources").is_none() {
            subresources(&at.child("subresources"), &version["subresources"], errors);
        }
        if shared.part("additionalPrinterColumns").is_none() {
            columns(&at.child("additionalPrinterColumns"), &version["additionalPrinterColumns"], errors);
        }
        if shared.part("selectableFields").is_none() {
            let schema = &version["schema"]["openAPIV3Schema"];
            selectable(&at.child("selectableFields"), &version["selectableFields"], schema, errors);
        }
    }
    let named = |at: usize| &versions[at]["name"];
    if (0..versions.len()).any(|at| (0..at).any(|other| named(at) == named(other))) {
        let words = "must contain unique version names";
        errors.push(FieldError::invalid(&at, spec["versions"].clone(), words));
    }
    if versions.iter().filter(|version| version["storage"] == true).count() != 1 {
        let words = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid(&at, spec["versions"].clone(), words));
    }
    names::required(&path.child("names"), &spec["names"], errors);
    names::validate(&path.child("names"), &spec["names"], errors);
    if let Some(common) = shared.part("schema") {
        let status = versions.iter().any(|version| version["subresources"]["status"].is_object());
        schema::validate(&path.child("validation"), common, status, errors);
    }
    if let Some(common) = shared.part("subresources") {
        subresources(&path.child("subresources"), common, errors);
    }
    if let Some(common) = shared.part("additionalPrinterColumns") {
        columns(&path.child("additionalPrinterColumns"), common, errors);
    }
    if let Some(common) = shared.part("selectableFields") {
        let schema = versions.first().map_or(&Value::Null, |first| &first["schema"]["openAPIV3Schema"]);
        selectable(&path.child("selectableFields"), common, schema, errors);
    }
}

fn deprecation(path: &Path, version: &Value, errors: &mut Vec<FieldError>) {
    let Some(warning) = version["deprecationWarning"].as_str() else { return };
    let mut fail = |words: String| errors.push(FieldError::invalid(path, warning, words));
    if version["deprecated"] != true {
        return fail("can only be set for deprecated versions".into());
    }
    if warning.len() > 256 {
        fail("must be <= 256 characters long".into());
    }
    if warning.is_empty() {
        fail("must not be an empty string".into());
    }
    let odd = |c: char| c.is_control() || (c.is_whitespace() && c != ' ');
    if let Some(at) = warning.find(odd) {
        fail(format!(
            "must only contain printable UTF-8 characters; non-printable character found at index {at}"
        ));
    }
}

fn subresources(path: &Path, subresources: &Value, errors: &mut Vec<FieldError>) {
    let scale = &subresources["scale"];
    if !scale.is_object() {
        return;
    }
    for (key, under, words) in [
        ("specReplicasPath", &[".spec."][..], "should be a json path under .spec"),
        ("statusReplicasPath", &[".status."], "should be a json path under .status"),
        ("labelSelectorPath", &[".spec.", ".status."], "should be a json path under either .spec or .status"),
    ] {
        let at = path.child("scale").child(key);
        match text(scale, key) {
            "" if key == "labelSelectorPath" => {}
            "" => errors.push(FieldError::required(&at, "")),
            value => {
                if simple_path(&at, value, errors) && !under.iter().any(|under| value.starts_with(under)) {
                    errors.push(FieldError::invalid(&at, value, words));
                }
            }
        }
    }
}

/// Checks that a path begins as one; the rest is found out where it is used.
fn simple_path(path: &Path, value: &str, errors: &mut Vec<FieldError>) -> bool {
    let fine = value.starts_with('.');
    if !fine {
        errors.push(FieldError::invalid(path, value, "must be a simple json path starting with ."));
    }
    fine
}

fn columns(path: &Path, columns: &Value, errors: &mut Vec<FieldError>) {
    for (at, column) in columns.as_array().into_iter().flatten().enumerate() {
        let path = path.index(at);
        if text(column, "name").is_empty() {
            errors.push(FieldError::required(&path.child("name"), ""));
        }
        let known = |all: &str, value: &str| all.split(',').any(|each| each == value);
        let words = |all: &str| format!("must be one of {all}");
        match text(column, "type") {
            "" => errors.push(FieldError::required(&path.child("type"), words(TYPES))),
            kind if known(TYPES, kind) => {}
            kind => errors.push(FieldError::invalid(&path.child("type"), kind, words(TYPES))),
        }
        match text(column, "format") {
            "" => {}
            format if known(FORMATS, format) => {}
            format => errors.push(FieldError::invalid(&path.child("format"), format, words(FORMATS))),
        }
        match text(column, "jsonPath") {
            "" => errors.push(FieldError::required(&path.child("JSONPath"), "")),
            value => drop(simple_path(&path.child("JSONPath"), value, errors)),
        }
    }
}

fn selectable(path: &Path, fields: &Value, schema: &Value, errors: &mut Vec<FieldError>) {
    let fields = fields.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut seen: Vec<&str> = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let at = path.index(index).child("jsonPath");
        let shown = text(field, "jsonPath");
        if shown.is_empty() {
            errors.push(FieldError::required(&at, ""));
            continue;
        }
        let schema = match checked(shown, schema, false) {
            Ok((_, schema)) => schema,
            Err(fault) => {
                errors.push(FieldError::invalid(&at, shown, format!("is an invalid path: {fault}")));
                continue;
            }
        };
        if shown == ".metadata" || shown.starts_with(".metadata.") {
            errors.push(FieldError::invalid(&at, shown, "must not point to fields in metadata"));
        }
        if !matches!(text(schema, "type"), "string" | "boolean" | "integer") {
            let words = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
            errors.push(FieldError::invalid(&at, shown, words));
        }
        // Without brackets a place has one path.
        if seen.contains(&shown) {
            errors.push(FieldError::duplicate(&at, shown));
        } else {
            seen.push(shown);
        }
    }
    if seen.len() > MOST_SELECTABLE {
        errors.push(FieldError::too_many(path, seen.len(), MOST_SELECTABLE));
    }
}
