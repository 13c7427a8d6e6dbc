//! Which gantry process runs on a run directory: one at a time.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The claim of this process on a run directory, until dropped.
pub struct Instance {
    _lock: Flock<File>,
}

impl Instance {
    /// Claims `run_dir`; fails where another process has it.
    pub fn claim(run_dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(run_dir).with_context(|| format!("creating {}", run_dir.display()))?;
        let file = open(run_dir)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut lock) => {
                lock.set_len(0)?;
                lock.rewind()?;
                writeln!(lock, "{}", std::process::id())?;
                Ok(Self { _lock: lock })
            }
            Err((file, _)) => {
                let pid = read(file).map_or_else(String::new, |pid| format!(" (process {pid})"));
                bail!("gantry is running already{pid} with {}; choose another --run-dir", run_dir.display())
            }
        }
    }

    /// Asks the process that has `run_dir`, if any, to end, and waits until it has. Pods go on.
    pub fn end(run_dir: &Path) -> Result<()> {
        if !run_dir.join(FILE).exists() {
            return Ok(());
        }
        let Err((file, _)) = Flock::lock(open(run_dir)?, FlockArg::LockExclusiveNonblock) else {
            return Ok(());
        };
        let Some(pid) = read(file) else { bail!("{} is held by an unknown process", run_dir.display()) };
        kill(Pid::from_raw(pid), Signal::SIGTERM).with_context(|| format!("ending process {pid}"))?;
        // The lock is free when the process is gone.
        Flock::lock(open(run_dir)?, FlockArg::LockExclusive)
            .map_err(|(_, error)| error)
            .with_context(|| format!("waiting for process {pid} to end"))?;
        Ok(())
    }
}

const FILE: &str = "gantry.pid";

fn open(run_dir: &Path) -> Result<File> {
    let path = run_dir.join(FILE);
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))
}

fn read(mut file: File) -> Option<i32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_has_a_directory() {
        let directory = tempfile::tempdir().expect("a directory");
        let first = Instance::claim(directory.path()).expect("free");
        let refused = Instance::claim(directory.path()).err().expect("taken").to_string();
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        drop(first);
        Instance::claim(directory.path()).expect("free again");
        Instance::end(directory.path()).expect("nothing to end");
    }
}
