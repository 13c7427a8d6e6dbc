//! LimitPodHardAntiAffinityTopology: a pod keeps others away from its own node at most, not from a whole
//! zone. Off by default.

use gantry_api::status::ApiError;
use gantry_json::Value;

use super::{Operation, Plugin, Request, Turns};
use crate::Lookup;

const HOST: &str = "kubernetes.io/hostname";

pub(super) struct LimitPodHardAntiAffinityTopology;

impl Plugin for LimitPodHardAntiAffinityTopology {
    fn name(&self) -> &'static str {
        "LimitPodHardAntiAffinityTopology"
    }

    fn turns(&self) -> Turns {
        Turns::mutating(Turns::WRITES)
    }

    fn mutate(&self, request: &mut Request<'_>, _: &dyn Lookup) -> Result<(), ApiError> {
        let written = matches!(request.operation, Operation::Create | Operation::Update);
        if !written || !request.is("pods", "") {
            return Ok(());
        }
        let pointer = "/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution";
        let terms = request.object.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
        let mut keys = terms.map(|term| term["topologyKey"].as_str().unwrap_or_default());
        match keys.find(|key| *key != HOST) {
            None => Ok(()),
            Some(key) => Err(request.forbidden(format!(
                "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey {key} but only key {HOST} is allowed"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::super::testing::{admit, request};
    use super::*;
    use crate::User;
    use crate::lookup::Objects;

    #[test]
    fn nodes_only() {
        let user = User::new("jane", []);
        let check = |key: &str, expect: Result<(), &str>| {
            let terms = json!([{"topologyKey": HOST}, {"topologyKey": key}]);
            let affinity =
                json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}});
            let pod = json!({"metadata": {"name": "p"}, "spec": {"affinity": affinity}});
            let request = request(Operation::Create, "pods", &user, pod, None);
            let got = admit(&LimitPodHardAntiAffinityTopology, request, &Objects(vec![])).map(drop);
            assert_eq!(got, expect.map_err(str::to_owned));
        };
        check(HOST, Ok(()));
        check(
            "zone",
            Err(
                "pods \"p\" is forbidden: affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey zone but \
                 only key kubernetes.io/hostname is allowed",
            ),
        );
    }
}
