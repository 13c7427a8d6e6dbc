//! Taints keep pods away that do not tolerate them; `PreferNoSchedule` only makes a node worse.

use k8s_openapi::api::core::v1::{Taint, Toleration};

use super::{Filter, Rejection, Score, normalize};
use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// The plugin.
pub struct TaintToleration;

/// Whether `toleration` stands `taint`: an empty key with `Exists` stands all, an empty effect
/// every effect.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    if !(effect.is_empty() || effect == taint.effect) || !(key.is_empty() || key == taint.key) {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or_default() {
        "Exists" => true,
        "" | "Equal" => {
            !key.is_empty()
                && toleration.value.as_deref().unwrap_or_default()
                    == taint.value.as_deref().unwrap_or_default()
        }
        _ => false,
    }
}

/// Whether `pod` may be placed on a node with `taints`.
pub fn stands(pod: &PodInfo, taints: &[Taint]) -> bool {
    taints
        .iter()
        .filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"))
        .all(|taint| pod.tolerations.iter().any(|toleration| tolerates(toleration, taint)))
}

impl Filter for TaintToleration {
    fn filter(&self, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        if stands(pod, &node.taints) {
            return Ok(());
        }
        Err(Rejection::permanent("node(s) had untolerated taint(s)"))
    }
}

impl Score for TaintToleration {
    fn weight(&self) -> i64 {
        3
    }

    fn score(&self, pod: &PodInfo, nodes: &[&NodeInfo]) -> Vec<i64> {
        let soft = |taint: &&Taint| taint.effect == "PreferNoSchedule";
        let mut raw: Vec<i64> = nodes
            .iter()
            .map(|node| {
                let untolerated =
                    |taint: &&Taint| !pod.tolerations.iter().any(|toleration| tolerates(toleration, taint));
                node.taints.iter().filter(soft).filter(untolerated).count() as i64
            })
            .collect();
        normalize(&mut raw, true);
        raw
    }
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
            let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            let toleration = Toleration {
                key: text(key),
                operator: text(operator),
                value: text(value),
                effect: text(effect),
                toleration_seconds: None,
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
