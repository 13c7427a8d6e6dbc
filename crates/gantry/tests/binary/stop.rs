//! The end of a server that is asked for it.

use std::time::{Duration, Instant};

use crate::server::Server;

/// Less than what a control plane that hangs is given before it is left behind.
const SOON: Duration = Duration::from_secs(12);

#[test]
fn every_part_ends_when_it_is_asked_to() {
    let mut server = Server::start();
    server.kubectl(&["create", "quota", "small", "--hard=pods=3,count/configmaps=9"]);
    // The controllers are at work, with a monitor for what the quota names.
    server.kubectl(&["wait", "quota/small", "--for=jsonpath={.status.hard.pods}=3", "--timeout=60s"]);
    let asked = Instant::now();
    assert!(server.stop().success());
    assert!(asked.elapsed() < SOON, "it took {:?}", asked.elapsed());
}
