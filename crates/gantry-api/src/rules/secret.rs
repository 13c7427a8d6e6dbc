//! Secret.

use serde_json::{Map, Value};

use super::common::{default, immutable, text};
use super::config_map::frozen;
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The largest sum of values, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// The rules.
pub const RULES: Rules = Rules {
    default: |secret| {
        let Some(secret) = secret.as_object_mut() else { return };
        default(secret, "type", "Opaque");
        // What was written as text is kept as bytes.
        let Some(Value::Object(texts)) = secret.remove("stringData") else { return };
        let data = secret.entry("data").or_insert_with(|| Value::Object(Map::new()));
        for (key, value) in texts {
            let text = value.as_str().unwrap_or_default();
            data[key] = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text).into();
        }
    },
    validate: |secret| {
        let mut errors = Vec::new();
        keys(&Path::new("data"), &secret["data"], &mut errors);
        size(&Path::new("data"), &[&secret["data"]], &mut errors);
        let required: &[&str] = match text(secret, "type") {
            "kubernetes.io/dockercfg" => &[".dockercfg"],
            "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
            "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
            "kubernetes.io/tls" => &["tls.crt", "tls.key"],
            _ => &[],
        };
        let account = "kubernetes.io/service-account.name";
        if text(secret, "type") == "kubernetes.io/service-account-token"
            && text(&secret["metadata"]["annotations"], account).is_empty()
        {
            let annotations = Path::new("metadata").child("annotations");
            errors.push(FieldError::required(&annotations.key(account), ""));
        }
        for key in required.iter().filter(|key| secret["data"].get(**key).is_none()) {
            errors.push(FieldError::required(&Path::new("data").key(key), ""));
        }
        errors
    },
    validate_update: |new, old| {
        let mut errors = Vec::new();
        immutable(&Path::new("type"), &new["type"], &old["type"], &mut errors);
        if old["immutable"] == true {
            if new["immutable"] != true {
                errors.push(FieldError::forbidden(
                    &Path::new("immutable"),
                    "field is immutable when `immutable` is set",
                ));
            }
            frozen(&Path::new("data"), &new["data"], &old["data"], &mut errors);
        }
        errors
    },
    selectable: |secret| vec![("type", text(secret, "type").into())],
    ..Rules::NONE
};

/// Checks the keys of a ConfigMap or Secret: they must be possible file names.
pub(super) fn keys(path: &Path, data: &Value, errors: &mut Vec<FieldError>) {
    for (key, _) in data.as_object().into_iter().flatten() {
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let at = path.key(key);
        if key.len() > 253 {
            errors.push(FieldError::invalid(&at, key.as_str(), "must be no more than 253 bytes"));
        } else if key.is_empty() || !key.chars().all(fine) {
            errors.push(FieldError::invalid(
                &at,
                key.as_str(),
                "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
            ));
        } else if key == "." || key.starts_with("..") {
            errors.push(FieldError::invalid(&at, key.as_str(), format!("must not be '{key}'")));
        }
    }
}

/// Checks that all values together are not too large.
pub(super) fn size(path: &Path, maps: &[&Value], errors: &mut Vec<FieldError>) {
    let values = maps.iter().filter_map(|map| map.as_object()).flatten();
    let total: usize = values.map(|(_, value)| value.as_str().map_or(0, str::len)).sum();
    if total > MAX_BYTES * 4 / 3 {
        errors.push(FieldError::too_long(path, MAX_BYTES));
    }
}
