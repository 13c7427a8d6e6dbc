//! The rules of the built-in kinds: defaults, preparation, validation. One module per kind.

pub mod certificate_signing_request;
pub mod common;
pub mod config_map;
pub mod container;
pub mod controller_revision;
pub mod cron_job;
pub mod daemon_set;
pub mod deployment;
pub mod endpoint_slice;
pub mod endpoints;
pub mod event;
pub mod horizontal_pod_autoscaler;
pub mod job;
pub mod metadata;
pub mod namespace;
pub mod node;
pub mod persistent_volume_claim;
pub mod pod;
pub mod pod_disruption_budget;
pub mod priority_class;
pub mod rbac;
pub mod replica_set;
pub mod runtime_class;
pub mod secret;
pub mod service;
pub mod stateful_set;
mod workload;

#[cfg(test)]
mod tests;
