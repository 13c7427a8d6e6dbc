//! Kernel parameters of the network namespace of the calling thread.

use std::{fs, path::Path};

use crate::error::{NetworkError, Result};

/// Sets `name`, written with slashes, unless it has this value already; so a file system that is
/// read-only does no harm where nothing is to be changed.
pub fn set(name: &str, value: &str) -> Result<()> {
    let path = Path::new("/proc/sys").join(name);
    let failed = |source| NetworkError::File { path: path.clone(), source };
    if fs::read_to_string(&path).map_err(failed)?.trim() == value {
        return Ok(());
    }
    fs::write(&path, value).map_err(failed)
}

/// Connections that are remembered for each processor, and at least.
const CONNECTIONS: (usize, usize) = (32_768, 131_072);
/// How long connections are remembered that are open but silent, and that one end has closed. Forgotten
/// ones are cut, and the second figure is one minute if nobody changes it.
const TIMEOUTS: [(&str, u64); 2] = [("established", 24 * 60 * 60), ("close_wait", 60 * 60)];

/// Makes room for the connections of a node's pods, each of which the kernel remembers, and sets how
/// long, as clusters are used to. In a network namespace that is not the machine's own not all of it
/// can be set, so a failure is not one.
pub fn connection_tracking() {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let wanted = (processors * CONNECTIONS.0).max(CONNECTIONS.1);
    let name = "net/netfilter/nf_conntrack_max";
    let current = fs::read_to_string(Path::new("/proc/sys").join(name)).ok();
    let less = current.and_then(|text| text.trim().parse::<usize>().ok()).is_some_and(|n| n < wanted);
    let room = if less { set(name, &wanted.to_string()) } else { Ok(()) };
    let timeouts = TIMEOUTS.map(|(state, seconds)| {
        set(&format!("net/netfilter/nf_conntrack_tcp_timeout_{state}"), &seconds.to_string())
    });
    for error in [room].into_iter().chain(timeouts).filter_map(Result::err) {
        tracing::debug!(%error, "connection tracking stays as it is");
    }
}
