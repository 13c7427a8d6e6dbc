//! A gantry process with directories and ports of its own; all of it goes when this is dropped.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use gantry_testing::free_port;

use super::call::Call;
use super::http::Client;
use super::report::Row;
use super::user;

/// Time for start-up work to end before idle memory is read: 10 s after its start gantry gives back the
/// pages that only its start needed.
const SETTLE: Duration = Duration::from_secs(12);
/// Pause between two looks at a starting server: the resolution of the start-up time.
const LOOK: Duration = Duration::from_millis(1);
/// Longest start.
const START: Duration = Duration::from_secs(60);
/// Longest end.
const END: Duration = Duration::from_secs(30);
/// Ticks a second that the kernel counts time in for processes.
const TICKS: f64 = 100.0;
/// How much of a log an error shows, in bytes.
const LOG_SHOWN: usize = 2 << 10;

/// What is audited: every request, when it has been answered.
const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
";

/// The running process.
pub struct Cluster {
    gantry: PathBuf,
    verb: Vec<String>,
    directory: tempfile::TempDir,
    child: Child,
    port: u16,
    ready_after: Duration,
    /// Whether nothing is left of a node.
    is_reset: bool,
}

impl Cluster {
    /// Starts `gantry` with `verb` and waits until it is ready. `node`: whether it has one.
    pub async fn start(gantry: &Path, verb: &[&str], node: bool) -> Result<Self> {
        let gantry = gantry.canonicalize().with_context(|| gantry.display().to_string())?;
        let port = free_port()?;
        let directory = tempfile::tempdir()?;
        std::fs::write(directory.path().join("audit-policy.yaml"), AUDIT_POLICY)?;
        let mut verb: Vec<_> = verb.iter().map(|word| (*word).to_owned()).collect();
        if node {
            verb.extend(["--kubelet-port".into(), free_port()?.to_string()]);
        }
        let child = spawn(&gantry, &verb, directory.path(), port)?;
        let ready_after = Duration::ZERO;
        let mut cluster = Self { gantry, verb, directory, child, port, ready_after, is_reset: !node };
        cluster.wait_ready().await?;
        Ok(cluster)
    }

    /// A client of a user who is nothing special.
    pub async fn client(&self) -> Result<Client> {
        let admin = Client::from_kubeconfig(&self.kubeconfig())?;
        user::bind(&admin).await?;
        user::client(&admin, &self.directory.path().join("data/pki"))
    }

    /// Waits until start-up work has ended.
    pub async fn settle(&self) {
        tokio::time::sleep(SETTLE).await;
    }

    /// Resident memory of the process, in MB.
    pub fn memory_mb(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
        let kib: f64 = line.split_whitespace().nth(1).context("no figure")?.parse()?;
        Ok(kib * 1024.0 / 1e6)
    }

    /// How long the process's threads have worked, in user and system mode.
    pub fn cpu(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, fields) = stat.rsplit_once(") ").context("no process name")?;
        // Those after the process's name and state: proc_pid_stat(5).
        let ticks: Result<Vec<u64>, _> = fields.split(' ').skip(11).take(2).map(str::parse).collect();
        Ok(Duration::from_secs_f64(ticks?.iter().sum::<u64>() as f64 / TICKS))
    }

    /// The resident memory, as a line of the table.
    pub fn memory(&self, what: &str) -> Result<Row> {
        Ok(Row::new(what, self.memory_mb()?, "MB", "VmRSS, once"))
    }

    /// How long the last start took, from the process's start to `/readyz`.
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// The same, as a line of the table.
    pub fn start_row(&self, what: &str) -> Row {
        Row::seconds(what, self.ready_after, "once, from the process's start to /readyz")
    }

    /// Imports an image archive into the node.
    pub fn import_image(&self, archive: &str) -> Result<()> {
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
    pub fn stop(&mut self) -> Result<()> {
        let ended = self.end();
        if !self.is_reset {
            self.is_reset = true;
            let mut command = Command::new(&self.gantry);
            settings(&mut command, self.directory.path(), self.port);
            let status = command.args(["reset", "--yes"]).stdout(Stdio::null()).status()?;
            ensure!(status.success(), "gantry reset: {status}");
        }
        ended
    }

    fn end(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id())?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        let started = Instant::now();
        while started.elapsed() < END {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
        self.child.kill()?;
        let status = self.child.wait()?;
        bail!("gantry did not end within {END:?}: {status}{}", self.log())
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("{}", self.early(status));
            }
            if self.is_ready().await {
                self.ready_after = started.elapsed();
                return Ok(());
            }
            ensure!(started.elapsed() < START, "gantry is not ready after {START:?}{}", self.log());
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn is_ready(&self) -> bool {
        let ready = async {
            let client = Client::from_kubeconfig(&self.kubeconfig())?;
            client.connect().await?.exchange(&Call::get("/readyz").request(0)).await
        };
        self.kubeconfig().exists() && ready.await.is_ok()
    }

    fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("etc/kubeconfig.yaml")
    }

    fn early(&self, status: ExitStatus) -> String {
        format!("gantry ended with {status} before it was ready{}", self.log())
    }

    /// The end of the process's log, to follow an error.
    fn log(&self) -> String {
        let bytes = std::fs::read(self.directory.path().join("log")).unwrap_or_default();
        let end = &bytes[bytes.len().saturating_sub(LOG_SHOWN)..];
        if end.is_empty() {
            String::new()
        } else {
            format!("; its log ends:\n{}", String::from_utf8_lossy(end))
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("{error:#}");
        }
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
        .env("GANTRY_AUDIT_POLICY_FILE", directory.join("audit-policy.yaml"))
        .env("GANTRY_AUDIT_LOG_PATH", directory.join("audit.log"))
        .env("GANTRY_AUDIT_LOG_MAXBACKUP", "1")
        // Builds have filled the disk.
        .env("GANTRY_EVICTION_HARD", "memory.available<100Mi")
        .env("GANTRY_IMAGE_GC_HIGH_THRESHOLD", "100")
        .env("GANTRY_LOG_LEVEL", "warn");
}
