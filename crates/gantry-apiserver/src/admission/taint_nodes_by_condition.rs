//! TaintNodesByCondition: a node that is new takes no pods before it is known to be ready.

use gantry_api::status::ApiError;
use gantry_json::json;

use super::{Operation, Plugin, Request, Turns};
use crate::Lookup;

const NOT_READY: &str = "node.kubernetes.io/not-ready";

pub(super) struct TaintNodesByCondition;

impl Plugin for TaintNodesByCondition {
    fn name(&self) -> &'static str {
        "TaintNodesByCondition"
    }

    fn turns(&self) -> Turns {
        Turns::mutating(Turns::CREATES)
    }

    fn mutate(&self, request: &mut Request<'_>, _: &dyn Lookup) -> Result<(), ApiError> {
        if !request.is("nodes", "") || request.operation != Operation::Create {
            return Ok(());
        }
        if !request.object["spec"].is_object() {
            request.object["spec"] = json!({});
        }
        let taint = json!({"key": NOT_READY, "effect": "NoSchedule"});
        match request.object["spec"]["taints"].as_array_mut() {
            Some(taints) => {
                if !taints.iter().any(|each| each["key"] == NOT_READY && each["effect"] == "NoSchedule") {
                    taints.push(taint);
                }
            }
            None => request.object["spec"]["taints"] = json!([taint]),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::Value;

    use super::super::testing::{admit, request};
    use super::*;
    use crate::User;
    use crate::lookup::Objects;

    #[test]
    fn taints_once() {
        let check = |spec: Value, expect: Value| {
            let user = User::new("n", []);
            let request = request(Operation::Create, "nodes", &user, json!({"spec": spec}), None);
            let node = admit(&TaintNodesByCondition, request, &Objects::default()).unwrap();
            assert_eq!(node["spec"]["taints"], expect);
        };
        let taint = json!({"key": NOT_READY, "effect": "NoSchedule"});
        check(Value::Null, json!([taint]));
        check(json!({"taints": [taint]}), json!([taint]));
        check(json!({"taints": [{"key": "a"}]}), json!([{"key": "a"}, taint]));
    }
}
