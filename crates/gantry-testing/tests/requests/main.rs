//! What requests mean, against a whole API server: deletion and its options, collections, dry runs,
//! names that are made, evictions, and acting as somebody else.

mod collections;
mod deletion;
mod dry_run;
mod encoding;
mod eviction;
mod expressions;
mod finalizers;
mod impersonation;
mod pods;
mod roles;
