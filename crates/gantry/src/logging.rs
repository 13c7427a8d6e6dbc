//! Structured logs on standard error.

use std::io::IsTerminal;

use anyhow::{Context, Result};
use tracing_subscriber::EnvFilter;

/// Libraries whose own chatter says nothing to an operator; a filter given by hand comes later and wins.
const QUIET: &str = "fjall=warn,lsm_tree=warn,kube_runtime=error,hickory_server=warn";

/// Starts logging with `filter`, as JSON lines where `json`.
pub fn start(filter: &str, json: bool) -> Result<()> {
    let all = format!("{QUIET},{filter}");
    let filter = EnvFilter::try_new(all).with_context(|| format!("log-level: {filter:?} is no filter"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    if json {
        builder.json().init()
    } else {
        builder.init()
    }
    Ok(())
}
