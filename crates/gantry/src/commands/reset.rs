//! `gantry reset`: leaves the machine as it was before gantry ran on it.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use gantry_runtime::{NoNetwork, Runtime};

use crate::config::Config;
use crate::instance::Instance;
use crate::{node, output};

/// How to reset.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// Ends gantry, stops every container and removes what was made.
pub fn run(config: &Config, arguments: &Arguments) -> Result<()> {
    if !arguments.yes && !confirmed(config)? {
        bail!("not confirmed; nothing was changed");
    }
    Instance::end(&config.run_dir)?;
    gantry_dns::end(&config.run_dir)?;
    let runtime = node::runtime_config(config, Arc::new(NoNetwork));
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async { Runtime::cleanup(&runtime).await.context("stopping the containers") })?;
    node::remove_network(config)?;
    unmount_below(&config.data_dir)?;
    for directory in [&config.data_dir, &config.run_dir, &config.pod_logs_dir] {
        remove(directory)?;
    }
    remove_file(&config.kubeconfig())?;
    output::tell(format_args!("Removed all containers and all data of gantry."));
    Ok(())
}

fn confirmed(config: &Config) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("reset removes all data; say --yes where there is no terminal to ask on");
    }
    print!("Stop every container and remove all data in {}? [y/N] ", config.data_dir.display());
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Unmounts the volumes that pods left, inner mounts first.
fn unmount_below(directory: &Path) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("reading the mounts")?;
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new);
    let mut points: Vec<_> = points.filter(|point| point.starts_with(directory)).collect();
    points.reverse();
    for point in points {
        nix::mount::umount2(point, nix::mount::MntFlags::MNT_DETACH)
            .with_context(|| format!("unmounting {}", point.display()))?;
    }
    Ok(())
}

fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", directory.display()))
        }
        _ => Ok(()),
    }
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}
