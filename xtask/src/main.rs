//! Generators, test images and benchmarks.
fn main() {}
