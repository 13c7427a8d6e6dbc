//! The embedded container runtime: images, pod sandboxes, containers and their streams behind CRI.
//!
//! The agent's side is asynchronous and holds no container: each pod's containers are children of a
//! shim, a small re-executed process that outlives the agent (see [`shim`]). State is on disk in the
//! runtime's root directory, what dies with the machine in the run directory; [`Runtime::open`] takes
//! both over.

mod capability;
mod cgroup;
mod container;
mod error;
mod image;
mod runtime;
mod sandbox;
mod seccomp;
mod service;
mod shim_client;
mod socket;
mod spec;
mod state;
mod stats;
mod streaming;
mod sys;
mod users;
mod wire;

pub mod shim;

pub use error::RuntimeError;
pub use image::{ImageRecord, unpack::main as unpack_main};
pub use runtime::{NoNetwork, Runtime, RuntimeConfig};
pub use shim::main as shim_main;
