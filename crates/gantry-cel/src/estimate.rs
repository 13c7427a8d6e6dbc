//! What an expression may cost at most, told before it runs from the limits in its data's schema.
//!
//! Upstream refuses rules by these numbers, so every step is as there.

mod calls;
mod range;
mod walk;

pub use range::Range;

use crate::ast::Node;
use crate::environment::Environment;

/// What running the tree costs, at least and at most.
pub(crate) fn estimate(node: &Node, environment: &Environment) -> Range {
    walk::Walk::new(environment).cost(node)
}
