//! Controllers of nodes against a real API server.

mod addresses;
mod certificates;
mod support;
