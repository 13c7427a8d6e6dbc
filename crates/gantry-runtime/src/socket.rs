//! Unix sockets in directories of any depth: a socket's address holds 107 bytes of path only, so the
//! directory is named by a descriptor of it.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Listens on `name` in `dir`.
pub fn bind(dir: &Path, name: &str) -> io::Result<UnixListener> {
    let dir = File::open(dir)?;
    UnixListener::bind(short(&dir, name))
}

/// Connects to `name` in `dir`.
pub fn connect(dir: &Path, name: &str) -> io::Result<UnixStream> {
    let dir = File::open(dir)?;
    UnixStream::connect(short(&dir, name))
}

fn short(dir: &File, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_is_no_hindrance() {
        let directory = tempfile::tempdir().expect("a directory");
        let deep = directory.path().join("d".repeat(200));
        std::fs::create_dir(&deep).expect("made");
        let _listener = bind(&deep, "a.sock").expect("bound");
        assert!(deep.join("a.sock").exists());
        connect(&deep, "a.sock").expect("connected");
    }
}
