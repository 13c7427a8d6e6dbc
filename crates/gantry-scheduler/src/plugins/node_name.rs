//! A pod that names its node runs there only.

use super::{Filter, Rejection};
use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// The plugin.
pub struct NodeName;

impl Filter for NodeName {
    fn filter(&self, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        match &pod.node_name {
            Some(name) if *name != node.name => {
                Err(Rejection::permanent("node(s) didn't match the requested node name"))
            }
            _ => Ok(()),
        }
    }
}
