//! What requests mean, against a whole API server: deletion and its options, collections, dry runs,
//! names that are made, addresses of Services, evictions, acting as somebody else, and what the server puts back.

mod collections;
mod deletion;
mod dry_run;
mod encoding;
mod eviction;
mod expressions;
mod finalizers;
mod gated;
mod impersonation;
mod kept;
mod negotiation;
mod ownership;
mod pods;
mod roles;
mod service_addresses;
mod unset;
mod watch_socket;
