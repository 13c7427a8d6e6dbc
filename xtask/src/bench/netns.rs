//! Measurements in a network namespace of their own: they change addresses, routes and packet filters.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, unshare};

/// The address of a machine in the namespace, on its loopback device.
pub const ADDRESS: &str = "192.0.2.1";

/// Runs `work` in a new namespace, on threads that have left this one. Processes that it starts are there
/// too.
pub fn run<T: Send>(work: impl AsyncFnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("a network namespace needs root")?;
            ip(&["link", "set", "lo", "up"])?;
            ip(&["address", "add", &format!("{ADDRESS}/32"), "dev", "lo"])?;
            tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work())
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn ip(words: &[&str]) -> Result<()> {
    let status = Command::new("ip").args(words).status().context("running ip")?;
    ensure!(status.success(), "ip {}: {status}", words.join(" "));
    Ok(())
}
