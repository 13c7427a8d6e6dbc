//! Taints keep pods away that do not tolerate them; `PreferNoSchedule` only makes a node worse.

use k8s_openapi::api::core::v1::Taint;

use super::{Plugin, Rejection};
use crate::cluster::Cluster;
use crate::node::NodeInfo;
use crate::shape::{Shape, Toleration};

/// Whether `toleration` stands `taint`: an empty key with `Exists` stands all, an empty effect
/// every effect.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let (key, effect) = (&toleration.key, &toleration.effect);
    if !(effect.is_empty() || *effect == taint.effect) || !(key.is_empty() || *key == taint.key) {
        return false;
    }
    match &*toleration.operator {
        "Exists" => true,
        "" | "Equal" => !key.is_empty() && toleration.value == taint.value.as_deref().unwrap_or_default(),
        _ => false,
    }
}

fn tolerated(shape: &Shape, taint: &Taint) -> bool {
    shape.tolerations.iter().any(|toleration| tolerates(toleration, taint))
}

/// Whether a pod may be placed on a node with `taints`.
pub fn stands(shape: &Shape, taints: &[Taint]) -> bool {
    taints
        .iter()
        .filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"))
        .all(|taint| tolerated(shape, taint))
}

/// Whether the pod stands the node's taints.
pub fn filter(shape: &Shape, node: &NodeInfo) -> Result<(), Rejection> {
    if stands(shape, &node.facts.taints) {
        return Ok(());
    }
    Err(Rejection::permanent(Plugin::TaintToleration, "node(s) had untolerated taint(s)"))
}

/// How many taints would rather not have the pod.
pub fn score(shape: &Shape, node: &NodeInfo, _: &Cluster) -> i32 {
    let soft = node.facts.taints.iter().filter(|taint| taint.effect == "PreferNoSchedule");
    soft.filter(|taint| !tolerated(shape, taint)).count() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerations() {
        let taint = Taint {
            key: "k".into(),
            value: Some("v".into()),
            effect: "NoSchedule".into(),
            ..Taint::default()
        };
        let check = |key: &str, operator: &str, value: &str, effect: &str, expected: bool| {
            let toleration = Toleration {
                key: key.into(),
                operator: operator.into(),
                value: value.into(),
                effect: effect.into(),
            };
            assert_eq!(tolerates(&toleration, &taint), expected, "{toleration:?}");
        };
        check("k", "Equal", "v", "NoSchedule", true);
        check("k", "", "v", "", true);
        check("k", "Exists", "", "", true);
        check("", "Exists", "", "", true);
        check("k", "Equal", "w", "", false);
        check("j", "Exists", "", "", false);
        check("k", "Exists", "", "NoExecute", false);
        check("", "Equal", "v", "", false);
    }
}
