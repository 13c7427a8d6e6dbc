//! Tests against the kernel, each in network namespaces of its own. They run as root.

mod cluster;
mod differences;
mod follow;
mod health;
mod host_ports;
mod load;
mod nodes;
mod pods;
mod services;
mod support;
mod two_families;
