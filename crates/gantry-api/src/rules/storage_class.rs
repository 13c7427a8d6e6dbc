//! StorageClass and VolumeAttributesClass: how volumes are made and what they are like.

use serde_json::{Map, Value};

use super::common::{default, immutable, list, one_of, qualified_name, required, text};
use super::csi_driver;
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
        if let Some(provisioner) = required(&path, class, "provisioner", &mut errors) {
            qualified_name(&path.child("provisioner"), &provisioner.to_lowercase(), &mut errors);
        }
        parameters(&path.child("parameters"), &class["parameters"], true, &mut errors);
        one_of(
            &path.child("reclaimPolicy"),
            text(class, "reclaimPolicy"),
            &["Delete", "Retain"],
            &mut errors,
        );
        let modes = ["Immediate", "WaitForFirstConsumer"];
        one_of(&path.child("volumeBindingMode"), text(class, "volumeBindingMode"), &modes, &mut errors);
        for (at, term) in list(class, "allowedTopologies").iter().enumerate() {
            topology(&path.child("allowedTopologies").index(at), term, &mut errors);
        }
        errors
    },
    validate_update: |new, old| {
        let mut errors = Vec::new();
        fixed(&["parameters", "provisioner", "reclaimPolicy"], new, old, &mut errors);
        let path = Path::new("volumeBindingMode");
        immutable(&path, &new["volumeBindingMode"], &old["volumeBindingMode"], &mut errors);
        errors
    },
    ..Rules::NONE
};

/// The rules of VolumeAttributesClass.
pub const ATTRIBUTES: Rules = Rules {
    validate: |class| {
        let mut errors = Vec::new();
        csi_driver::name(&Path::new("driverName"), text(class, "driverName"), &mut errors);
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

fn topology(path: &Path, term: &Value, errors: &mut Vec<FieldError>) {
    let path = path.child("matchLabelExpressions");
    for (at, expression) in list(term, "matchLabelExpressions").iter().enumerate() {
        let path = path.index(at);
        if list(expression, "values").is_empty() {
            errors.push(FieldError::required(&path.child("values"), ""));
        }
        super::common::qualified_name(&path.child("key"), text(expression, "key"), errors);
    }
}
