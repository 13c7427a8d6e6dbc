//! The API server: HTTP, request routing, authentication, authorization, admission, the REST
//! verbs over the store, list and watch, discovery, and the proxies to nodes.
//!
//! A request passes one pipeline whether it arrived over TLS or from a component in the same
//! process: routing, authentication, audit, impersonation, fairness, authorization, decoding and
//! defaults, admission, validation, store, encoding, all of it within the request's time. Reads never
//! parse an object.

mod aggregation;
mod attributes;
mod config;
mod custom_resources;
mod documents;
mod duration;
mod endpoint_client;
mod error;
mod expiring;
mod expression;
mod fairness;
mod followed_file;
mod kubeconfig;
mod lease;
mod limits;
mod lookup;
mod metrics;
mod negotiate;
mod proxy;
mod remote;
mod request;
mod respond;
mod rest;
mod review_client;
mod server;
mod service_endpoints;
mod services;
mod tls;
mod user;
mod watch_socket;
mod webhook;
mod websocket;
mod yaml;

pub mod admission;
pub mod allocate;
pub mod audit;
pub mod authn;
pub mod authz;
pub mod body;
pub mod bootstrap;
pub mod storage;
pub mod token;
pub mod trace;

pub use attributes::Attributes;
pub use config::{Config, Identity, Verbosity, Version};
pub use duration::parse as duration;
pub use error::Error;
pub use kubeconfig::{Endpoint, KubeconfigError};
pub use limits::Limits;
pub use lookup::Lookup;
pub use server::{ApiServer, ClientService, PeerCertificates};
pub use tls::Checked;
pub use user::User;
