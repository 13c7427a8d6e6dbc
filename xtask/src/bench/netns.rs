//! Measurements in a network namespace of their own: they change addresses, routes and packet filters.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, unshare};

/// The address of a machine in the namespace, on its loopback device.
pub const ADDRESS: &str = "192.0.2.1";

/// An error where there can be no such namespace.
pub fn check() -> Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "a network namespace needs root");
    let version = Command::new("ip").arg("-V").stdout(Stdio::null()).status();
    ensure!(version.is_ok_and(|status| status.success()), "the program ip is missing: make tools");
    Ok(())
}

/// Runs `work` in a new namespace, on threads that have left this one. Processes that it starts are there
/// too.
pub fn run<T: Send>(work: impl AsyncFnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("a network namespace needs root")?;
            ip(&["link", "set", "lo", "up"])?;
            ip(&["address", "add", &format!("{ADDRESS}/32"), "dev", "lo"])?;
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(super::unless_interrupted(work()))
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn ip(words: &[&str]) -> Result<()> {
    let status = Command::new("ip").args(words).status().context("running ip")?;
    ensure!(status.success(), "ip {}: {status}", words.join(" "));
    Ok(())
}
