//! Printing to somebody who has stopped reading.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use crate::server::Server;

#[test]
fn a_command_ends_quietly_with_its_reader() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let command = Command::new(env!("CARGO_BIN_EXE_gantry"))
        .args(["completion", "bash"])
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&command.stderr), "");
    assert_eq!(command.status.signal(), Some(nix::sys::signal::Signal::SIGPIPE as i32));
}

#[test]
fn a_server_serves_whoever_reads() {
    let mut server = Server::start_unread();
    assert_eq!(server.kubectl(&["get", "--raw", "/readyz"]), "ok");
    assert!(server.stop().success());
}
