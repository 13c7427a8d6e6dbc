//! The node agent: runs the pods that are bound to its node through the container runtime interface,
//! reports the node and its pods, and serves the node's API.
//!
//! Decisions are pure (`plan`, `status`, `probe`); each pod has a worker that carries them out.

mod admit;
mod agent;
mod backoff;
mod config;
mod env;
mod env_file;
mod events;
mod eviction;
mod expand;
mod field_ref;
mod gc;
mod image;
mod image_gc;
mod kubelet;
mod lifecycle;
mod logs;
mod machine;
mod names;
mod node;
mod objects;
mod observed;
mod plan;
mod pod;
mod pods;
mod probe;
mod quantity;
mod resize;
mod resources;
mod security;
mod server;
mod status;
mod tls;
mod users;
mod volumes;
mod worker;

pub use config::{Config, Error, IMAGE_GC_PERCENT};
pub use eviction::Thresholds;
pub use kubelet::Kubelet;
