//! Two pods cannot have one port of a node.

use super::{Filter, Rejection};
use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// The plugin.
pub struct NodePorts;

impl Filter for NodePorts {
    fn filter(&self, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        let taken = |port| node.ports.iter().any(|other| other.conflicts(port));
        if pod.host_ports.iter().any(taken) {
            return Err(Rejection::resolvable("node(s) didn't have free ports for the requested pod ports"));
        }
        Ok(())
    }
}
