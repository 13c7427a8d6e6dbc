//! PodTopologyLabels: a pod carries the zone and region of its node, where its containers can read them.

use gantry_api::status::ApiError;
use gantry_json::Value;

use super::{Operation, Plugin, Request, Turns};
use crate::Lookup;

/// How the labels begin in JSON.
const PREFIX: &str = "\"topology.kubernetes.io/";
const LABELS: [&str; 2] = ["topology.kubernetes.io/region", "topology.kubernetes.io/zone"];

pub(super) struct PodTopologyLabels;

impl Plugin for PodTopologyLabels {
    fn name(&self) -> &'static str {
        "PodTopologyLabels"
    }

    fn turns(&self) -> Turns {
        Turns::mutating(Turns::CREATES)
    }

    /// Labels of a binding become the pod's.
    fn mutate(&self, request: &mut Request<'_>, objects: &dyn Lookup) -> Result<(), ApiError> {
        if request.operation != Operation::Create {
            return Ok(());
        }
        let node = if request.is("pods", "") {
            request.text("/spec/nodeName")
        } else if request.is("pods", "binding") && request.text("/target/kind") == "Node" {
            request.text("/target/name")
        } else {
            ""
        };
        if node.is_empty() {
            return Ok(());
        }
        let Some(node) = objects.get_with("", "nodes", "", node, PREFIX) else { return Ok(()) };
        for key in LABELS {
            let known = |object: &Value| object["metadata"]["labels"].get(key).cloned();
            if let Some(value) = known(&node)
                && known(&request.object).is_none()
            {
                request.object["metadata"]["labels"][key] = value;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::super::testing::{admit, request};
    use super::super::text;
    use super::*;
    use crate::User;
    use crate::lookup::Objects;

    #[test]
    fn labels_follow_the_node() {
        let labels =
            json!({"topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r", "x": "y"});
        let objects = Objects(vec![("nodes", json!({"metadata": {"name": "n", "labels": labels}}))]);
        let check = |target: &str, object: Value, zone: &str| {
            let user = User::new("ada", []);
            let got = admit(
                &PodTopologyLabels,
                request(Operation::Create, target, &user, object.clone(), None),
                &objects,
            );
            let got = got.unwrap();
            assert_eq!(
                got["metadata"]["labels"]["topology.kubernetes.io/zone"].as_str().unwrap_or_default(),
                zone,
                "{target} {object}"
            );
            assert_eq!(text(&got, "/metadata/labels/x"), "");
        };
        check("pods", json!({"spec": {"nodeName": "n"}}), "z");
        check("pods", json!({"spec": {"nodeName": "gone"}}), "");
        check("pods", json!({"spec": {}}), "");
        check("pods/binding", json!({"target": {"kind": "Node", "name": "n"}}), "z");
        check("pods/binding", json!({"target": {"kind": "Other", "name": "n"}}), "");
        let own = json!({"topology.kubernetes.io/zone": "own"});
        check(
            "pods/binding",
            json!({"metadata": {"labels": own}, "target": {"kind": "Node", "name": "n"}}),
            "own",
        );
    }
}
