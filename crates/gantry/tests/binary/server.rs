//! A `gantry server` process with directories and a port of its own, and kubectl against it.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// The process. It is killed, as a crash would, when this is dropped.
pub struct Server {
    child: Child,
    directory: tempfile::TempDir,
    port: u16,
}

impl Server {
    /// Starts one on an empty directory and waits until it is ready.
    pub fn start() -> Self {
        Self::start_by(spawn)
    }

    /// Starts one that nobody reads from.
    pub fn start_unread() -> Self {
        Self::start_by(|directory, port| {
            let (reader, writer) = std::io::pipe().expect("a pipe");
            drop(reader);
            command(directory, port).stdout(writer).spawn().expect("gantry starts")
        })
    }

    fn start_by(spawn: impl FnOnce(&Path, u16) -> Child) -> Self {
        let port = gantry_testing::free_port().expect("a port");
        let directory = tempfile::tempdir().expect("a directory");
        let child = spawn(directory.path(), port);
        let server = Self { child, directory, port };
        server.wait_ready();
        server
    }

    /// Kills the process without warning and starts it again on the same data.
    pub fn crash_and_restart(&mut self) {
        self.crash();
        self.child = spawn(self.directory.path(), self.port);
        self.wait_ready();
    }

    /// Kills the process without warning.
    pub fn crash(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
    }

    /// Asks the process to end, and waits until it has.
    pub fn stop(&mut self) -> std::process::ExitStatus {
        let pid = nix::unistd::Pid::from_raw(self.child.id().try_into().expect("a pid"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("asked");
        self.child.wait().expect("reaped")
    }

    /// Where its kubeconfig is.
    pub fn kubeconfig(&self) -> std::path::PathBuf {
        self.directory.path().join("etc/kubeconfig.yaml")
    }

    /// What kubectl prints; it must succeed.
    pub fn kubectl(&self, words: &[&str]) -> String {
        let output = self.run(words, "");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {words:?}: {error}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What kubectl complains about; it must fail.
    pub fn refused(&self, words: &[&str]) -> String {
        self.refused_input(words, "")
    }

    /// As [`Server::refused`], with `input` on its standard input.
    pub fn refused_input(&self, words: &[&str], input: &str) -> String {
        let output = self.run(words, input);
        assert!(!output.status.success(), "kubectl {words:?} should fail");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn run(&self, words: &[&str], input: &str) -> Output {
        let mut child = Command::new("kubectl")
            .args(words)
            .env("KUBECONFIG", self.kubeconfig())
            .env("HOME", self.directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl is in PATH; run the tests with `make test`");
        child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("written");
        child.wait_with_output().expect("ended")
    }

    /// Waits for `/readyz` by asking kubectl's own way; each try waits for an answer.
    fn wait_ready(&self) {
        let ready = || self.run(&["get", "--raw", "/readyz"], "").status.success();
        assert!((0..100).any(|_| ready()), "the server is not ready");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the process and waits until it says that it listens.
fn spawn(directory: &Path, port: u16) -> Child {
    let mut child = command(directory, port).stdout(Stdio::piped()).spawn().expect("gantry starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let said = lines.any(|line| line.is_ok_and(|line| line.starts_with("Use it with")));
    assert!(said, "gantry server ended before it listened");
    child
}

fn command(directory: &Path, port: u16) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gantry"));
    command
        .arg("server")
        .env("GANTRY_DATA_DIR", directory.join("data"))
        .env("GANTRY_CONFIG_DIR", directory.join("etc"))
        .env("GANTRY_HTTPS_PORT", port.to_string())
        .env("GANTRY_LOG_LEVEL", "error")
        .stdin(Stdio::null());
    command
}
