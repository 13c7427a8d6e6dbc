//! The client libraries of other languages, each in a script that tours the API.

use super::baggage;
use crate::cluster::{Cluster, workspace};

/// The script's last words.
const END: &str = "the tour is over\n";

/// Where `hack/packages.sh` puts the libraries.
fn library(name: &str) -> String {
    workspace().join("target/clients").join(name).display().to_string()
}

#[test]
fn the_python_client() {
    let cluster = Cluster::start("python");
    let script = baggage().join("tour.py");
    let path = format!("PYTHONPATH={}", library("python"));
    let said = cluster.program("env", &[&path, "python3", script.to_str().expect("a path")]);
    assert!(said.ends_with(END), "{said}");
}

#[test]
fn the_javascript_client() {
    let cluster = Cluster::start("node");
    // Modules are looked for beside the script.
    let script = workspace().join("target/clients/node/tour.mjs");
    std::fs::copy(baggage().join("tour.mjs"), &script).expect("copied");
    let said = cluster.program("node", &[script.to_str().expect("a path")]);
    assert!(said.ends_with(END), "{said}");
}
