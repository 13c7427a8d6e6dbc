//! Secret.

use gantry_json::{Map, Value};

use super::common::{default, immutable, text, too_long};
use super::config_map::frozen;
use crate::field::{FieldError, Path};
use crate::go::no_object;
use crate::registry::Rules;
use crate::schema::{Format, decode_free};

/// The largest sum of values, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// The keys of a secret for basic authentication: at least one of them is there.
const BASIC: [&str; 2] = ["username", "password"];

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
            data[&key] = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text).into();
        }
    },
    validate: |secret| {
        let mut errors = Vec::new();
        keys(&Path::new("data"), &secret["data"], &mut errors);
        size(&Path::new("data"), &[&secret["data"]], &mut errors);
        let data = Path::new("data");
        let required: &[&str] = match text(secret, "type") {
            "kubernetes.io/dockercfg" => &[".dockercfg"],
            "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
            "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
            "kubernetes.io/tls" => &["tls.crt", "tls.key"],
            "kubernetes.io/basic-auth" if BASIC.iter().all(|key| secret["data"].get(*key).is_none()) => {
                &BASIC
            }
            _ => &[],
        };
        let account = "kubernetes.io/service-account.name";
        if text(secret, "type") == "kubernetes.io/service-account-token"
            && text(&secret["metadata"]["annotations"], account).is_empty()
        {
            let annotations = Path::new("metadata").child("annotations");
            errors.push(FieldError::required(&annotations.key(account), ""));
        }
        // An empty private key is none; other values may be empty.
        let missing = |key: &str| match key {
            "ssh-privatekey" => text(&secret["data"], key).is_empty(),
            key => secret["data"].get(key).is_none(),
        };
        for key in required.iter().filter(|key| missing(key)) {
            errors.push(FieldError::required(&data.key(key), ""));
        }
        for key in required.iter().filter(|key| key.starts_with(".docker") && !missing(key)) {
            if let Err(words) = json_object(text(&secret["data"], key)) {
                errors.push(FieldError::invalid(&data.key(key), "<secret contents redacted>", words));
            }
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

/// Checks that bytes are a JSON object; what is wrong otherwise.
fn json_object(bytes: &str) -> Result<(), String> {
    let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, bytes).unwrap_or_default();
    match decode_free(&bytes, Format::Json) {
        Ok(read) if read.value.is_object() => Ok(()),
        Ok(read) => Err(no_object(&read.value)),
        Err(error) => Err(error.to_string()),
    }
}

/// Checks the keys of a ConfigMap or Secret: they must be possible file names.
pub(super) fn keys(path: &Path, data: &Value, errors: &mut Vec<FieldError>) {
    for (name, _) in data.as_object().into_iter().flatten() {
        key(&path.key(name), name, errors);
    }
}

/// Checks the key of a value.
pub(super) fn key(path: &Path, key: &str, errors: &mut Vec<FieldError>) {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let mut refuse = |words: String| errors.push(FieldError::invalid(path, key, words));
    if key.len() > 253 {
        refuse(too_long(253));
    }
    if key.is_empty() || !key.chars().all(fine) {
        refuse("a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')".to_owned());
    }
    if matches!(key, "." | "..") {
        refuse(format!("must not be '{key}'"));
    } else if key.starts_with("..") {
        refuse("must not start with '..'".to_owned());
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
