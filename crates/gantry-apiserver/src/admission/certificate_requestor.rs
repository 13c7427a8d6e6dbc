//! What the server itself says in a CertificateSigningRequest: who asks, and when conditions changed.

use gantry_api::status::ApiError;
use gantry_json::{Value, json};
use jiff::Timestamp;

use super::{Operation, Plugin, Request, Turns};
use crate::{Lookup, User};

pub(super) struct CertificateRequestor;

/// Whether the request is about signing requests, and which of their subresources.
pub(super) fn subresource<'a>(request: &Request<'a>) -> Option<&'a str> {
    let about = request.group == "certificates.k8s.io" && request.resource == "certificatesigningrequests";
    about.then_some(request.subresource)
}

impl Plugin for CertificateRequestor {
    fn name(&self) -> &'static str {
        "CertificateRequestor"
    }

    fn turns(&self) -> Turns {
        Turns::mutating(Turns::WRITES)
    }

    fn mutate(&self, request: &mut Request<'_>, _: &dyn Lookup) -> Result<(), ApiError> {
        match (subresource(request), request.operation) {
            (Some(""), Operation::Create) => sign_as(request.user, &mut request.object["spec"]),
            (Some("status" | "approval"), Operation::Update) => {
                let now = Timestamp::now();
                let now = Timestamp::from_second(now.as_second()).unwrap_or(now).to_string();
                let old = request.old.map_or(&Value::Null, |old| &old["status"]["conditions"]);
                date(&mut request.object["status"]["conditions"], old, &now);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Sets who asks.
fn sign_as(user: &User, spec: &mut Value) {
    let Some(fields) = spec.as_object_mut() else { return };
    for field in ["uid", "groups", "extra"] {
        fields.remove(field);
    }
    fields.insert("username".into(), json!(user.name));
    if !user.uid.is_empty() {
        fields.insert("uid".into(), json!(user.uid));
    }
    if !user.groups.is_empty() {
        fields.insert("groups".into(), json!(user.groups));
    }
    if !user.extra.is_empty() {
        fields.insert("extra".into(), json!(user.extra));
    }
}

/// Sets the times that a client left out.
fn date(conditions: &mut Value, old: &Value, now: &str) {
    let before = |condition: &Value| {
        let same = |each: &&Value| each["type"] == condition["type"] && each["status"] == condition["status"];
        let found = old.as_array().into_iter().flatten().find(same);
        found.map(|found| found["lastTransitionTime"].clone()).filter(Value::is_string)
    };
    for condition in conditions.as_array_mut().into_iter().flatten() {
        if !condition["lastTransitionTime"].is_string() {
            condition["lastTransitionTime"] = before(condition).unwrap_or_else(|| json!(now));
        }
        if !condition["lastUpdateTime"].is_string() {
            condition["lastUpdateTime"] = json!(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{admit, request};
    use super::*;
    use crate::lookup::Objects;

    const TARGET: &str = "certificates.k8s.io:certificatesigningrequests";

    #[test]
    fn nobody_asks_as_somebody_else() {
        let user = User::new("ada", ["dev"]);
        let object =
            json!({"spec": {"username": "root", "uid": "0", "groups": ["g"], "extra": {"a": ["b"]}}});
        let request = request(Operation::Create, TARGET, &user, object, None);
        let made = admit(&CertificateRequestor, request, &Objects::default()).unwrap();
        let expected = json!({"username": "ada", "groups": ["dev", "system:authenticated"]});
        assert_eq!(made["spec"], expected);
    }

    #[test]
    fn conditions_keep_the_time_of_their_transition() {
        let mut new = json!([{"type": "Approved", "status": "True"}, {"type": "Failed", "status": "True"}]);
        let old = json!([{"type": "Approved", "status": "True", "lastTransitionTime": "then"}]);
        date(&mut new, &old, "now");
        assert_eq!(new[0]["lastTransitionTime"], "then");
        assert_eq!(new[0]["lastUpdateTime"], "now");
        assert_eq!(new[1]["lastTransitionTime"], "now");
    }
}
