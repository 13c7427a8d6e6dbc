//! The messages of CRI `runtime.v1` that Gantry uses, with the protocol's own names and field
//! numbers, so that any runtime or node agent that speaks CRI v1 can sit at the other end. Windows
//! messages are left out. Fields are documented by the protocol.
#![allow(missing_docs)]

mod container;
mod image;
mod runtime;
mod sandbox;
mod stats;
mod stream;

pub use container::*;
pub use image::*;
pub use runtime::*;
pub use sandbox::*;
pub use stats::*;
pub use stream::*;
