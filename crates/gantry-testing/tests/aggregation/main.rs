//! Other servers that answer for a group and version behind the API server, each a real one with TLS that
//! believes nobody but the front proxy.

mod availability;
mod discovery;
mod extension;
mod front_proxy;
mod proxying;
mod registration;
