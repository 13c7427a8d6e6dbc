//! The name servers of a resolv.conf(5) file, read again when the file has changed.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::time::Instant;

/// How old what is known may be before the next question looks at the file's time again.
const FRESH: Duration = Duration::from_secs(5);

/// A file and what it said when last read.
pub(super) struct ResolvConf {
    path: PathBuf,
    read: Mutex<Option<Read>>,
}

struct Read {
    checked: Instant,
    modified: Option<SystemTime>,
    servers: Vec<SocketAddr>,
}

impl ResolvConf {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, read: Mutex::new(None) }
    }

    /// The servers, in the file's order. A file that is missing names none.
    pub(super) fn servers(&self) -> Vec<SocketAddr> {
        let mut read = self.read.lock();
        if let Some(known) = read.as_ref().filter(|known| known.checked.elapsed() < FRESH) {
            return known.servers.clone();
        }
        let modified = std::fs::metadata(&self.path).and_then(|metadata| metadata.modified()).ok();
        let servers = match read.take() {
            Some(known) if modified.is_some() && known.modified == modified => known.servers,
            _ => std::fs::read_to_string(&self.path)
                .inspect_err(
                    |error| tracing::warn!(path = %self.path.display(), %error, "cannot read name servers"),
                )
                .map(|text| parse(&text))
                .unwrap_or_default(),
        };
        *read = Some(Read { checked: Instant::now(), modified, servers: servers.clone() });
        servers
    }
}

/// The addresses of the `nameserver` lines.
pub(super) fn parse(text: &str) -> Vec<SocketAddr> {
    let mut servers: Vec<SocketAddr> = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        if words.next() == Some("nameserver")
            && let Some(server) = words.next().and_then(server)
            && !servers.contains(&server)
        {
            servers.push(server);
        }
    }
    servers
}

/// An address, where needed with the number of its interface: `fe80::1%2`.
fn server(text: &str) -> Option<SocketAddr> {
    match text.split_once('%') {
        None => Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, 53)),
        Some((address, scope)) => {
            let index = std::fs::read_to_string(format!("/sys/class/net/{scope}/ifindex"));
            let scope = scope.parse().ok().or_else(|| index.ok()?.trim().parse().ok())?;
            Some(SocketAddrV6::new(address.parse().ok()?, 53, 0, scope).into())
        }
    }
}
