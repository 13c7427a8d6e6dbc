//! Structured logs on standard error.

use std::io::IsTerminal;
use std::sync::OnceLock;

use anyhow::{Context, Result};
use tracing_subscriber::EnvFilter;

/// Libraries whose own chatter says nothing to an operator; a filter given by hand comes later and wins.
const QUIET: &str = "fjall=warn,lsm_tree=warn,kube_runtime=error,hickory_server=warn";

/// Changes the filter of the logs of this process.
static CHANGE: OnceLock<Box<dyn Fn(i32) + Send + Sync>> = OnceLock::new();

/// Starts logging with `filter`, as JSON lines where `json`.
pub fn start(filter: &str, json: bool) -> Result<()> {
    let first =
        EnvFilter::try_new(all(filter)).with_context(|| format!("log-level: {filter:?} is no filter"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(first)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    macro_rules! start {
        ($builder:expr) => {{
            let builder = $builder.with_filter_reloading();
            let (handle, given) = (builder.reload_handle(), filter.to_owned());
            let change = move |verbosity: i32| {
                let filter = of_verbosity(verbosity).unwrap_or(&given);
                // Without the logs there is nobody to tell that there are none.
                let _ = handle.reload(EnvFilter::new(all(filter)));
            };
            // The first one stays, as the logs do.
            let _ = CHANGE.set(Box::new(change));
            builder.init()
        }};
    }
    if json {
        start!(builder.json())
    } else {
        start!(builder)
    }
    Ok(())
}

/// Logs as much as upstream does with `-v`.
pub fn set_verbosity(verbosity: i32) {
    if let Some(change) = CHANGE.get() {
        change(verbosity);
    }
}

fn all(filter: &str) -> String {
    format!("{QUIET},{filter}")
}

/// The filter that comes nearest to a number of `-v`; `None`: the one that was configured.
fn of_verbosity(verbosity: i32) -> Option<&'static str> {
    match verbosity {
        ..4 => None,
        4 | 5 => Some("debug"),
        6.. => Some("trace"),
    }
}
