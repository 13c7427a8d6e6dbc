//! One copy of each shape, so that pods of one shape are known by its address.

use std::collections::HashSet;
use std::sync::Arc;

use crate::shape::Shape;

/// The shapes in use.
#[derive(Debug, Default)]
pub struct Shapes {
    known: HashSet<Arc<Shape>>,
    /// At this size the unused ones are dropped.
    sweep_at: usize,
}

impl Shapes {
    /// The one copy of `shape`.
    pub fn intern(&mut self, shape: Arc<Shape>) -> Arc<Shape> {
        if let Some(known) = self.known.get(&shape) {
            return known.clone();
        }
        if self.known.len() >= self.sweep_at {
            self.known.retain(|shape| Arc::strong_count(shape) > 1);
            self.sweep_at = (self.known.len() * 2).max(1024);
        }
        self.known.insert(shape.clone());
        shape
    }
}
