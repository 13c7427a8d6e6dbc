//! Ports for servers of other processes, which have to be told one.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::atomic::{AtomicU16, Ordering};

/// Neither where the kernel takes the ports of outgoing connections from, one of which could have it before the
/// server does, nor those of Services.
const PORTS: Range<u16> = 20_000..30_000;
/// How far apart processes begin that were started one after another.
const APART: u32 = 64;

/// A TCP port that nobody listens on, and that this process is not told again soon. Fails where all are taken.
pub fn free_port() -> io::Result<u16> {
    static TOLD: AtomicU16 = AtomicU16::new(0);
    let count = PORTS.end - PORTS.start;
    let begin = (std::process::id().wrapping_mul(APART) % u32::from(count)) as u16;
    for _ in 0..count {
        let told = TOLD.fetch_add(1, Ordering::Relaxed) % count;
        let port = PORTS.start + (begin + told) % count;
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_not_told() {
        let first = free_port().unwrap();
        // Ours now, or somebody else's before.
        let _taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, first + 1));
        let second = free_port().unwrap();
        assert!(PORTS.contains(&second) && second != first && second != first + 1, "{first}, {second}");
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, second)).unwrap();
    }
}
