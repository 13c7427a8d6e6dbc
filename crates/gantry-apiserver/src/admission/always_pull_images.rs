//! AlwaysPullImages: nobody runs an image only because somebody else's pod has brought it to the node. Off by
//! default.

use std::collections::HashSet;

use gantry_api::field::{FieldError, Path};
use gantry_api::status::ApiError;
use gantry_json::Value;

use super::{Operation, Plugin, Request, Turns};
use crate::Lookup;

const FIELDS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

pub(super) struct AlwaysPullImages;

impl Plugin for AlwaysPullImages {
    fn name(&self) -> &'static str {
        "AlwaysPullImages"
    }

    fn turns(&self) -> Turns {
        Turns::both(Turns::WRITES)
    }

    fn mutate(&self, request: &mut Request<'_>, _: &dyn Lookup) -> Result<(), ApiError> {
        if !concerns(request) {
            return Ok(());
        }
        let spec = &mut request.object["spec"];
        for field in FIELDS {
            for container in spec.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten() {
                container["imagePullPolicy"] = "Always".into();
            }
        }
        for volume in spec.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten() {
            if volume["image"]["reference"].as_str().is_some_and(|reference| !reference.is_empty()) {
                volume["image"]["pullPolicy"] = "Always".into();
            }
        }
        Ok(())
    }

    fn validate(&self, request: &Request<'_>, _: &dyn Lookup) -> Result<(), ApiError> {
        if !concerns(request) {
            return Ok(());
        }
        for field in FIELDS {
            let containers = request.object["spec"][field].as_array().into_iter().flatten();
            for (at, container) in containers.enumerate() {
                let policy = container["imagePullPolicy"].as_str().unwrap_or_default();
                if policy != "Always" {
                    let path = Path::new("spec").child(field).index(at).child("imagePullPolicy");
                    let error = FieldError::not_supported(&path, policy, &["Always"]);
                    return Err(request.forbidden(error.to_string()));
                }
            }
        }
        Ok(())
    }
}

/// Whether the request brings images to a pod.
fn concerns(request: &Request<'_>) -> bool {
    let written = matches!(request.operation, Operation::Create | Operation::Update);
    let known = || request.old.is_some_and(|old| images(&request.object).is_subset(&images(old)));
    written && request.is("pods", "") && !known()
}

fn images(pod: &Value) -> HashSet<&str> {
    let containers = FIELDS.iter().filter_map(|field| pod["spec"][field].as_array()).flatten();
    containers.filter_map(|container| container["image"].as_str()).collect()
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::super::testing::{admit, request};
    use super::*;
    use crate::User;
    use crate::lookup::Objects;

    #[test]
    fn images_are_pulled() {
        let user = User::new("jane", []);
        let pod = |image: &str, policy: &str| {
            json!({"metadata": {"name": "p"}, "spec": {
                "containers": [{"name": "c", "image": image, "imagePullPolicy": policy}],
                "volumes": [{"name": "v", "image": {"reference": "r"}}]}})
        };
        let run = |object: Value, old: Option<&Value>| {
            let operation = if old.is_some() { Operation::Update } else { Operation::Create };
            admit(&AlwaysPullImages, request(operation, "pods", &user, object, old), &Objects(vec![]))
                .unwrap()
        };
        let made = run(pod("i", "Never"), None);
        assert_eq!(made["spec"]["containers"][0]["imagePullPolicy"], "Always");
        assert_eq!(made["spec"]["volumes"][0]["image"]["pullPolicy"], "Always");
        let old = pod("i", "Never");
        assert_eq!(run(pod("i", "Never"), Some(&old)), old);
        let changed = run(pod("j", "Never"), Some(&old));
        assert_eq!(changed["spec"]["containers"][0]["imagePullPolicy"], "Always");
        let object = pod("i", "Never");
        let refused = AlwaysPullImages
            .validate(&request(Operation::Create, "pods", &user, object, None), &Objects(vec![]))
            .unwrap_err();
        let why = "pods \"p\" is forbidden: spec.containers[0].imagePullPolicy: Unsupported value: \"Never\": \
                   supported values: \"Always\"";
        assert_eq!(refused.message, why);
    }
}
