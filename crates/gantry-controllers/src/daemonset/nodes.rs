//! Which nodes a DaemonSet's pods belong on.

use gantry_client::tolerates;
use k8s_openapi::api::core::v1::{
    Affinity, Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Taint,
    Toleration,
};

/// The field that a pod is bound to its node by.
const NAME: &str = "metadata.name";

/// What a DaemonSet has to do with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fit {
    /// Its pod should be there.
    pub run: bool,
    /// A pod that is there may stay.
    pub stay: bool,
}

/// The taints that every pod of a DaemonSet stands, and their effects.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];
const NO_NETWORK: (&str, &str) = ("node.kubernetes.io/network-unavailable", "NoSchedule");

/// Adds the tolerations of every pod of a DaemonSet to `spec`.
pub(super) fn tolerate(spec: &mut PodSpec) {
    let host = spec.host_network == Some(true);
    let tolerations = spec.tolerations.get_or_insert_default();
    for (key, effect) in TOLERATED.into_iter().chain(host.then_some(NO_NETWORK)) {
        let toleration = Toleration {
            key: Some(key.into()),
            operator: Some("Exists".into()),
            effect: Some(effect.into()),
            ..Default::default()
        };
        if !tolerations.contains(&toleration) {
            tolerations.push(toleration);
        }
    }
}

/// Binds a pod to a node, for the scheduler to see, in place of the node affinity that was looked at here.
pub(super) fn bind(spec: &mut PodSpec, node: &str) {
    let requirement =
        NodeSelectorRequirement { key: NAME.into(), operator: "In".into(), values: Some(vec![node.into()]) };
    let term = NodeSelectorTerm { match_expressions: None, match_fields: Some(vec![requirement]) };
    let affinity: &mut Affinity = spec.affinity.get_or_insert_default();
    let node_affinity: &mut NodeAffinity = affinity.node_affinity.get_or_insert_default();
    node_affinity.required_during_scheduling_ignored_during_execution =
        Some(NodeSelector { node_selector_terms: vec![term] });
}

/// The node that a pod was bound to before it was scheduled.
pub(super) fn bound(spec: &PodSpec) -> Option<&str> {
    let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
    let terms = &affinity.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms;
    let fields = terms.iter().flat_map(|term| term.match_fields.iter().flatten());
    let mut names = fields.filter(|field| field.key == NAME && field.operator == "In");
    names.next()?.values.as_ref()?.first().map(String::as_str)
}

/// What a pod with this spec, which has its tolerations, has to do with `node`.
pub(super) fn fit(spec: &PodSpec, node: &Node) -> Fit {
    let name = node.metadata.name.as_deref().unwrap_or_default();
    let named = spec.node_name.as_deref().is_none_or(|wanted| wanted.is_empty() || wanted == name);
    if !named || !selects(spec, node, name) {
        return Fit { run: false, stay: false };
    }
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let stands =
        |taint: &Taint| spec.tolerations.iter().flatten().any(|toleration| tolerates(toleration, taint));
    let untolerated = |effects: &[&str]| {
        taints.iter().any(|taint| effects.contains(&taint.effect.as_str()) && !stands(taint))
    };
    Fit { run: !untolerated(&["NoSchedule", "NoExecute"]), stay: !untolerated(&["NoExecute"]) }
}

fn selects(spec: &PodSpec, node: &Node, name: &str) -> bool {
    let label = |key: &str| node.metadata.labels.as_ref().and_then(|labels| labels.get(key));
    if !spec.node_selector.iter().flatten().all(|(key, value)| label(key) == Some(value)) {
        return false;
    }
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required =
        affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    let Some(required) = required else { return true };
    required.node_selector_terms.iter().any(|term| {
        let expressions = term.match_expressions.as_deref().unwrap_or_default();
        let fields = term.match_fields.as_deref().unwrap_or_default();
        let empty = expressions.is_empty() && fields.is_empty();
        !empty
            && expressions.iter().all(|each| matches(each, label(&each.key).map(String::as_str)))
            && fields.iter().all(|each| each.key == NAME && matches(each, Some(name)))
    })
}

fn matches(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = value.is_some_and(|value| values.iter().any(|each| each == value));
    let numbers = || {
        let number: i64 = value?.parse().ok()?;
        Some((number, values.first()?.parse::<i64>().ok()?))
    };
    match requirement.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => numbers().is_some_and(|(number, bound)| number > bound),
        "Lt" => numbers().is_some_and(|(number, bound)| number < bound),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::{Value, json};

    use super::*;

    #[test]
    fn pods_belong_where_selectors_and_taints_let_them() {
        let node: Node = gantry_json::from_value(json!({
            "metadata": {"name": "n1", "labels": {"disk": "ssd", "cores": "8"}}}))
        .expect("a Node");
        let check = |spec: Value, taints: Value, run: bool, stay: bool| {
            let mut value = spec.clone();
            value["containers"] = json!([]);
            let mut pod: PodSpec = gantry_json::from_value(value).expect("a spec");
            tolerate(&mut pod);
            let mut node = node.clone();
            node.spec = gantry_json::from_value(json!({"taints": taints})).expect("a spec");
            assert_eq!(fit(&pod, &node), Fit { run, stay }, "{spec} {taints}");
        };
        let term = |requirement: Value| {
            json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [requirement]}]}}}})
        };
        check(json!({}), json!([]), true, true);
        check(json!({"nodeSelector": {"disk": "ssd"}}), json!([]), true, true);
        check(json!({"nodeSelector": {"disk": "hdd"}}), json!([]), false, false);
        check(json!({"nodeName": "n2"}), json!([]), false, false);
        check(term(json!({"key": "cores", "operator": "Gt", "values": ["4"]})), json!([]), true, true);
        check(term(json!({"key": "disk", "operator": "NotIn", "values": ["ssd"]})), json!([]), false, false);
        let taint = |key: &str, effect: &str| json!([{"key": key, "effect": effect}]);
        check(json!({}), taint("node.kubernetes.io/unschedulable", "NoSchedule"), true, true);
        check(json!({}), taint("node.kubernetes.io/network-unavailable", "NoSchedule"), false, true);
        check(
            json!({"hostNetwork": true}),
            taint("node.kubernetes.io/network-unavailable", "NoSchedule"),
            true,
            true,
        );
        check(json!({}), taint("mine", "NoSchedule"), false, true);
        check(json!({}), taint("mine", "NoExecute"), false, false);
        check(json!({}), taint("mine", "PreferNoSchedule"), true, true);
        check(json!({"tolerations": [{"operator": "Exists"}]}), taint("mine", "NoExecute"), true, true);
    }

    #[test]
    fn a_pod_is_bound_to_its_node() {
        let mut spec = PodSpec::default();
        assert_eq!(bound(&spec), None);
        bind(&mut spec, "n1");
        assert_eq!(bound(&spec), Some("n1"));
    }
}
