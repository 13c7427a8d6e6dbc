//! The scheduler: gives each pod without a node the node that suits it best.
//!
//! [`cycle::decide`] is the core, a function of the pod and a [`cluster::Cluster`] kept up from
//! watch events; plugins filter and score nodes; the queue holds pods that wait; binding runs
//! beside the next decision, on the assumption that it succeeds.

pub mod cluster;
pub mod cycle;
pub mod node;
pub mod plugins;
pub mod pod;
pub mod queue;
pub mod requirement;
pub mod resources;
