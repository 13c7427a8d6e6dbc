//! RuntimeClass: what the class of a pod's runtime costs, and where it runs.

use gantry_api::status::ApiError;
use gantry_json::{Value, json};

use super::{Operation, Plugin, Request, Turns};
use crate::Lookup;

const MISMATCH: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
const UNDEFINED: &str = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";

pub(super) struct RuntimeClass;

impl Plugin for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    fn turns(&self) -> Turns {
        Turns::both(Turns::CREATES)
    }

    fn mutate(&self, request: &mut Request<'_>, objects: &dyn Lookup) -> Result<(), ApiError> {
        let Some(class) = class(request, objects)? else { return Ok(()) };
        let overhead = &class["overhead"]["podFixed"];
        if overhead.is_object() {
            let asked = &request.object["spec"]["overhead"];
            if !asked.is_null() && asked != overhead {
                return Err(request.forbidden(MISMATCH));
            }
            request.object["spec"]["overhead"] = overhead.clone();
        }
        for (key, value) in class["scheduling"]["nodeSelector"].as_object().into_iter().flatten() {
            let asked = &request.object["spec"]["nodeSelector"][key];
            if !asked.is_null() && asked != value {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                return Err(request.forbidden(format!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                    text(value),
                    text(asked)
                )));
            }
            request.object["spec"]["nodeSelector"][key] = value.clone();
        }
        for toleration in class["scheduling"]["tolerations"].as_array().into_iter().flatten() {
            let all = &mut request.object["spec"]["tolerations"];
            match all.as_array_mut() {
                Some(all) if all.contains(toleration) => {}
                Some(all) => all.push(toleration.clone()),
                None => *all = json!([toleration]),
            }
        }
        Ok(())
    }

    fn validate(&self, request: &Request<'_>, objects: &dyn Lookup) -> Result<(), ApiError> {
        if !concerns(request) {
            return Ok(());
        }
        let class = class(request, objects)?.unwrap_or_default();
        let (defined, asked) = (&class["overhead"]["podFixed"], &request.object["spec"]["overhead"]);
        match (defined.is_object(), asked.is_null()) {
            (true, _) if defined != asked => Err(request.forbidden(MISMATCH)),
            (false, false) => Err(request.forbidden(UNDEFINED)),
            _ => Ok(()),
        }
    }
}

fn concerns(request: &Request<'_>) -> bool {
    request.is("pods", "") && request.operation == Operation::Create
}

/// The class that a new pod names.
fn class(request: &Request<'_>, objects: &dyn Lookup) -> Result<Option<Value>, ApiError> {
    let name = request.text("/spec/runtimeClassName");
    if !concerns(request) || name.is_empty() {
        return Ok(None);
    }
    let class = objects.get("node.k8s.io", "runtimeclasses", "", name);
    let missing = || request.forbidden(format!("pod rejected: RuntimeClass {name:?} not found"));
    class.ok_or_else(missing).map(Some)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{admit, request};
    use super::*;
    use crate::User;
    use crate::lookup::Objects;

    #[test]
    fn costs_and_places() {
        let class = json!({"metadata": {"name": "vm"}, "handler": "vm", "overhead": {"podFixed": {"cpu": "1"}},
            "scheduling": {"nodeSelector": {"a": "b"}, "tolerations": [{"key": "vm"}]}});
        let objects = Objects(vec![("runtimeclasses", class)]);
        let check = |spec: Value, expect: Result<Value, &str>| {
            let user = User::new("ada", []);
            let pod = json!({"metadata": {"name": "p"}, "spec": spec});
            let got = admit(&RuntimeClass, request(Operation::Create, "pods", &user, pod, None), &objects);
            let got = got.map(|mut pod| pod["spec"].take());
            assert_eq!(got, expect.map_err(str::to_owned));
        };
        check(json!({}), Ok(json!({})));
        check(
            json!({"runtimeClassName": "vm"}),
            Ok(json!({"runtimeClassName": "vm", "overhead": {"cpu": "1"}, "nodeSelector": {"a": "b"},
                "tolerations": [{"key": "vm"}]})),
        );
        let name = "pods \"p\" is forbidden: ";
        check(
            json!({"runtimeClassName": "x"}),
            Err(&format!("{name}pod rejected: RuntimeClass \"x\" not found")),
        );
        check(json!({"overhead": {"cpu": "1"}}), Err(&format!("{name}{UNDEFINED}")));
        check(json!({"runtimeClassName": "vm", "overhead": {"cpu": "2"}}), Err(&format!("{name}{MISMATCH}")));
    }
}
