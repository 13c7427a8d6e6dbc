//! What an object is: the kinds and their rules, the structure of their fields, metadata,
//! selectors, quantities, patches and field management, tables, discovery and OpenAPI.
//!
//! Nothing here does IO, reads a clock or draws a random number.

pub mod certificate_request;
pub mod cron;
pub mod custom;
pub mod custom_kind;
mod diff;
pub mod discovery;
pub mod features;
pub mod field;
pub mod gated;
pub mod go;
pub mod group_priority;
pub mod meta;
pub mod openapi;
pub mod patch;
pub mod pod_resources;
pub mod protobuf;
pub mod quantity;
pub mod quota;
pub mod registry;
pub mod rules;
pub mod runtime_config;
pub mod schema;
pub mod selector;
pub mod status;
pub mod sysctls;
pub mod table;
pub mod unmanaged;
pub mod url;
