//! ConversionReviews: what a conversion webhook is asked, and what of its answer is taken.

use gantry_api::go::type_name;
use gantry_json::{Value, json};

/// The versions of reviews that are spoken, the one to prefer first.
const VERSIONS: [&str; 2] = ["v1", "v1beta1"];
const GROUP: &str = "apiextensions.k8s.io";

/// The version of reviews to speak with a webhook that knows `accepted`.
pub(super) fn version(accepted: &Value) -> Option<&str> {
    let accepted = accepted.as_array()?.iter().filter_map(Value::as_str);
    accepted.into_iter().find(|each| VERSIONS.contains(each))
}

/// The question how `objects` look in the API version `wanted`.
pub(super) fn question(version: &str, uid: &str, objects: &[Value], wanted: &str) -> Value {
    json!({
        "kind": "ConversionReview", "apiVersion": format!("{GROUP}/{version}"),
        "request": {"uid": uid, "desiredAPIVersion": wanted, "objects": objects},
    })
}

/// The objects in the answer to a question about `asked`, or what is wrong with it; both continue a
/// sentence about the webhook.
pub(super) fn answer(
    version: &str,
    uid: &str,
    mut review: Value,
    asked: &[Value],
    wanted: &str,
) -> Result<Vec<Value>, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let failed = |why: String| Err(format!("failed: {why}"));
    let (api_version, kind) = (text(&review["apiVersion"]), text(&review["kind"]));
    if version == "v1" && (api_version != format!("{GROUP}/v1") || kind != "ConversionReview") {
        let got = if api_version.contains('/') { api_version } else { format!("/{api_version}") };
        return failed(format!(
            "expected webhook response of {GROUP}/v1, Kind=ConversionReview, got {got}, Kind={kind}"
        ));
    }
    let response = &mut review["response"];
    if !response.is_object() {
        return failed("no response provided".to_owned());
    }
    if version == "v1" && response["uid"] != uid {
        return failed(format!("expected response.uid={uid:?}, got {:?}", text(&response["uid"])));
    }
    let result = &response["result"];
    if result["status"] != "Success" {
        return failed(match text(&result["message"]) {
            said if said.is_empty() => {
                format!("response.result.status was '{}', not 'Success'", text(&result["status"]))
            }
            said => said,
        });
    }
    let converted = match response["convertedObjects"].take() {
        Value::Array(objects) => objects,
        _ => Vec::new(),
    };
    if converted.len() != asked.len() {
        return Err(format!("returned {} objects, expected {}", converted.len(), asked.len()));
    }
    converted.into_iter().zip(asked).map(|(new, old)| restored(new, old, wanted)).collect()
}

/// A converted object with the metadata of the one that was asked about, of which a webhook may change
/// labels and annotations alone. What is wrong with it is said as of the only one: upstream reads stored objects
/// one by one.
fn restored(mut new: Value, old: &Value, wanted: &str) -> Result<Value, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if new["apiVersion"] != wanted {
        let got = text(&new["apiVersion"]);
        return Err(format!(
            "returned invalid object at index 0: invalid groupVersion (expected {wanted}, received {got})"
        ));
    }
    if new["kind"] != old["kind"] {
        let (expected, got) = (text(&old["kind"]), text(&new["kind"]));
        return Err(format!(
            "returned invalid object at index 0: invalid kind (expected {expected}, received {got})"
        ));
    }
    for (field, shown) in [("name", "name"), ("namespace", "namespace"), ("uid", "UID")] {
        let (expected, got) = (text(&old["metadata"][field]), text(&new["metadata"][field]));
        if expected != got {
            return Err(format!("returned invalid object: must have the same {shown}: {expected} != {got}"));
        }
    }
    let mut metadata = old["metadata"].clone();
    if let Some(fields) = metadata.as_object_mut() {
        for field in ["labels", "annotations"] {
            match &new["metadata"][field] {
                Value::Null => drop(fields.remove(field)),
                value => {
                    texts(field, value).map_err(|why| format!("returned invalid metadata: {why}"))?;
                    fields.insert(field.into(), value.clone());
                }
            }
        }
    }
    new["metadata"] = metadata;
    Ok(new)
}

/// Checks that labels or annotations are texts.
fn texts(field: &str, value: &Value) -> Result<(), String> {
    let Some(entries) = value.as_object() else {
        return Err(format!("invalid metadata.{field} of type {} in converted object", type_name(value)));
    };
    match entries.iter().find(|(_, value)| !value.is_string()) {
        Some((key, other)) => Err(format!(
            "metadata.{field}[{key}] must be a string, but is {} in converted object",
            type_name(other)
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(version: &str, labels: Value) -> Value {
        json!({"apiVersion": format!("example.com/{version}"), "kind": "Thing",
            "metadata": {"name": "t", "uid": "u", "generation": 2, "labels": labels}})
    }

    fn check(response: Value, expect: Result<Value, &str>) {
        let review = json!({"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1", "response": response});
        let asked = [object("v1", json!({"a": "1"}))];
        let got = answer("v1", "q", review, &asked, "example.com/v2").map(Value::from);
        assert_eq!(got, expect.map_err(str::to_owned));
    }

    #[test]
    fn answers() {
        let done = json!({"status": "Success"});
        let mut converted = object("v2", json!({"b": "2"}));
        converted["metadata"]["generation"] = json!(9);
        check(
            json!({"uid": "q", "result": done, "convertedObjects": [converted]}),
            Ok(json!([object("v2", json!({"b": "2"}))])),
        );
        check(Value::Null, Err("failed: no response provided"));
        check(json!({"uid": "x"}), Err("failed: expected response.uid=\"q\", got \"x\""));
        let failure = json!({"status": "Failure", "message": "no such thing"});
        check(json!({"uid": "q", "result": failure}), Err("failed: no such thing"));
        let silent = json!({"status": "Failure"});
        check(
            json!({"uid": "q", "result": silent}),
            Err("failed: response.result.status was 'Failure', not 'Success'"),
        );
        check(json!({"uid": "q", "result": done}), Err("returned 0 objects, expected 1"));
        check(
            json!({"uid": "q", "result": done, "convertedObjects": [object("v3", json!({}))]}),
            Err(
                "returned invalid object at index 0: invalid groupVersion (expected example.com/v2, received example.com/v3)",
            ),
        );
        let with = |patch: &dyn Fn(&mut Value)| {
            let mut converted = object("v2", json!({}));
            patch(&mut converted);
            json!({"uid": "q", "result": {"status": "Success"}, "convertedObjects": [converted]})
        };
        check(
            with(&|object| object["kind"] = "Other".into()),
            Err("returned invalid object at index 0: invalid kind (expected Thing, received Other)"),
        );
        for (field, words) in [
            ("name", "returned invalid object: must have the same name: t != x"),
            ("namespace", "returned invalid object: must have the same namespace:  != x"),
            ("uid", "returned invalid object: must have the same UID: u != x"),
            (
                "labels",
                "returned invalid metadata: invalid metadata.labels of type string in converted object",
            ),
        ] {
            check(with(&|object| object["metadata"][field] = "x".into()), Err(words));
        }
        check(
            with(&|object| object["metadata"]["annotations"] = json!({"a": 1})),
            Err(
                "returned invalid metadata: metadata.annotations[a] must be a string, but is int64 in converted object",
            ),
        );
        assert_eq!(version(&json!(["v7", "v1beta1", "v1"])), Some("v1beta1"));
        assert_eq!(version(&json!(["v7"])), None);
    }
}
