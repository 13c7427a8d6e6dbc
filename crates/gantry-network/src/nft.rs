//! nftables: what a table of rules is made of, the difference between two, and how the kernel is told.
//!
//! Only what the Service proxy needs is here, as a closed set of matches and actions. So rules can be
//! compared, printed and checked without the kernel, and encoded without knowing who wants them.

pub mod diff;
pub mod encode;
mod expression;
pub mod merge;
pub mod model;
mod text;

pub use diff::{Change, diff};
pub use merge::{Merged, Owner};
pub use model::*;
