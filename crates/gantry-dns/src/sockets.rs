//! The sockets that questions come to. They stay open while the process that answers changes, so that
//! the kernel keeps what nobody has read yet.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use crate::DnsError;

/// How often another free port is tried where UDP's is taken for TCP.
const PORT_TRIES: usize = 16;

/// A UDP and a TCP socket on each address.
#[derive(Debug, Default)]
pub(crate) struct Sockets(Vec<Pair>);

#[derive(Debug)]
struct Pair {
    address: SocketAddr,
    udp: UdpSocket,
    tcp: TcpListener,
}

impl Sockets {
    /// Sockets on `addresses`, those of `known` where they fit. Port 0 fits every port.
    pub(crate) fn bind(addresses: &[SocketAddr], known: Self) -> Result<Self, DnsError> {
        let (mut known, mut bound) = (known.0, Vec::new());
        for address in addresses {
            let fits = |at: &Pair| {
                at.address.ip() == address.ip() && [0, at.address.port()].contains(&address.port())
            };
            let pair = match known.iter().position(fits) {
                Some(position) => known.swap_remove(position),
                None => {
                    Pair::bind(*address).map_err(|source| DnsError::Listen { address: *address, source })?
                }
            };
            bound.push(pair);
        }
        Ok(Self(bound))
    }

    /// The sockets that [`Sockets::descriptors`] were taken of.
    pub(crate) fn from_descriptors(descriptors: Vec<OwnedFd>) -> io::Result<Self> {
        let (mut pairs, mut descriptors) = (Vec::new(), descriptors.into_iter());
        while let (Some(udp), Some(tcp)) = (descriptors.next(), descriptors.next()) {
            let udp = UdpSocket::from(udp);
            pairs.push(Pair { address: udp.local_addr()?, udp, tcp: TcpListener::from(tcp) });
        }
        Ok(Self(pairs))
    }

    /// What to send so that another process has the same sockets.
    pub(crate) fn descriptors(&self) -> Vec<RawFd> {
        self.0.iter().flat_map(|pair| [pair.udp.as_raw_fd(), pair.tcp.as_raw_fd()]).collect()
    }

    /// Where they listen.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().map(|pair| pair.address).collect()
    }

    /// The same sockets, for this process's event loop.
    pub(crate) fn listen(&self) -> io::Result<Vec<(tokio::net::UdpSocket, tokio::net::TcpListener)>> {
        let listen = |pair: &Pair| {
            Ok((
                tokio::net::UdpSocket::from_std(pair.udp.try_clone()?)?,
                tokio::net::TcpListener::from_std(pair.tcp.try_clone()?)?,
            ))
        };
        self.0.iter().map(listen).collect()
    }
}

impl Pair {
    fn bind(address: SocketAddr) -> io::Result<Self> {
        let mut tries = 0;
        loop {
            let udp = UdpSocket::bind(address)?;
            let bound = udp.local_addr()?;
            match TcpListener::bind(bound) {
                Ok(tcp) => {
                    udp.set_nonblocking(true)?;
                    tcp.set_nonblocking(true)?;
                    return Ok(Self { address: bound, udp, tcp });
                }
                Err(error)
                    if error.kind() == io::ErrorKind::AddrInUse
                        && address.port() == 0
                        && tries < PORT_TRIES =>
                {
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
}
