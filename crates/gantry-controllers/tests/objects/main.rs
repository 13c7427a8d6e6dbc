//! Controllers that keep objects in order, against a whole API server: each runs under its own
//! identity with the rights that it gets by default.

mod accounts;
mod adoption;
mod budgets;
mod cluster;
mod custom_kinds;
mod endpoints;
mod garbage;
mod jobs;
mod namespaces;
mod numbered;
mod quotas;
mod ranges;
mod replication;
mod tokens;
mod workloads;
