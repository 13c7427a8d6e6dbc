//! A gantry process with directories and ports of its own, ended when dropped.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::http::Client;

/// Time for start-up work to end before idle memory is read: 10 s after its start gantry gives back the
/// pages that only its start needed.
const SETTLE: Duration = Duration::from_secs(12);
/// Pause between two looks at a starting server: the resolution of the start-up time.
const LOOK: Duration = Duration::from_millis(1);

/// The running process.
pub struct Cluster {
    gantry: PathBuf,
    verb: Vec<String>,
    directory: tempfile::TempDir,
    child: Child,
    port: u16,
    /// From process start to `/readyz`.
    pub ready_after: Duration,
}

impl Cluster {
    /// Starts `gantry` with `verb` and waits until it is ready. `node`: whether it has one.
    pub async fn start(gantry: &Path, verb: &[&str], node: bool) -> Result<Self> {
        let port = free_port()?;
        let directory = tempfile::tempdir()?;
        let mut verb: Vec<_> = verb.iter().map(|word| (*word).to_owned()).collect();
        if node {
            verb.extend(["--kubelet-port".into(), free_port()?.to_string()]);
        }
        let child = spawn(gantry, &verb, directory.path(), port)?;
        let mut cluster =
            Self { gantry: gantry.to_owned(), verb, directory, child, port, ready_after: Duration::ZERO };
        cluster.wait_ready().await?;
        Ok(cluster)
    }

    /// A client with the administrator's certificate.
    pub fn client(&self) -> Result<Client> {
        Client::from_kubeconfig(&self.directory.path().join("etc/kubeconfig.yaml"))
    }

    /// Waits until start-up work has ended.
    pub async fn settle(&self) {
        tokio::time::sleep(SETTLE).await;
    }

    /// Resident memory of the process.
    pub fn rss_mib(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
        let kib: f64 = line.split_whitespace().nth(1).context("no figure")?.parse()?;
        Ok(kib / 1024.0)
    }

    /// Imports an image archive into the node.
    pub async fn import_image(&self, archive: &str) -> Result<()> {
        let mut command = Command::new(&self.gantry);
        settings(&mut command, self.directory.path(), self.port);
        let status = command.args(["image", "import", archive]).stdout(Stdio::null()).status()?;
        ensure!(status.success(), "gantry image import {archive}: {status}");
        Ok(())
    }

    /// Ends the process and starts it again on the same data.
    pub async fn restart(&mut self) -> Result<()> {
        self.end()?;
        self.child = spawn(&self.gantry, &self.verb, self.directory.path(), self.port)?;
        self.wait_ready().await
    }

    /// Ends the process, and what a node left.
    pub async fn stop(&mut self) -> Result<()> {
        self.end()?;
        if self.verb.first().is_some_and(|verb| verb == "up") {
            let mut command = Command::new(&self.gantry);
            settings(&mut command, self.directory.path(), self.port);
            let status = command.args(["reset", "--yes"]).stdout(Stdio::null()).status()?;
            ensure!(status.success(), "gantry reset: {status}");
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id())?);
        if self.child.try_wait()?.is_none() {
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        }
        self.child.wait()?;
        Ok(())
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let started = Instant::now();
        let kubeconfig = self.directory.path().join("etc/kubeconfig.yaml");
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("gantry ended with {status} before it was ready");
            }
            if kubeconfig.exists()
                && let Ok(client) = Client::from_kubeconfig(&kubeconfig)
                && let Ok(mut connection) = client.connect().await
                && let Ok((status, _)) = connection.get("/readyz").await
                && status.is_success()
            {
                self.ready_after = started.elapsed();
                return Ok(());
            }
            ensure!(started.elapsed() < Duration::from_secs(60), "gantry is not ready after 60 s");
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

fn spawn(gantry: &Path, verb: &[String], directory: &Path, port: u16) -> Result<Child> {
    let mut command = Command::new(gantry);
    settings(&mut command, directory, port);
    let log = std::fs::OpenOptions::new().create(true).append(true).open(directory.join("log"))?;
    command.args(verb).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().with_context(|| format!("starting {}", gantry.display()))
}

fn settings(command: &mut Command, directory: &Path, port: u16) {
    command
        .env("GANTRY_DATA_DIR", directory.join("data"))
        .env("GANTRY_CONFIG_DIR", directory.join("etc"))
        .env("GANTRY_RUN_DIR", directory.join("run"))
        .env("GANTRY_HTTPS_PORT", port.to_string())
        .env("GANTRY_LOG_LEVEL", "warn");
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
