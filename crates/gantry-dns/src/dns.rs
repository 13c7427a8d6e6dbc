//! The agent's side: starts the process that answers, and tells it what exists.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

use gantry_client::Informers;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::feed::feed;
use crate::process::{Start, takeover};
use crate::sockets::Sockets;
use crate::{DnsConfig, DnsError, Index, sys, update};

/// A process that ended sooner than this after its start may do so again.
const STEADY: Duration = Duration::from_secs(10);
/// How long to wait before starting another one then.
const PAUSE: Duration = Duration::from_secs(1);

/// Cluster DNS with its sockets bound. From here on no question is lost; they are answered once
/// [`Dns::serve`] runs, or by the process of an earlier start until then.
pub struct Dns {
    config: DnsConfig,
    sockets: Sockets,
    addresses: Vec<SocketAddr>,
    known: watch::Sender<bool>,
}

/// Tells when DNS knows the cluster. Before that, names of the cluster are answered with SERVFAIL,
/// unless the process of an earlier start still answers.
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
    /// Binds every address of `config`, or takes the sockets of the process of an earlier start.
    pub fn bind(config: DnsConfig) -> Result<Self, DnsError> {
        Index::new(&config.domain)?;
        let earlier = takeover::connect(&config.run_dir)
            .map_err(|source| DnsError::Process { run_dir: config.run_dir.clone(), source })?;
        let sockets = earlier.map(|(_, sockets)| sockets).unwrap_or_default();
        let sockets = Sockets::bind(&config.listen, sockets)?;
        let addresses = sockets.addresses();
        Ok(Self { config, sockets, addresses, known: watch::Sender::new(false) })
    }

    /// Where it listens, in the order of the configuration.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Tells when it answers.
    pub fn readiness(&self) -> Readiness {
        Readiness(self.known.subscribe())
    }

    /// Keeps a process that answers, knowing the cluster from `informers`. Returns at `shutdown`; the
    /// process goes on.
    pub async fn serve(self, informers: &Informers, shutdown: CancellationToken) {
        let kept = async {
            loop {
                let since = Instant::now();
                let ended = self.process(informers).await;
                self.known.send_replace(false);
                tracing::error!(%ended, "the DNS process has ended, another one is started");
                if since.elapsed() < STEADY {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = kept => {}
        }
    }

    /// Runs one process; returns why it ended.
    async fn process(&self, informers: &Informers) -> String {
        let (mut child, stream) = match self.spawn() {
            Ok(started) => started,
            Err(error) => return format!("cannot be started: {error}"),
        };
        tracing::info!(addresses = ?self.addresses, domain = self.config.domain, pid = child.id(), "serving DNS");
        let (mut from, mut to) = stream.into_split();
        let feeding = async {
            if let Err(error) = feed(informers, &mut to).await {
                tracing::debug!(%error, "the DNS process takes no more");
            }
            // Either the process ends, too, or the informers have: then shutdown comes.
            std::future::pending::<()>().await;
        };
        let answering = async {
            if from.read_u8().await.is_ok() {
                self.known.send_replace(true);
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = feeding => String::new(),
            () = answering => String::new(),
            ended = child.wait() => ended.map_or_else(|error| error.to_string(), |status| status.to_string()),
        }
    }

    /// Starts a process with our sockets.
    fn spawn(&self) -> io::Result<(Child, tokio::net::UnixStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        let (program, arguments) = self.config.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let child = Command::new(program)
            .args(arguments)
            .arg(std::path::absolute(&self.config.run_dir)?)
            .env_clear()
            // Huge pages, which the allocator's first touch would take three of, are for the large.
            .env("MIMALLOC_ALLOW_THP", "0")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let start = Start {
            domain: self.config.domain.clone(),
            upstreams: self.config.upstreams.clone(),
            own_addresses: self.config.own_addresses.clone(),
            cgroups: self.config.cgroups.clone(),
        };
        let mut bytes = Vec::new();
        update::write(&start, &mut bytes)?;
        // Fits into an empty socket, or the settings are absurd.
        if sys::send(ours.as_fd(), &bytes, &self.sockets.descriptors())? < bytes.len() {
            return Err(io::ErrorKind::ArgumentListTooLong.into());
        }
        ours.set_nonblocking(true)?;
        Ok((child, tokio::net::UnixStream::from_std(ours)?))
    }
}
