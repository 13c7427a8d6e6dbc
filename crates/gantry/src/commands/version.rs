//! `gantry version`.

/// The Kubernetes version whose API is served.
pub const KUBERNETES: &str = "v1.35.0";

/// Gantry's own version.
pub const GANTRY: &str = concat!("v", env!("CARGO_PKG_VERSION"));

/// Prints both versions.
pub fn run() {
    println!("gantry {GANTRY} (Kubernetes {KUBERNETES})");
}
