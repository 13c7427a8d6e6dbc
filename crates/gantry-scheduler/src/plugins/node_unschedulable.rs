//! Cordoned nodes take only pods that tolerate it.

use super::{Plugin, Rejection, taint_toleration};
use crate::node::NodeInfo;
use crate::shape::Shape;
use k8s_openapi::api::core::v1::Taint;

/// Whether the node takes pods at all.
pub fn filter(shape: &Shape, node: &NodeInfo) -> Result<(), Rejection> {
    if !node.facts.unschedulable {
        return Ok(());
    }
    let taint = Taint {
        key: "node.kubernetes.io/unschedulable".into(),
        effect: "NoSchedule".into(),
        ..Taint::default()
    };
    if shape.tolerations.iter().any(|toleration| taint_toleration::tolerates(toleration, &taint)) {
        return Ok(());
    }
    Err(Rejection::permanent(Plugin::NodeUnschedulable, "node(s) were unschedulable"))
}
