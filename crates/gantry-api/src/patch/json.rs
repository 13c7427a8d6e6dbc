//! JSON patch, RFC 6902.

use json_patch::Patch;
use serde_json::Value;

use crate::status::ApiError;

/// The most operations that one patch may have.
const MOST_OPERATIONS: usize = 10_000;

/// `current` after the operations in `patch`. 400 where the patch is none, 413 where it is too
/// long, 422 where it does not fit the object.
pub fn json_patch(current: &Value, patch: &[u8]) -> Result<Value, ApiError> {
    let patch: Patch = serde_json::from_slice(patch)
        .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
    if patch.0.len() > MOST_OPERATIONS {
        let message = format!(
            "The allowed maximum operations in a JSON patch is {MOST_OPERATIONS}, got {}",
            patch.0.len()
        );
        return Err(ApiError::new(413, "RequestEntityTooLarge", message));
    }
    let mut patched = current.clone();
    json_patch::patch(&mut patched, &patch).map_err(|error| {
        ApiError::new(
            422,
            "Invalid",
            format!("the server rejected our request due to an error in our request: {error}"),
        )
    })?;
    Ok(patched)
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
        assert_eq!(
            json_patch(&current, br#"[{"op":"test","path":"/a","value":2}]"#).expect_err("differs").code,
            422
        );
    }
}
