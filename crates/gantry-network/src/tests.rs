//! Tests against the kernel, each in network namespaces of its own. They run as root.

mod pods;
mod support;
