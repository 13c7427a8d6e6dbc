//! JSON patch, RFC 6902.

use gantry_json::Value;
use json_patch::{AddOperation, Patch, PatchErrorKind, PatchOperation};

use crate::go::{json_type, unreadable};
use crate::schema::{Format, decode_free};
use crate::status::ApiError;

/// An object as the crate of the patches knows it.
type Tree = serde_json::Value;

/// The most operations that one patch may have.
const MOST_OPERATIONS: usize = 10_000;

/// Why a patch is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonPatchFault {
    /// It is none.
    #[error("{0}")]
    Unreadable(String),
    /// It has so many operations.
    #[error("The allowed maximum operations in a JSON patch is {MOST_OPERATIONS}, got {0}")]
    TooLong(usize),
    /// An operation does not fit the object.
    #[error("{0}")]
    Misfit(String),
}

impl From<JsonPatchFault> for ApiError {
    /// What the sender of the patch is told: nothing of why it does not fit.
    fn from(fault: JsonPatchFault) -> Self {
        let message = fault.to_string();
        match fault {
            JsonPatchFault::Unreadable(_) => ApiError::bad_request(message),
            JsonPatchFault::TooLong(_) => {
                let message = format!("Request entity too large: {message}");
                ApiError::new(413, "RequestEntityTooLarge", message)
            }
            JsonPatchFault::Misfit(_) => {
                let message = "the server rejected our request due to an error in our request";
                let mut error = ApiError::new(422, "Invalid", message);
                error.details = Some(Box::default());
                error
            }
        }
    }
}

/// `current` after the operations in `patch`.
pub fn json_patch(current: &Value, patch: &[u8]) -> Result<Value, JsonPatchFault> {
    let operations = json_patch_operations(patch).map_err(JsonPatchFault::Unreadable)?;
    if operations.len() > MOST_OPERATIONS {
        return Err(JsonPatchFault::TooLong(operations.len()));
    }
    let patch: Patch = gantry_json::from_value(Value::Array(operations)).map_err(misfits)?;
    let mut patched = Tree::from(current.clone());
    for operation in patch.0 {
        step(&mut patched, operation).map_err(misfits)?;
    }
    Ok(patched.into())
}

/// The operations in `patch`; what is wrong where it is none, in upstream's words.
pub fn json_patch_operations(patch: &[u8]) -> Result<Vec<Value>, String> {
    let (operations, _) = read(patch)?;
    match (misshapen(&operations, "jsonpatch.Patch", "jsonpatch.Operation"), operations) {
        (Some(why), _) => Err(why),
        (None, Value::Array(operations)) => Ok(operations),
        (None, _) => Ok(Vec::new()),
    }
}

/// What is written there, and its fields that come twice, of which the last one counts; what is wrong where it
/// is no JSON.
fn read(patch: &[u8]) -> Result<(Value, Vec<String>), String> {
    let decoded = decode_free(patch, Format::Json).map_err(|error| error.to_string())?;
    // Read freely, null is an empty object.
    let value = if patch.trim_ascii() == b"null" { Value::Null } else { decoded.value };
    Ok((value, decoded.strict))
}

/// What is wrong with a patch that is no list of objects, or no list, which is called so in Go. Null is both.
fn misshapen(patch: &Value, list: &str, operation: &str) -> Option<String> {
    match patch {
        Value::Null => None,
        Value::Array(operations) => {
            let other = operations.iter().find(|each| !each.is_object() && !each.is_null());
            other.map(|other| unreadable(other, operation))
        }
        other => Some(unreadable(other, list)),
    }
}

/// `current` after `steps`; `None` where a test among them does not hold. The error says in upstream's words
/// which step does not fit.
pub fn json_patch_steps(current: &Value, steps: Vec<Value>) -> Result<Option<Value>, String> {
    let mut patched = Tree::from(current.clone());
    for mut given in steps {
        let text = |field: &str| given[field].as_str().unwrap_or_default().to_owned();
        let (op, path, from) = (text("op"), text("path"), text("from"));
        if matches!(op.as_str(), "add" | "replace" | "test") && given.get("value").is_none() {
            given["value"] = Value::Null;
        }
        let operation: PatchOperation =
            gantry_json::from_value(given).map_err(|_| format!("Unexpected kind: {op}"))?;
        if let Err(error) = step(&mut patched, operation) {
            if matches!(error.kind, PatchErrorKind::TestFailed) {
                return Ok(None);
            }
            return Err(misfit(&patched, &op, &path, &from));
        }
    }
    Ok(Some(patched.into()))
}

/// Carries out one operation. To replace a field that is not there adds it, as upstream does.
fn step(object: &mut Tree, operation: PatchOperation) -> Result<(), json_patch::PatchError> {
    if finds_nothing(&operation, object) {
        return Ok(());
    }
    let operation = match operation {
        PatchOperation::Replace(replace)
            if object.pointer(replace.path.as_str()).is_none()
                && parent(object, replace.path.as_str()).is_some_and(Tree::is_object) =>
        {
            PatchOperation::Add(AddOperation { path: replace.path, value: replace.value })
        }
        other => other,
    };
    json_patch::patch(object, std::slice::from_ref(&operation))
}

/// What holds the place that a pointer leads to.
fn parent<'a>(object: &'a Tree, path: &str) -> Option<&'a Tree> {
    path.rfind('/').and_then(|end| object.pointer(&path[..end]))
}

/// Why an operation does not fit the object.
fn misfit(object: &Tree, op: &str, path: &str, from: &str) -> String {
    let holder = parent(object, path);
    let key = path.rsplit('/').next().unwrap_or_default();
    match (op, holder) {
        ("move" | "copy", _) if object.pointer(from).is_none() => {
            format!("{op} operation does not apply: doc is missing from path: {from}: missing value")
        }
        ("replace", None) => {
            format!("replace operation does not apply: doc is missing path: {path}: missing value")
        }
        ("replace", Some(_)) => {
            format!("replace operation does not apply: doc is missing key: {path}: missing value")
        }
        (_, None) => format!("{op} operation does not apply: doc is missing path: {path:?}: missing value"),
        ("remove", Some(Tree::Object(_))) => {
            format!(
                "error in remove for path: '{path}': Unable to remove nonexistent key: {key}: missing value"
            )
        }
        (_, Some(_)) => {
            format!(
                "error in {op} for path: '{path}': Unable to access invalid index: {key}: invalid index referenced"
            )
        }
    }
}

/// Whether `operation` tests that a field is null which `object` does not have: upstream holds the two
/// to be the same, and clients test so that a field is not there yet.
fn finds_nothing(operation: &PatchOperation, object: &Tree) -> bool {
    let PatchOperation::Test(test) = operation else { return false };
    let path = test.path.as_str();
    test.value.is_null()
        && object.pointer(path).is_none()
        && parent(object, path).is_some_and(Tree::is_object)
}

fn misfits(why: impl std::fmt::Display) -> JsonPatchFault {
    JsonPatchFault::Misfit(why.to_string())
}

/// What strict reading finds in the operations of a patch, in upstream's words: fields that they do not have or
/// that come twice. 400 where it is no patch.
pub fn json_patch_findings(patch: &[u8]) -> Result<Vec<String>, ApiError> {
    let refused = |why: String| ApiError::bad_request(format!("error decoding patch: {why}"));
    let (operations, twice) = read(patch).map_err(refused)?;
    if let Some(why) = misshapen(&operations, "[]handlers.jsonPatchOp", "handlers.jsonPatchOp") {
        return Err(refused(why));
    }
    for operation in operations.as_array().into_iter().flatten() {
        for field in ["op", "path", "from"] {
            let given = &operation[field];
            if !given.is_string() && !given.is_null() {
                return Err(refused(format!(
                    "json: cannot unmarshal {} into Go struct field jsonPatchOp.{field} of type string",
                    json_type(given)
                )));
            }
        }
    }
    let unknown = operations.as_array().into_iter().flatten().enumerate().flat_map(|(at, operation)| {
        let fields = operation.as_object().into_iter().flatten().map(|(name, _)| name);
        let unknown = fields.filter(|name| !matches!(name.as_str(), "op" | "path" | "from" | "value"));
        unknown.map(move |name| format!("unknown field \"[{at}].{name}\""))
    });
    Ok(unknown.chain(twice).map(|finding| format!("json patch {finding}")).collect())
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    #[test]
    fn operations_and_failures() {
        let current = json!({"a": 1, "l": [1, 2]});
        let patched = json_patch(
            &current,
            br#"[{"op":"replace","path":"/a","value":2},{"op":"remove","path":"/l/0"}]"#,
        );
        assert_eq!(patched.expect("fits"), json!({"a": 2, "l": [2]}));
        let added = json_patch(&current, br#"[{"op":"replace","path":"/b","value":2}]"#);
        assert_eq!(added.expect("is added"), json!({"a": 1, "l": [1, 2], "b": 2}));
        let refused = |patch: &str| ApiError::from(json_patch(&current, patch.as_bytes()).expect_err(patch));
        assert_eq!(refused("{").code, 400);
        assert_eq!(refused(r#"{"op":"add"}"#).code, 400);
        assert_eq!(refused(r#"[{"op":"grow","path":"/a"}]"#).code, 422);
        let absent = |path: &str| {
            json_patch(&current, format!(r#"[{{"op":"test","path":"{path}","value":null}}]"#).as_bytes())
        };
        assert_eq!(absent("/b").expect("b is not there"), current);
        assert!(matches!(absent("/a").expect_err("a is there"), JsonPatchFault::Misfit(_)));
        assert!(matches!(absent("/b/c").expect_err("b is no object"), JsonPatchFault::Misfit(_)));
        assert_eq!(
            json_patch_findings(br#"[{"op":"add","path":"/a","value":1,"foo":2},{"path":"/a","path":"/b"}]"#)
                .expect("a patch"),
            ["json patch unknown field \"[0].foo\"", "json patch duplicate field \"[1].path\""]
        );
        assert_eq!(json_patch(&current, b" null ").expect("no operations"), current);
        assert_eq!(refused("[null]").code, 422);
        let differs = refused(r#"[{"op":"test","path":"/a","value":2}]"#);
        let told = "the server rejected our request due to an error in our request";
        assert_eq!((differs.code, differs.reason, differs.message.as_str()), (422, "Invalid", told));
    }

    #[test]
    fn what_is_no_patch_is_told_in_upstreams_words() {
        for (patch, strict, lax) in [
            ("{", "unexpected end of JSON input", "unexpected end of JSON input"),
            (
                "[{]",
                "invalid character ']' looking for beginning of object key string",
                "invalid character ']' looking for beginning of object key string",
            ),
            (
                r#"{"op":"add"}"#,
                "json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
                "json: cannot unmarshal object into Go value of type jsonpatch.Patch",
            ),
            (
                r#"[{"op":"remove","path":"/a"},1]"#,
                "json: cannot unmarshal number into Go value of type handlers.jsonPatchOp",
                "json: cannot unmarshal number into Go value of type jsonpatch.Operation",
            ),
        ] {
            let refused = json_patch_findings(patch.as_bytes()).expect_err(patch);
            assert_eq!((refused.code, refused.message), (400, format!("error decoding patch: {strict}")));
            let refused = json_patch(&json!({}), patch.as_bytes()).expect_err(patch);
            assert_eq!(refused, JsonPatchFault::Unreadable(lax.to_owned()));
        }
        let refused = json_patch_findings(br#"[{"op":1}]"#).expect_err("no text");
        let words = "error decoding patch: json: cannot unmarshal number into Go struct field jsonPatchOp.op of type string";
        assert_eq!(refused.message, words);
        assert_eq!(json_patch_findings(b"[null]").expect("a patch"), Vec::<String>::new());
    }

    #[test]
    fn steps_that_fit_and_that_do_not() {
        let current = json!({"a": {"b": 1}, "l": [1]});
        let check = |step: Value, expect: Result<Option<Value>, &str>| {
            assert_eq!(json_patch_steps(&current, vec![step]), expect.map_err(str::to_owned));
        };
        check(json!({"op": "add", "path": "/c"}), Ok(Some(json!({"a": {"b": 1}, "l": [1], "c": null}))));
        check(
            json!({"op": "replace", "path": "/a/c", "value": 2}),
            Ok(Some(json!({"a": {"b": 1, "c": 2}, "l": [1]}))),
        );
        check(json!({"op": "test", "path": "/a/b", "value": 2}), Ok(None));
        check(json!({"op": "grow", "path": "/a"}), Err("Unexpected kind: grow"));
        check(
            json!({"op": "add", "path": "/x/y", "value": 1}),
            Err("add operation does not apply: doc is missing path: \"/x/y\": missing value"),
        );
        check(
            json!({"op": "add", "path": "/l/5", "value": 1}),
            Err("error in add for path: '/l/5': Unable to access invalid index: 5: invalid index referenced"),
        );
        check(
            json!({"op": "replace", "path": "/l/-", "value": 1}),
            Err("replace operation does not apply: doc is missing key: /l/-: missing value"),
        );
        check(
            json!({"op": "remove", "path": "/a/c"}),
            Err("error in remove for path: '/a/c': Unable to remove nonexistent key: c: missing value"),
        );
        check(
            json!({"op": "move", "from": "/x", "path": "/y"}),
            Err("move operation does not apply: doc is missing from path: /x: missing value"),
        );
    }
}
