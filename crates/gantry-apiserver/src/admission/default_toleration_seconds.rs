//! DefaultTolerationSeconds: a pod stays for five minutes on a node that is not ready or unreachable.

use gantry_api::status::ApiError;
use gantry_json::{Value, json};

use super::{Operation, Plugin, Request, Turns, text};
use crate::Lookup;

const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
const SECONDS: u32 = 300;

pub(super) struct DefaultTolerationSeconds;

impl Plugin for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    fn turns(&self) -> Turns {
        Turns::mutating(Turns::WRITES)
    }

    fn mutate(&self, request: &mut Request<'_>, _: &dyn Lookup) -> Result<(), ApiError> {
        let write = matches!(request.operation, Operation::Create | Operation::Update);
        if !request.is("pods", "") || !write || !request.object["spec"].is_object() {
            return Ok(());
        }
        let tolerations = &mut request.object["spec"]["tolerations"];
        let tolerates = |toleration: &Value, taint: &str| {
            let (key, effect) = (text(toleration, "/key"), text(toleration, "/effect"));
            (key == taint || key.is_empty()) && matches!(effect, "NoExecute" | "")
        };
        for taint in TAINTS {
            let list = tolerations.as_array().into_iter().flatten();
            if list.into_iter().any(|toleration| tolerates(toleration, taint)) {
                continue;
            }
            if !tolerations.is_array() {
                *tolerations = json!([]);
            }
            let toleration = json!({"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS});
            if let Some(list) = tolerations.as_array_mut() {
                list.push(toleration);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{admit, request};
    use super::*;
    use crate::User;
    use crate::lookup::Objects;

    #[test]
    fn adds_what_is_missing() {
        let check = |tolerations: Value, expect: &[&str]| {
            let user = User::new("ada", []);
            let pod = json!({"metadata": {"name": "a"}, "spec": {"tolerations": tolerations}});
            let request = request(Operation::Create, "pods", &user, pod, None);
            let pod = admit(&DefaultTolerationSeconds, request, &Objects::default()).unwrap();
            let list = pod["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
            let added = list.iter().filter(|each| each["tolerationSeconds"] == SECONDS);
            let keys: Vec<_> = added.map(|each| text(each, "/key").rsplit('/').next().unwrap()).collect();
            assert_eq!(keys, expect);
        };
        check(Value::Null, &["not-ready", "unreachable"]);
        check(json!([{"operator": "Exists"}]), &[]);
        check(json!([{"operator": "Exists", "effect": "NoSchedule"}]), &["not-ready", "unreachable"]);
        check(json!([{"key": TAINTS[0], "operator": "Exists", "effect": "NoExecute"}]), &["unreachable"]);
    }
}
