//! Two pods cannot have one port of a node.

use super::{Plugin, Rejection};
use crate::node::NodeInfo;
use crate::shape::Shape;

/// Whether the pod's ports are free.
pub fn filter(shape: &Shape, node: &NodeInfo) -> Result<(), Rejection> {
    let taken = |port| node.ports.iter().any(|other| other.conflicts(port));
    if shape.host_ports.iter().any(taken) {
        let reason = "node(s) didn't have free ports for the requested pod ports";
        return Err(Rejection::resolvable(Plugin::NodePorts, reason));
    }
    Ok(())
}
