//! JSON merge patch, RFC 7386.

use gantry_json::{Map, Value};

use crate::go::no_object;
use crate::status::ApiError;

/// `current` merged with `patch`. 400 where the patch is not an object.
pub fn merge_patch(current: &Value, patch: &Value) -> Result<Value, ApiError> {
    if !patch.is_object() {
        return Err(ApiError::bad_request(format!("error decoding patch: {}", no_object(patch))));
    }
    let mut merged = current.clone();
    merge(&mut merged, patch);
    Ok(merged)
}

/// Merges `patch` into `target`: fields of objects one by one, all else as it is; null takes a field out.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    #[test]
    fn rfc_7386() {
        for (current, patch, expect) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            assert_eq!(merge_patch(&current, &patch).expect("an object"), expect);
        }
        let refused = merge_patch(&json!({}), &json!([1])).expect_err("no object");
        let words = "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}";
        assert_eq!((refused.code, refused.message.as_str()), (400, words));
    }
}
