//! Cordoned nodes take only pods that tolerate it.

use super::{Filter, Rejection, taint_toleration};
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use k8s_openapi::api::core::v1::Taint;

/// The plugin.
pub struct NodeUnschedulable;

impl Filter for NodeUnschedulable {
    fn filter(&self, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        if !node.unschedulable {
            return Ok(());
        }
        let taint = Taint {
            key: "node.kubernetes.io/unschedulable".into(),
            effect: "NoSchedule".into(),
            ..Taint::default()
        };
        if pod.tolerations.iter().any(|toleration| taint_toleration::tolerates(toleration, &taint)) {
            return Ok(());
        }
        Err(Rejection::permanent("node(s) were unschedulable"))
    }
}
