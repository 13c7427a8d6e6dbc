//! The real binary as a process of its own: driven by kubectl, and killed in mid-write.

mod crash;
mod kubectl;
mod server;
mod stop;
