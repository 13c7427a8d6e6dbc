//! The socket by which the next process takes over, in the run directory.
//!
//! Whoever connects is sent the DNS sockets with one byte, and may say one byte in turn: that a
//! successor reads them now, or that it is to end at once. This is all that two versions of the program
//! have to agree on. Only the user who started the process can connect.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::Event;
use crate::sockets::Sockets;
use crate::sys;

const SOCKET: &str = "dns.sock";
/// The socket before it is in place.
const NEXT_SOCKET: &str = "dns.sock.next";
/// How long a living process may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a process can be told to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Order {
    /// Answer what has been read, then end: another process reads now.
    Finish,
    /// End at once.
    End,
}

const FINISH: u8 = b'f';
const END: u8 = b'e';

/// A connection to the process in `run_dir`, and its sockets; `None` where there is no process.
pub(crate) fn connect(run_dir: &Path) -> io::Result<Option<(UnixStream, Sockets)>> {
    let connected = File::open(run_dir).and_then(|dir| UnixStream::connect(within(&dir, SOCKET)));
    let stream = match connected {
        Ok(stream) => stream,
        // Never started, or dead: after a crash or with the machine.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    match sys::receive(stream.as_fd(), &mut [0]) {
        Ok((1, descriptors)) => Ok(Some((stream, Sockets::from_descriptors(descriptors)?))),
        // It has ended while we asked.
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
        Err(error) => Err(error),
    }
}

/// Ends a process and returns when it has.
pub(crate) fn end(mut process: UnixStream) -> io::Result<()> {
    match process.write_all(&[END]).and_then(|()| process.read_to_end(&mut Vec::new())) {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Puts our socket in the place of an earlier one, and greets whoever connects.
pub(crate) fn listen(
    run_dir: &Path,
    sockets: Arc<Sockets>,
    events: mpsc::Sender<Event>,
) -> io::Result<impl Future<Output = ()> + use<>> {
    let dir = File::open(run_dir)?;
    let (next, place) = (within(&dir, NEXT_SOCKET), within(&dir, SOCKET));
    // What a process left that ended between the two steps.
    let _ = fs::remove_file(&next);
    let listener = tokio::net::UnixListener::bind(&next)?;
    fs::set_permissions(&next, Permissions::from_mode(0o600))?;
    fs::rename(&next, &place)?;
    Ok(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if sys::send(stream.as_fd(), &[0], &sockets.descriptors()).is_ok() {
                tokio::spawn(obey(stream, events.clone()));
            }
        }
    })
}

/// Passes on what somebody says who has connected.
async fn obey(mut stream: tokio::net::UnixStream, events: mpsc::Sender<Event>) {
    while let Ok(byte) = stream.read_u8().await {
        let order = match byte {
            FINISH => Order::Finish,
            END => Order::End,
            _ => continue,
        };
        if events.send(Event::Order(order)).await.is_err() {
            return;
        }
    }
}

/// The process of an earlier start, until it has ended.
pub(crate) struct Predecessor(tokio::net::UnixStream);

impl Predecessor {
    pub(crate) fn new(process: UnixStream) -> io::Result<Self> {
        process.set_nonblocking(true)?;
        Ok(Self(tokio::net::UnixStream::from_std(process)?))
    }

    /// Has it finish.
    pub(crate) async fn finish(&mut self) {
        // One that has ended has finished.
        let _ = self.0.write_all(&[FINISH]).await;
    }

    /// Ends it at once, should it still be there.
    pub(crate) async fn end(&mut self) {
        if self.0.write_all(&[END]).await.is_ok() {
            let _ = tokio::time::timeout(PATIENCE, self.ended()).await;
        }
    }

    /// Returns when it has ended.
    pub(crate) async fn ended(&mut self) {
        let _ = self.0.read_u8().await;
    }
}

/// A path that is short wherever the directory is: a socket's address holds 107 bytes only.
fn within(dir: &File, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()))
}
