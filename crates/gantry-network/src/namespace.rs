//! Work inside a pod's network namespace.

use std::{fs::File, path::Path, thread};

use nix::sched::{CloneFlags, setns};

use crate::error::{During, NetworkError, Result};

/// Runs `work` in a thread of its own that has entered the network namespace `file` is open on. The
/// caller's thread keeps its namespace, and the other one ends with the work.
pub fn within<R: Send>(file: &File, name: &Path, work: impl FnOnce() -> Result<R> + Send) -> Result<R> {
    let enter = || {
        setns(file, CloneFlags::CLONE_NEWNET)
            .map_err(Into::into)
            .during(|| format!("entering network namespace {}", name.display()))?;
        work()
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("pod-network".into()).spawn_scoped(scope, enter);
        let thread = thread.during(|| "starting a thread for a pod's network".into())?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Opens a namespace file.
pub fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|source| NetworkError::File { path: path.to_owned(), source })
}
