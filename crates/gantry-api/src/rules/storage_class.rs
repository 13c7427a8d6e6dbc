//! StorageClass and VolumeAttributesClass: how volumes are made and what they are like.

use std::collections::{BTreeMap, BTreeSet};

use gantry_json::{Map, Value};

use super::common::{
    default, deprecated_label, immutable, list, one_of, qualified_name, required, required_one_of, text,
};
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The most parameters, and their largest size in bytes.
const MOST_PARAMETERS: usize = 512;
const LARGEST_PARAMETERS: usize = 256 << 10;

/// The rules of StorageClass.
pub const RULES: Rules = Rules {
    default: |class| {
        let Some(class) = class.as_object_mut() else { return };
        default(class, "reclaimPolicy", "Delete");
        default(class, "volumeBindingMode", "Immediate");
    },
    validate: |class| {
        let mut errors = Vec::new();
        let path = Path::default();
        provisioner(class, "provisioner", &mut errors);
        parameters(&path.child("parameters"), &class["parameters"], true, &mut errors);
        let policy = text(class, "reclaimPolicy");
        one_of(&path.child("reclaimPolicy"), policy, &["Delete", "Retain"], &mut errors);
        let modes = ["Immediate", "WaitForFirstConsumer"];
        let mode = text(class, "volumeBindingMode");
        required_one_of(&path.child("volumeBindingMode"), mode, &modes, &mut errors);
        topologies(&path.child("allowedTopologies"), list(class, "allowedTopologies"), &mut errors);
        errors
    },
    validate_update: |new, old| {
        let mut errors = Vec::new();
        fixed(&["parameters", "provisioner", "reclaimPolicy"], new, old, &mut errors);
        let path = Path::new("volumeBindingMode");
        immutable(&path, &new["volumeBindingMode"], &old["volumeBindingMode"], &mut errors);
        errors
    },
    warn: |class, _| {
        let mut warnings = Vec::new();
        for (at, term) in list(class, "allowedTopologies").iter().enumerate() {
            let path = Path::new("allowedTopologies").index(at).child("matchLabelExpressions");
            for (at, expression) in list(term, "matchLabelExpressions").iter().enumerate() {
                let path = path.index(at).child("key");
                warnings.extend(deprecated_label(&path, text(expression, "key")));
            }
        }
        warnings
    },
    ..Rules::NONE
};

/// The rules of VolumeAttributesClass.
pub const ATTRIBUTES: Rules = Rules {
    validate: |class| {
        let mut errors = Vec::new();
        provisioner(class, "driverName", &mut errors);
        parameters(&Path::new("parameters"), &class["parameters"], false, &mut errors);
        errors
    },
    validate_update: |new, old| {
        let mut errors = Vec::new();
        fixed(&["driverName", "parameters"], new, old, &mut errors);
        errors
    },
    ..Rules::NONE
};

/// Checks the name of what makes the volumes.
fn provisioner(class: &Value, field: &str, errors: &mut Vec<FieldError>) {
    if let Some(name) = required(&Path::default(), class, field, errors) {
        qualified_name(&Path::new(field), &name.to_lowercase(), errors);
    }
}

fn fixed(fields: &[&str], new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    for field in fields.iter().filter(|field| new[**field] != old[**field]) {
        let words = format!("updates to {field} are forbidden.");
        errors.push(FieldError::forbidden(&Path::new(field), words));
    }
}

fn parameters(path: &Path, parameters: &Value, may_be_empty: bool, errors: &mut Vec<FieldError>) {
    let count = parameters.as_object().map_or(0, Map::len);
    if count > MOST_PARAMETERS {
        errors.push(FieldError::too_long(path, MOST_PARAMETERS));
        return;
    }
    let mut size = 0;
    for (key, value) in parameters.as_object().into_iter().flatten() {
        if key.is_empty() {
            errors.push(FieldError::invalid(path, key.as_str(), "field can not be empty."));
        }
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > LARGEST_PARAMETERS {
        errors.push(FieldError::too_long(path, LARGEST_PARAMETERS));
    }
    if count == 0 && !may_be_empty {
        errors.push(FieldError::required(path, "must contain at least one key/value pair"));
    }
}

/// What a term says: for each key the values.
type Term<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

fn topologies(path: &Path, terms: &[Value], errors: &mut Vec<FieldError>) {
    let mut seen: Vec<Term<'_>> = Vec::new();
    for (at, term) in terms.iter().enumerate() {
        let path = path.index(at);
        let said = topology(&path, term, errors);
        // A term that says nothing is told once for each term there is, as upstream does.
        let before = seen.iter().filter(|other| **other == said).count();
        let alike = before + if said.is_empty() { terms.len() } else { 0 };
        let repeated = FieldError::duplicate(&path.child("matchLabelExpressions"), "");
        errors.extend(std::iter::repeat_n(repeated, alike));
        seen.push(said);
    }
}

fn topology<'a>(path: &Path, term: &'a Value, errors: &mut Vec<FieldError>) -> Term<'a> {
    let path = path.child("matchLabelExpressions");
    let mut said = Term::new();
    for (at, expression) in list(term, "matchLabelExpressions").iter().enumerate() {
        let path = path.index(at);
        let (at, given) = (path.child("values"), list(expression, "values"));
        if given.is_empty() {
            errors.push(FieldError::required(&at, ""));
        }
        let mut values = BTreeSet::new();
        for (index, value) in given.iter().filter_map(Value::as_str).enumerate() {
            if !values.insert(value) {
                errors.push(FieldError::duplicate(&at.index(index), value));
            }
        }
        let key = text(expression, "key");
        qualified_name(&path.child("key"), key, errors);
        if said.insert(key, values).is_some() {
            errors.push(FieldError::duplicate(&path.child("key"), key));
        }
    }
    said
}
