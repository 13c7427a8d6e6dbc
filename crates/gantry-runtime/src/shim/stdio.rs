//! The standard streams of a container: from its pipes or its terminal to the log and to whoever is
//! attached, and from them to its standard input. A slow client holds the container back once its
//! buffer is full, as a pipe would.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    unistd,
};

use super::logs::{Log, Stream};

/// How much may wait for a client before the container is held back.
const HIGH_WATER: usize = 64 * 1024;

/// Makes a descriptor non-blocking.
pub fn set_nonblocking(fd: &OwnedFd) -> io::Result<()> {
    let flags = OFlag::from_bits_truncate(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// A descriptor that bytes are waiting to be written to.
#[derive(Debug)]
pub struct Sink {
    fd: OwnedFd,
    waiting: Vec<u8>,
}

impl Sink {
    /// Writes to `fd`.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        set_nonblocking(&fd)?;
        Ok(Self { fd, waiting: Vec::new() })
    }

    /// Takes bytes and writes what it can. An error means the other side is gone.
    pub fn push(&mut self, bytes: &[u8]) -> nix::Result<()> {
        self.waiting.extend_from_slice(bytes);
        self.flush()
    }

    /// Writes what it can.
    pub fn flush(&mut self) -> nix::Result<()> {
        while !self.waiting.is_empty() {
            match unistd::write(&self.fd, &self.waiting) {
                Ok(written) => drop(self.waiting.drain(..written)),
                Err(Errno::EAGAIN | Errno::EINTR) => break,
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Whether bytes wait.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether it takes no more for now.
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= HIGH_WATER
    }

    /// The descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// One attached client.
#[derive(Debug)]
pub struct Client {
    /// Its input, until it ends.
    pub stdin: Option<OwnedFd>,
    /// Where standard output goes.
    pub stdout: Option<Sink>,
    /// Where standard error goes.
    pub stderr: Option<Sink>,
}

/// One output stream of the container.
#[derive(Debug)]
pub struct Source {
    /// What is read.
    pub fd: OwnedFd,
    /// Which stream it is.
    pub stream: Stream,
    /// The line not yet complete.
    pending: Vec<u8>,
}

impl Source {
    /// Reads from `fd`.
    pub fn new(fd: OwnedFd, stream: Stream) -> io::Result<Self> {
        set_nonblocking(&fd)?;
        Ok(Self { fd, stream, pending: Vec::new() })
    }
}

/// All streams of one container.
#[derive(Debug)]
pub struct Streams {
    /// Output streams that have not ended.
    pub sources: Vec<Source>,
    /// Indexes of sources that have ended in this round.
    pub ended: Vec<usize>,
    /// The container's input, if it is open.
    pub input: Option<Sink>,
    /// The log.
    pub log: Log,
    /// Who is attached.
    pub clients: Vec<Client>,
    /// The input ends with the first client's.
    pub close_input_after_client: bool,
}

impl Streams {
    /// Whether output may be read now.
    pub fn may_read(&self) -> bool {
        let full = |sink: &Option<Sink>| sink.as_ref().is_some_and(Sink::is_full);
        !self.clients.iter().any(|c| full(&c.stdout) || full(&c.stderr))
    }

    /// Reads once from source `index`; `false` when it has ended.
    pub fn read(&mut self, index: usize, now: &str) -> bool {
        let mut buffer = [0; 32 * 1024];
        let source = &mut self.sources[index];
        match unistd::read(&source.fd, &mut buffer) {
            Ok(0) => {
                self.log.finish(source.stream, &mut source.pending, now);
                false
            }
            Ok(length) => {
                let bytes = &buffer[..length];
                self.log.write(source.stream, &mut source.pending, bytes, now);
                let stream = source.stream;
                for client in &mut self.clients {
                    let sink = match stream {
                        Stream::Stdout => &mut client.stdout,
                        Stream::Stderr => &mut client.stderr,
                    };
                    if sink.as_mut().is_some_and(|s| s.push(bytes).is_err()) {
                        *sink = None;
                    }
                }
                true
            }
            Err(Errno::EAGAIN | Errno::EINTR) => true,
            // A terminal whose other end is closed.
            Err(_) => {
                self.log.finish(source.stream, &mut source.pending, now);
                false
            }
        }
    }

    /// Reads everything that is there, without waiting for more, and ends the streams.
    pub fn drain(&mut self, now: &str) {
        for index in 0..self.sources.len() {
            let mut rounds = 0;
            loop {
                let fd = self.sources[index].fd.as_fd();
                let mut poll = [nix::poll::PollFd::new(fd, nix::poll::PollFlags::POLLIN)];
                let ready = nix::poll::poll(&mut poll, nix::poll::PollTimeout::ZERO).unwrap_or(0);
                rounds += 1;
                if ready == 0 || rounds > 4096 || !self.read(index, now) {
                    break;
                }
            }
            let source = &mut self.sources[index];
            self.log.finish(source.stream, &mut source.pending, now);
        }
        self.sources.clear();
        self.ended.clear();
        self.input = None;
    }

    /// Takes input from client `index`.
    pub fn read_client(&mut self, index: usize) {
        let mut buffer = [0; 32 * 1024];
        let Some(stdin) = &self.clients[index].stdin else { return };
        match unistd::read(stdin, &mut buffer) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Ok(length) if length > 0 => {
                if self.input.as_mut().is_some_and(|input| input.push(&buffer[..length]).is_err()) {
                    self.input = None;
                }
            }
            _ => {
                self.clients[index].stdin = None;
                if self.close_input_after_client {
                    self.input = None;
                }
            }
        }
    }

    /// Writes what waits for clients and the container.
    pub fn flush(&mut self) {
        for client in &mut self.clients {
            for sink in [&mut client.stdout, &mut client.stderr] {
                if sink.as_mut().is_some_and(|s| s.flush().is_err()) {
                    *sink = None;
                }
            }
        }
        if self.input.as_mut().is_some_and(|input| input.flush().is_err()) {
            self.input = None;
        }
    }

    /// Drops what has ended; indexes change, so this is for after a round of events.
    pub fn forget_ended(&mut self) {
        self.ended.sort_unstable();
        self.ended.dedup();
        for index in std::mem::take(&mut self.ended).into_iter().rev() {
            self.sources.remove(index);
        }
        self.clients.retain(|c| c.stdin.is_some() || c.stdout.is_some() || c.stderr.is_some());
    }
}
