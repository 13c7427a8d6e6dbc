//! The rules of the built-in kinds: defaults, preparation, validation. One module per kind.

pub mod certificate_signing_request;
pub mod common;
pub mod config_map;
pub mod container;
pub mod controller_revision;
pub mod cron_job;
pub mod csi_driver;
pub mod daemon_set;
pub mod deployment;
pub mod endpoint_slice;
pub mod endpoints;
pub mod event;
pub mod horizontal_pod_autoscaler;
pub mod ingress;
pub mod ingress_class;
pub mod ip_address;
pub mod job;
pub mod limit_range;
pub mod metadata;
pub mod namespace;
pub mod network_policy;
pub mod node;
pub mod persistent_volume;
pub mod persistent_volume_claim;
pub mod pod;
pub mod pod_disruption_budget;
pub mod pod_template;
pub mod priority_class;
pub mod rbac;
pub mod replica_set;
pub mod replication_controller;
pub mod resource_quota;
pub mod runtime_class;
pub mod secret;
pub mod service;
pub mod stateful_set;
pub mod storage_class;
pub mod volume_attachment;
mod workload;

#[cfg(test)]
mod tests;
