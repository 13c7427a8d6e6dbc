//! Controllers of nodes against a real API server.

mod addresses;
mod certificates;
mod lifecycle;
mod support;
mod upkeep;
