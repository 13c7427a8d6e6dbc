//! A netlink socket. It belongs to the network namespace of the thread that opened it, wherever it is
//! used later.

use std::io;

use nix::sys::socket::{setsockopt, sockopt};
use parking_lot::Mutex;

use super::message::{ACK, DUMP, Messages, Received, received};

const ERROR: u16 = 2;
const DONE: u16 = 3;
const RECEIVE_BUFFER: usize = 4 << 20;

/// An open netlink socket, used by one request at a time.
#[derive(Debug)]
pub struct Socket(Mutex<netlink_sys::Socket>);

impl Socket {
    /// A socket for routing: links, addresses, routes, neighbours.
    pub fn route() -> io::Result<Self> {
        Self::open(netlink_sys::protocols::NETLINK_ROUTE)
    }

    /// A socket for netfilter: nftables, connection tracking.
    pub fn netfilter() -> io::Result<Self> {
        Self::open(netlink_sys::protocols::NETLINK_NETFILTER)
    }

    fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = netlink_sys::Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.set_cap_ack(true)?;
        setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
        Ok(Self(Mutex::new(socket)))
    }

    /// Sends one request and waits for the kernel's yes or no.
    pub fn request(
        &self,
        kind: u16,
        flags: u16,
        fixed: &[u8],
        attributes: impl FnOnce(&mut super::message::Attributes<'_>),
    ) -> io::Result<()> {
        let mut messages = Messages::default();
        messages.push(kind, flags | ACK, fixed, attributes);
        self.exchange(&messages, |_| {})
    }

    /// Sends one request and hands its answers' bodies to `each`.
    pub fn ask(
        &self,
        kind: u16,
        flags: u16,
        fixed: &[u8],
        attributes: impl FnOnce(&mut super::message::Attributes<'_>),
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        let mut messages = Messages::default();
        let ack = if flags & DUMP == DUMP { 0 } else { ACK };
        messages.push(kind, flags | ack, fixed, attributes);
        self.exchange(&messages, |message| each(message.body))
    }

    /// Sends messages, of which the awaited one is to be acknowledged, in one piece. The first error that the
    /// kernel reports is returned, after everything it had to say was read.
    pub fn exchange(&self, messages: &Messages, mut each: impl FnMut(&Received<'_>)) -> io::Result<()> {
        let socket = self.0.lock();
        if messages.bytes().len() > 64 << 10 {
            setsockopt(&*socket, sockopt::SndBufForce, &(messages.bytes().len() * 2))?;
        }
        let address = netlink_sys::SocketAddr::new(0, 0);
        socket.send_to(messages.bytes(), &address, 0)?;
        let mut failure = None;
        loop {
            let (bytes, _) = socket.recv_from_full().inspect_err(|_| drain(&socket))?;
            for message in received(&bytes) {
                let last = message.sequence == messages.awaited();
                match message.kind {
                    ERROR | DONE => {
                        let code =
                            message.body.get(..4).map_or(0, |b| i32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
                        if code != 0 && failure.is_none() {
                            failure = Some(io::Error::from_raw_os_error(-code));
                        }
                        // A batch that fails as a whole is answered under its first message.
                        if last || (code != 0 && message.sequence == 1) {
                            drain(&socket);
                            return failure.map_or(Ok(()), Err);
                        }
                    }
                    _ => each(&message),
                }
            }
        }
    }
}

/// Reads away answers that nobody waits for.
fn drain(socket: &netlink_sys::Socket) {
    let mut buffer = Vec::with_capacity(64 << 10);
    while socket.recv(&mut buffer, libc::MSG_DONTWAIT).is_ok() {
        buffer.clear();
    }
}
