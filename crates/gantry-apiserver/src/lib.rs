//! The API server: HTTP, request routing, authentication, authorization, admission, the REST
//! verbs over the store, list and watch, discovery, and the proxies to nodes.
//!
//! A request passes one pipeline whether it arrived over TLS or from a component in the same
//! process: routing, authentication, authorization, decoding and defaults, admission,
//! validation, store, encoding. Reads never parse an object.

mod attributes;
mod config;
mod lookup;
mod user;

pub mod admission;
pub mod allocate;
pub mod authn;
pub mod authz;
pub mod bootstrap;
pub mod token;

pub use attributes::Attributes;
pub use config::{Config, Identity, Version};
pub use lookup::Lookup;
pub use user::User;
