//! Tests against the kernel, each in network namespaces of its own. They run as root.

mod cluster;
mod nodes;
mod pods;
mod services;
mod support;
