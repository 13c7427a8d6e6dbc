//! The rules of the built-in kinds: defaults, preparation, validation. One module per kind.

pub mod certificate_signing_request;
pub mod common;
pub mod config_map;
pub mod container;
pub mod deployment;
pub mod endpoint_slice;
pub mod endpoints;
pub mod event;
pub mod metadata;
pub mod namespace;
pub mod node;
pub mod pod;
pub mod priority_class;
pub mod rbac;
pub mod replica_set;
pub mod runtime_class;
pub mod secret;
pub mod service;

#[cfg(test)]
mod tests;
