//! What a webhook answers.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gantry_api::status::ApiError;
use gantry_json::{Value, json};

/// A webhook's answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Response {
    pub allowed: bool,
    /// The Status beside the answer, or null.
    pub status: Value,
    /// A JSON patch, with its type.
    pub patch: Option<(Vec<u8>, String)>,
    pub warnings: Vec<String>,
    pub annotations: BTreeMap<String, String>,
}

/// Reads the answer to the review `uid` of `version`; the error says what is wrong with it.
pub(super) fn read(review: &Value, version: &str, uid: &str, mutating: bool) -> Result<Response, String> {
    let response = &review["response"];
    if !response.is_object() {
        return Err("webhook response was absent".to_owned());
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let strict = version == "v1";
    if strict {
        let got = text(&response["uid"]);
        if got != uid {
            return Err(format!("expected response.uid={uid:?}, got {got:?}"));
        }
        let (api_version, kind) = (text(&review["apiVersion"]), text(&review["kind"]));
        if (api_version.as_str(), kind.as_str()) != ("admission.k8s.io/v1", "AdmissionReview") {
            return Err(format!(
                "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got {api_version}, Kind={kind}"
            ));
        }
    }
    let patch = text(&response["patch"]);
    let patch_type = response["patchType"].as_str();
    let patch = match (mutating, patch.is_empty(), patch_type) {
        (true, true, Some(_)) if strict => {
            return Err("webhook returned response.patchType but not response.patch".to_owned());
        }
        (true, false, None) if strict => {
            return Err("webhook returned response.patch but not response.patchType".to_owned());
        }
        (true, false, Some("")) if strict => {
            return Err("webhook returned invalid response.patchType of \"\"".to_owned());
        }
        (false, false, _) if strict => {
            return Err("validating webhook may not return response.patch".to_owned());
        }
        (false, true, Some(_)) if strict => {
            return Err("validating webhook may not return response.patchType".to_owned());
        }
        (true, false, patch_type) => {
            let bytes = STANDARD.decode(&patch).map_err(|error| error.to_string())?;
            Some((bytes, patch_type.filter(|_| strict).unwrap_or("JSONPatch").to_owned()))
        }
        _ => None,
    };
    let annotations = response["auditAnnotations"].as_object().into_iter().flatten();
    let warnings = response["warnings"].as_array().into_iter().flatten();
    Ok(Response {
        allowed: response["allowed"] == true,
        status: response["status"].clone(),
        patch,
        warnings: warnings.filter_map(|each| each.as_str().map(str::to_owned)).collect(),
        annotations: annotations.map(|(key, value)| (key.to_string(), text(value))).collect(),
    })
}

/// The refusal by the webhook `name`, with the code, reason and details that it gave.
pub(super) fn refusal(name: &str, status: &Value) -> ApiError {
    let text = |field: &str| status[field].as_str().filter(|text| !text.is_empty());
    let by = format!("admission webhook {name:?} denied the request");
    let message = match (text("message"), text("reason")) {
        (Some(message), _) => format!("{by}: {message}"),
        (None, Some(reason)) => format!("{by}: {reason}"),
        (None, None) => format!("{by} without explanation"),
    };
    // What is below is no refusal.
    let code = status["code"].as_u64().and_then(|code| u16::try_from(code).ok());
    let code = code.filter(|code| (400..600).contains(code)).unwrap_or(400);
    let mut full = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"});
    full["message"] = message.as_str().into();
    for field in ["reason", "details"] {
        if !status[field].is_null() {
            full[field] = status[field].clone();
        }
    }
    full["code"] = code.into();
    ApiError::foreign(code, message, full)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn review(response: Value) -> Value {
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
    }

    #[test]
    fn answers_that_are_none() {
        let check = |review: Value, mutating, expect: &str| {
            assert_eq!(read(&review, "v1", "u", mutating).unwrap_err(), expect, "{review}");
        };
        check(json!({}), true, "webhook response was absent");
        check(review(json!({"uid": "v"})), true, "expected response.uid=\"u\", got \"v\"");
        let mut other = review(json!({"uid": "u"}));
        other["apiVersion"] = "v1".into();
        let why = "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got v1, Kind=AdmissionReview";
        check(other, true, why);
        let half = |field: &str| review(json!({"uid": "u", field: "e30="}));
        check(half("patch"), true, "webhook returned response.patch but not response.patchType");
        check(half("patchType"), true, "webhook returned response.patchType but not response.patch");
        check(half("patch"), false, "validating webhook may not return response.patch");
        check(half("patchType"), false, "validating webhook may not return response.patchType");
    }

    #[test]
    fn answers_of_the_older_version() {
        let review = json!({"response": {"allowed": true, "patch": "W10="}});
        let patch = Some((b"[]".to_vec(), "JSONPatch".to_owned()));
        let expect = Response { allowed: true, patch, ..Response::default() };
        assert_eq!(read(&review, "v1beta1", "u", true), Ok(expect));
    }

    #[test]
    fn refusals() {
        let check = |status: Value, code, message: &str| {
            let error = refusal("a.b.c", &status);
            assert_eq!((error.code, error.message.as_str()), (code, message), "{status}");
            assert_eq!(error.to_value()["reason"], status["reason"]);
        };
        let by = "admission webhook \"a.b.c\" denied the request";
        check(Value::Null, 400, &format!("{by} without explanation"));
        check(json!({"code": 200, "reason": "Why"}), 400, &format!("{by}: Why"));
        check(json!({"code": 403, "reason": "Forbidden", "message": "no"}), 403, &format!("{by}: no"));
    }
}
