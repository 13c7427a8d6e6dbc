//! JSON patch, RFC 6902.

use json_patch::{Patch, PatchOperation};
use serde_json::{Map, Value};

use crate::schema::{Format, decode_free};
use crate::status::ApiError;

/// The most operations that one patch may have.
const MOST_OPERATIONS: usize = 10_000;

/// `current` after the operations in `patch`. 400 where the patch is none, 413 where it is too
/// long, 422 where it does not fit the object.
pub fn json_patch(current: &Value, patch: &[u8]) -> Result<Value, ApiError> {
    // Of a field that comes twice the last one counts.
    let operations: Vec<Map<String, Value>> = serde_json::from_slice(patch)
        .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
    if operations.len() > MOST_OPERATIONS {
        let message = format!(
            "Request entity too large: The allowed maximum operations in a JSON patch is {MOST_OPERATIONS}, got {}",
            operations.len()
        );
        return Err(ApiError::new(413, "RequestEntityTooLarge", message));
    }
    let operations = operations.into_iter().map(Value::Object).collect();
    let patch: Patch = serde_json::from_value(Value::Array(operations)).map_err(refused)?;
    let mut patched = current.clone();
    for operation in &patch.0 {
        if !finds_nothing(operation, &patched) {
            json_patch::patch(&mut patched, std::slice::from_ref(operation)).map_err(refused)?;
        }
    }
    Ok(patched)
}

/// Whether `operation` tests that a field is null which `object` does not have: upstream holds the two
/// to be the same, and clients test so that a field is not there yet.
fn finds_nothing(operation: &PatchOperation, object: &Value) -> bool {
    let PatchOperation::Test(test) = operation else { return false };
    let path = test.path.as_str();
    let parent = path.rfind('/').and_then(|end| object.pointer(&path[..end]));
    test.value.is_null() && object.pointer(path).is_none() && parent.is_some_and(Value::is_object)
}

/// The patch is one, but cannot be carried out.
fn refused(why: impl std::fmt::Display) -> ApiError {
    let message = format!("the server rejected our request due to an error in our request: {why}");
    let mut error = ApiError::new(422, "Invalid", message);
    error.details = Some(Box::default());
    error
}

/// What is wrong with the operations of a patch, in upstream's words: fields that they do not have or
/// that come twice.
pub fn json_patch_findings(patch: &[u8]) -> Vec<String> {
    let Ok(decoded) = decode_free(patch, Format::Json) else { return Vec::new() };
    let unknown = decoded.value.as_array().into_iter().flatten().enumerate().flat_map(|(at, operation)| {
        let fields = operation.as_object().into_iter().flatten().map(|(name, _)| name);
        let unknown = fields.filter(|name| !matches!(name.as_str(), "op" | "path" | "from" | "value"));
        unknown.map(move |name| format!("unknown field \"[{at}].{name}\""))
    });
    unknown.chain(decoded.strict.iter().cloned()).map(|finding| format!("json patch {finding}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn operations_and_failures() {
        let current = json!({"a": 1, "l": [1, 2]});
        let patched = json_patch(
            &current,
            br#"[{"op":"replace","path":"/a","value":2},{"op":"remove","path":"/l/0"}]"#,
        );
        assert_eq!(patched.expect("fits"), json!({"a": 2, "l": [2]}));
        assert_eq!(json_patch(&current, b"{").expect_err("no JSON").code, 400);
        assert_eq!(json_patch(&current, br#"{"op":"add"}"#).expect_err("no list").code, 400);
        assert_eq!(
            json_patch(&current, br#"[{"op":"grow","path":"/a"}]"#).expect_err("no operation").code,
            422
        );
        let absent = |path: &str| {
            json_patch(&current, format!(r#"[{{"op":"test","path":"{path}","value":null}}]"#).as_bytes())
        };
        assert_eq!(absent("/b").expect("b is not there"), current);
        assert_eq!(absent("/a").expect_err("a is there").code, 422);
        assert_eq!(absent("/b/c").expect_err("b is no object").code, 422);
        assert_eq!(
            json_patch_findings(br#"[{"op":"add","path":"/a","value":1,"foo":2},{"path":"/a","path":"/b"}]"#),
            ["json patch unknown field \"[0].foo\"", "json patch duplicate field \"[1].path\""]
        );
        assert_eq!(
            json_patch(&current, br#"[{"op":"test","path":"/a","value":2}]"#).expect_err("differs").code,
            422
        );
    }
}
