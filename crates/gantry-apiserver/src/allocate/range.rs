//! Cluster IPs of one family out of one network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::band::Band;

/// The shortest prefix of an IPv6 network that addresses are handed out of.
const SHORTEST_V6: u8 = 64;

/// Why an address was not handed out. The texts are those clients know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IpError {
    /// Every address is in use.
    #[error("range is full")]
    Full,
    /// The address asked for is in use.
    #[error("provided IP is already allocated")]
    Allocated,
    /// The address asked for is in no range.
    #[error("the provided network does not match the current range")]
    NotInRange,
}

/// A network that addresses are handed out of, all but its own address and, for IPv4, that of broadcasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    network: IpNet,
    first: u128,
    band: Band,
}

impl Range {
    /// The range of `network`; `None` where it is IPv6 and too large.
    pub fn new(network: IpNet) -> Option<Self> {
        let network = network.trunc();
        if !network.addr().is_ipv4() && network.prefix_len() < SHORTEST_V6 {
            return None;
        }
        let bits = u32::from(network.max_prefix_len() - network.prefix_len());
        let all = 1u128 << bits;
        let outside = if network.addr().is_ipv4() { 2 } else { 1 };
        let capped = |count: u128| u64::try_from(count).unwrap_or(u64::MAX);
        let reserved = Band::reserve(capped(all), 16, 256, 16);
        let band = Band::new(capped(all.saturating_sub(outside)), reserved);
        Some(Self { network, first: number(network.network()).saturating_add(1), band })
    }

    /// The network.
    pub fn network(&self) -> IpNet {
        self.network
    }

    /// Whether `address` is one of those that are handed out.
    pub fn contains(&self, address: IpAddr) -> bool {
        let offset = || number(address).checked_sub(self.first);
        self.network.contains(&address) && offset().is_some_and(|at| at < u128::from(self.band.size()))
    }

    /// An address that is not `taken`; `seed` is a random number.
    pub fn pick(&self, seed: u64, taken: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
        self.band.pick(seed, |offset| taken(self.address(offset))).map(|offset| self.address(offset))
    }

    fn address(&self, offset: u64) -> IpAddr {
        let value = self.first + u128::from(offset);
        match self.network {
            IpNet::V4(_) => Ipv4Addr::from(value as u32).into(),
            IpNet::V6(_) => Ipv6Addr::from(value).into(),
        }
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn range(network: &str) -> Range {
        Range::new(network.parse().unwrap()).unwrap()
    }

    #[test]
    fn what_is_handed_out() {
        let check = |network: &str, address: &str, expect: bool| {
            assert_eq!(range(network).contains(address.parse().unwrap()), expect, "{address} of {network}");
        };
        check("10.43.0.0/16", "10.43.0.10", true);
        check("10.43.0.0/16", "10.44.0.1", false);
        check("10.43.0.0/16", "10.43.0.0", false);
        check("10.43.0.0/16", "10.43.255.255", false);
        check("10.43.0.0/16", "fd00::1", false);
        check("10.43.0.1/32", "10.43.0.1", false);
        check("fd00::/64", "fd00::", false);
        check("fd00::/64", "fd00::ffff:ffff:ffff:ffff", true);
        assert_eq!(Range::new("fd00::/63".parse().unwrap()), None);
    }

    #[test]
    fn a_small_range_fills_up() {
        let range = range("10.0.0.0/29");
        let mut taken = HashSet::new();
        for seed in 0..6 {
            taken.insert(range.pick(seed * 7, |address| taken.contains(&address)).unwrap());
        }
        assert_eq!(taken.len(), 6);
        assert!(taken.iter().all(|address| range.contains(*address)));
        assert_eq!(range.pick(3, |address| taken.contains(&address)), None);
    }

    #[test]
    fn random_addresses_spare_the_lower_band() {
        for network in ["10.43.0.0/24", "fd00:43::/64", "fd00:43::/108"] {
            let range = range(network);
            for seed in [0, 1, 12_345, u64::MAX] {
                let address = range.pick(seed, |_| false).unwrap();
                assert!(range.contains(address), "{address}");
                assert!(number(address) - range.first >= 16, "{address}");
            }
        }
    }
}
