//! What a pod asks for altogether: the sums over its containers, as limits and quotas count them.

use std::collections::BTreeMap;

use gantry_json::Value;

use crate::quantity::Quantity;
use crate::rules::common::list;

/// Amounts by resource.
pub type ResourceList = BTreeMap<String, Quantity>;

/// Reads amounts; what is none is left out.
pub fn read(amounts: &Value) -> ResourceList {
    let amounts = amounts.as_object().into_iter().flatten();
    amounts.filter_map(|(name, amount)| Some((name.to_string(), amount.as_str()?.parse().ok()?))).collect()
}

/// The requests of a pod's spec, without the overhead of its runtime.
pub fn requests(spec: &Value) -> ResourceList {
    total(spec, "requests")
}

/// The limits of a pod's spec, likewise.
pub fn limits(spec: &Value) -> ResourceList {
    total(spec, "limits")
}

/// Adds `more` to `to`.
pub fn add(to: &mut ResourceList, more: &ResourceList) {
    for (name, amount) in more {
        let sum = to.get(name).map_or(*amount, |before| *before + *amount);
        to.insert(name.clone(), sum);
    }
}

/// Raises `to` to what `other` has more.
pub fn raise(to: &mut ResourceList, other: &ResourceList) {
    for (name, amount) in other {
        if to.get(name).is_none_or(|before| before < amount) {
            to.insert(name.clone(), *amount);
        }
    }
}

/// Whether the container is a sidecar: it starts before the others and goes on beside them.
pub fn is_sidecar(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

/// Whether amounts of the resource can be given for a whole pod.
pub fn is_for_pods(resource: &str) -> bool {
    matches!(resource, "cpu" | "memory") || resource.starts_with("hugepages-")
}

/// Containers and sidecars run together; what an init container needs, it needs beside the sidecars
/// that are started before it. What the pod says of itself counts before all of that.
fn total(spec: &Value, field: &str) -> ResourceList {
    let (mut sum, mut sidecars, mut start) = (ResourceList::new(), ResourceList::new(), ResourceList::new());
    for container in list(spec, "containers") {
        add(&mut sum, &read(&container["resources"][field]));
    }
    for container in list(spec, "initContainers") {
        let own = read(&container["resources"][field]);
        if is_sidecar(container) {
            add(&mut sum, &own);
            add(&mut sidecars, &own);
            raise(&mut start, &sidecars);
        } else {
            let mut together = own;
            add(&mut together, &sidecars);
            raise(&mut start, &together);
        }
    }
    raise(&mut sum, &start);
    sum.extend(read(&spec["resources"][field]).into_iter().filter(|(name, _)| is_for_pods(name)));
    sum
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    #[test]
    fn containers_sidecars_and_what_comes_before() {
        let check = |spec: Value, expect: &[(&str, &str)]| {
            let got: Vec<_> =
                requests(&spec).into_iter().map(|(name, sum)| (name, sum.to_string())).collect();
            let got: Vec<_> = got.iter().map(|(name, sum)| (name.as_str(), sum.as_str())).collect();
            assert_eq!(got, expect, "{spec}");
        };
        let plain = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
        let sidecar = |cpu: &str| json!({"restartPolicy": "Always", "resources": {"requests": {"cpu": cpu}}});
        check(json!({"containers": [{}]}), &[]);
        check(json!({"containers": [plain("100m"), plain("1")]}), &[("cpu", "1100m")]);
        check(json!({"containers": [plain("1")], "initContainers": [plain("3")]}), &[("cpu", "3")]);
        let init = json!([sidecar("1"), plain("3"), sidecar("1")]);
        check(json!({"containers": [plain("1")], "initContainers": init}), &[("cpu", "4")]);
        let init = json!([sidecar("1"), plain("1"), sidecar("1")]);
        check(json!({"containers": [plain("1")], "initContainers": init}), &[("cpu", "3")]);
        let whole = json!({"requests": {"cpu": "5", "example.com/gpu": "1"}});
        check(json!({"containers": [plain("1")], "resources": whole}), &[("cpu", "5")]);
    }
}
