//! The real binary as a process of its own: driven by kubectl, and killed in mid-write.

mod crash;
mod kubectl;
mod output;
mod server;
mod stop;
