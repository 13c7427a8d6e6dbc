//! The controllers: each keeps one thing about the cluster true. One module per controller, with its
//! decision as a pure function and a driver that carries it out; [`run`] starts them all.

mod answer;
mod claim;
pub mod clusterrole_aggregation;
mod controllers;
pub mod cronjob;
pub mod csr_approving;
pub mod csr_cleaner;
pub mod csr_signing;
pub mod daemonset;
pub mod deployment;
mod disruption;
pub mod endpoints;
pub mod endpointslice;
mod expectations;
pub mod garbage_collector;
mod history;
pub mod job;
mod kubelet_certificate;
pub mod namespace;
pub mod node_ipam;
pub mod node_lifecycle;
pub mod node_ttl;
pub mod pod_disruption;
pub mod pod_gc;
mod pods;
mod protection;
pub mod pv_protection;
pub mod pvc_protection;
pub mod replicaset;
pub mod resourcequota;
mod resources;
pub mod root_ca;
mod service_pods;
pub mod serviceaccount;
pub mod statefulset;
pub mod taint_eviction;
pub mod token_cleaner;
mod toleration;
pub mod ttl_after_finished;
pub mod vac_protection;
mod writes;

pub use controllers::{Config, Context, NodeTimes, PrivateKey, run};
