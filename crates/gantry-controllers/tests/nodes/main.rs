//! Controllers of nodes against a real API server.

mod certificates;
mod support;
