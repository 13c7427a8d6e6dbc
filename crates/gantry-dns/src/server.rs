//! The sockets.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gantry_client::Informers;
use hickory_server::Server;
use parking_lot::RwLock;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::feed::feed;
use crate::forward::Forwarder;
use crate::handler::Handler;
use crate::{DnsConfig, DnsError, Index};

/// How long a TCP connection may be silent.
const TCP_SILENCE: Duration = Duration::from_secs(10);
/// Answers that wait to be written on one TCP connection.
const TCP_ANSWERS: usize = 32;
/// How often another free port is tried where UDP's is taken for TCP.
const PORT_TRIES: usize = 16;

/// Cluster DNS with its sockets bound. From here on no question is lost; they are answered once
/// [`Dns::serve`] runs.
pub struct Dns {
    config: DnsConfig,
    index: Index,
    sockets: Vec<(UdpSocket, TcpListener)>,
    addresses: Vec<SocketAddr>,
    synced: watch::Sender<bool>,
}

/// Tells when DNS knows the cluster. Before that, names of the cluster are answered with SERVFAIL.
#[derive(Clone, Debug)]
pub struct Readiness(watch::Receiver<bool>);

impl Readiness {
    /// Whether it answers now.
    pub fn is_ready(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns true as soon as it answers, false if it ends before.
    pub async fn ready(&mut self) -> bool {
        self.0.wait_for(|ready| *ready).await.is_ok()
    }
}

impl Dns {
    /// Binds every address of `config`.
    pub async fn bind(config: DnsConfig) -> Result<Self, DnsError> {
        let index = Index::new(&config.domain)?;
        let (mut sockets, mut addresses) = (Vec::new(), Vec::new());
        for address in &config.listen {
            let listen = |source| DnsError::Listen { address: *address, source };
            let (udp, tcp) = pair(*address).await.map_err(listen)?;
            addresses.push(udp.local_addr().map_err(listen)?);
            sockets.push((udp, tcp));
        }
        Ok(Self { config, index, sockets, addresses, synced: watch::Sender::new(false) })
    }

    /// Where it listens, in the order of the configuration.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Tells when it answers.
    pub fn readiness(&self) -> Readiness {
        Readiness(self.synced.subscribe())
    }

    /// Answers until `shutdown`, knowing the cluster from `informers`.
    pub async fn serve(self, informers: &Informers, shutdown: CancellationToken) -> Result<(), DnsError> {
        let Self { config, index, sockets, addresses, synced } = self;
        let index = Arc::new(RwLock::new(index));
        let forwarder = Forwarder::new(config.upstreams, &addresses, &config.own_addresses);
        let mut server = Server::new(Handler { index: index.clone(), synced: synced.subscribe(), forwarder });
        for (udp, tcp) in sockets {
            server.register_socket(udp);
            server.register_listener(tcp, TCP_SILENCE, TCP_ANSWERS);
        }
        tracing::info!(?addresses, domain = config.domain, "serving DNS");
        let feeding = async {
            feed(informers, index, synced).await;
            // The informers have ended; what is known still answers until the shutdown.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = feeding => {}
            failed = server.block_until_done() => return Ok(failed?),
        }
        Ok(server.shutdown_gracefully().await?)
    }
}

/// A UDP and a TCP socket on the same port.
async fn pair(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut tries = 0;
    loop {
        let udp = UdpSocket::bind(address).await?;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse && address.port() == 0 && tries < PORT_TRIES =>
            {
                tries += 1;
            }
            Err(error) => return Err(error),
        }
    }
}
