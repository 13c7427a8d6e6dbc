//! Which pod has which address. One small file per pod keeps it over restarts of the agent.
//!
//! A lease matters only as long as the pod's namespace lives, that is until the kernel ends at the
//! latest; so files are written whole and renamed, but not flushed. A file that a power loss has torn
//! is removed when it is found.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{
    error::{NetworkError, Result},
    protocol::Protocol,
};

/// A port of the host that leads to a port of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPort {
    /// Address of the host; `None` means every one.
    pub host_ip: Option<IpAddr>,
    /// Port of the host.
    pub host_port: u16,
    /// Port of the pod.
    pub container_port: u16,
    /// Protocol of both.
    pub protocol: Protocol,
}

/// What a pod was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Its addresses, the primary one first.
    pub addresses: Vec<IpAddr>,
    /// The file its network namespace is bound to.
    pub namespace: PathBuf,
    /// Host ports that lead to it.
    #[serde(default)]
    pub host_ports: Vec<HostPort>,
    /// Grows with every lease, so that addresses are not used again soon.
    #[serde(default)]
    pub serial: u64,
}

impl Lease {
    /// Address and port that a host port leads to, in the family of `host`.
    pub fn target(&self, port: &HostPort, ipv6: bool) -> Option<SocketAddr> {
        let address = self.addresses.iter().find(|a| a.is_ipv6() == ipv6)?;
        Some(SocketAddr::new(*address, port.container_port))
    }
}

/// The leases of a node, in a directory.
#[derive(Debug)]
pub struct Leases {
    directory: PathBuf,
    leases: BTreeMap<String, Lease>,
    taken: BTreeSet<IpAddr>,
}

impl Leases {
    /// Reads the leases in `directory`, which is made if it is not there.
    pub fn open(directory: PathBuf) -> Result<Self> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| NetworkError::File { path, source }
        };
        fs::create_dir_all(&directory).map_err(failed(&directory))?;
        let mut leases = BTreeMap::new();
        for entry in fs::read_dir(&directory).map_err(failed(&directory))? {
            let path = entry.map_err(failed(&directory))?.path();
            let id = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let text = fs::read(&path).map_err(failed(&path))?;
            match gantry_json::from_slice::<Lease>(&text) {
                Ok(lease) if check_id(&id).is_ok() => drop(leases.insert(id, lease)),
                _ => {
                    tracing::warn!(path = %path.display(), "removing an incomplete address lease");
                    remove(&path)?;
                }
            }
        }
        let taken = leases.values().flat_map(|l: &Lease| l.addresses.clone()).collect();
        Ok(Self { directory, leases, taken })
    }

    /// Every lease by pod.
    pub fn all(&self) -> &BTreeMap<String, Lease> {
        &self.leases
    }

    /// Gives a pod one address of each range. A pod that has a lease keeps its addresses.
    pub fn acquire(
        &mut self,
        id: &str,
        namespace: &Path,
        ports: &[HostPort],
        ranges: &[IpNet],
    ) -> Result<Lease> {
        check_id(id)?;
        let addresses = match self.leases.get(id) {
            Some(lease) => lease.addresses.clone(),
            None => {
                let newest = self.leases.values().max_by_key(|l| l.serial);
                let free = |range: &IpNet| {
                    let last = newest.and_then(|l| l.addresses.iter().find(|a| range.contains(*a)));
                    next_free(*range, last.copied(), &self.taken)
                };
                ranges.iter().map(free).collect::<Result<_>>()?
            }
        };
        let serial = self.leases.values().map(|l| l.serial).max().unwrap_or(0) + 1;
        let namespace = namespace.to_owned();
        let lease = Lease { addresses, namespace, host_ports: ports.to_vec(), serial };
        self.write(id, &lease)?;
        self.taken.extend(&lease.addresses);
        self.leases.insert(id.to_owned(), lease.clone());
        Ok(lease)
    }

    /// Takes a pod's addresses back.
    pub fn release(&mut self, id: &str) -> Result<()> {
        if let Some(lease) = self.leases.get(id) {
            remove(&self.directory.join(id))?;
            for address in &lease.addresses {
                self.taken.remove(address);
            }
            self.leases.remove(id);
        }
        Ok(())
    }

    fn write(&self, id: &str, lease: &Lease) -> Result<()> {
        let path = self.directory.join(id);
        // Starts with a dot, as no id does; a leftover is removed when the directory is read.
        let new = self.directory.join(format!(".{id}"));
        let text = gantry_json::to_vec(lease).map_err(io::Error::from);
        text.and_then(|text| fs::write(&new, text))
            .and_then(|()| fs::rename(&new, &path))
            .map_err(|source| NetworkError::File { path, source })
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(NetworkError::File { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

fn check_id(id: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let good = !id.is_empty() && id.len() < 200 && !id.starts_with('.') && id.chars().all(allowed);
    if good { Ok(()) } else { Err(NetworkError::InvalidId(id.to_owned())) }
}

/// The first free address behind `last`, from the start again at the end. The first and the last
/// address of the range are not given to pods: the first one is the node's own in the overlay.
fn next_free(range: IpNet, last: Option<IpAddr>, taken: &BTreeSet<IpAddr>) -> Result<IpAddr> {
    let (first, end) = (to_number(range.network()) + 1, to_number(range.broadcast()));
    let start = last.map_or(first, |last| to_number(last) + 1);
    (start..end)
        .chain(first..start.min(end))
        .map(|number| from_number(number, range.addr().is_ipv6()))
        .find(|address| !taken.contains(address))
        .ok_or(NetworkError::Exhausted(range))
}

fn to_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => ip.into(),
    }
}

fn from_number(number: u128, ipv6: bool) -> IpAddr {
    if ipv6 { Ipv6Addr::from(number).into() } else { Ipv4Addr::from(number as u32).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(directory: &Path) -> Leases {
        Leases::open(directory.to_owned()).unwrap()
    }

    #[test]
    fn addresses_are_given_in_turn_and_kept_over_restarts() {
        let directory = tempfile::tempdir().unwrap();
        let range: IpNet = "10.42.0.0/29".parse().unwrap();
        let mut leases = open(directory.path());
        let give = |leases: &mut Leases, id: &str| {
            let lease = leases.acquire(id, Path::new("/run/netns/x"), &[], &[range]);
            lease.map(|l| l.addresses[0].to_string())
        };
        assert_eq!(give(&mut leases, "a").unwrap(), "10.42.0.1");
        assert_eq!(give(&mut leases, "b").unwrap(), "10.42.0.2");
        assert_eq!(give(&mut leases, "a").unwrap(), "10.42.0.1");
        leases.release("b").unwrap();
        leases.release("b").unwrap();
        assert_eq!(give(&mut leases, "c").unwrap(), "10.42.0.2", "behind the newest lease");
        assert_eq!(give(&mut leases, "d").unwrap(), "10.42.0.3");
        fs::write(directory.path().join("torn"), b"{\"addr").unwrap();
        fs::write(directory.path().join(".e"), b"").unwrap();
        let mut leases = open(directory.path());
        assert_eq!(leases.all().keys().collect::<Vec<_>>(), ["a", "c", "d"]);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
        leases.release("a").unwrap();
        for expected in ["10.42.0.4", "10.42.0.5", "10.42.0.6", "10.42.0.1"] {
            assert_eq!(give(&mut leases, &expected.replace('.', "-")).unwrap(), expected);
        }
        assert_eq!(give(&mut leases, "x").unwrap_err().to_string(), "no address left in 10.42.0.0/29");
    }

    #[test]
    fn ids_are_names_of_files() {
        let directory = tempfile::tempdir().unwrap();
        let mut leases = open(directory.path());
        for id in ["", ".hidden", "a/b", ".."] {
            assert!(leases.acquire(id, Path::new("/n"), &[], &[]).is_err(), "{id}");
        }
    }

    #[test]
    fn one_address_of_each_family() {
        let directory = tempfile::tempdir().unwrap();
        let ranges: Vec<IpNet> = vec!["10.42.0.0/24".parse().unwrap(), "fd00:42::/64".parse().unwrap()];
        let lease = open(directory.path()).acquire("p", Path::new("/n"), &[], &ranges).unwrap();
        assert_eq!(lease.addresses, ["10.42.0.1".parse::<IpAddr>().unwrap(), "fd00:42::1".parse().unwrap()]);
    }
}
