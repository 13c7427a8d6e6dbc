//! Cluster IPs of one family out of one network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::band::Band;

/// The most addresses that one range hands out; a wider IPv6 network is used from its start.
const MAX_ADDRESSES: u128 = 1 << 20;

/// Why an address was not handed out. The texts are those clients know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IpError {
    /// Every address is in use.
    #[error("range is full")]
    Full,
    /// The address asked for is in use.
    #[error("provided IP is already allocated")]
    Allocated,
    /// The address asked for is not in the range.
    #[error("the provided IP ({address}) is not in the valid range. The range of valid IPs is {range}")]
    NotInRange {
        /// The address.
        address: IpAddr,
        /// The network.
        range: IpNet,
    },
}

/// The addresses of one network in use.
#[derive(Debug, Clone)]
pub struct IpAllocator {
    network: IpNet,
    first: u128,
    band: Band,
}

impl IpAllocator {
    /// An allocator over `network`, without its network address and, for IPv4, its broadcast address.
    pub fn new(network: IpNet) -> Self {
        let network = network.trunc();
        let base = number(network.network());
        let bits = u32::from(network.max_prefix_len() - network.prefix_len());
        let all = 1u128.checked_shl(bits).unwrap_or(u128::MAX);
        let outside = if network.addr().is_ipv4() { 2 } else { 1 };
        let size = all.saturating_sub(outside).min(MAX_ADDRESSES) as u64;
        let reserved = Band::reserve(all.min(MAX_ADDRESSES) as u64, 16, 256, 16);
        Self { network, first: base + 1, band: Band::new(size, reserved) }
    }

    /// The network.
    pub fn network(&self) -> IpNet {
        self.network
    }

    /// Takes `address`.
    pub fn take(&mut self, address: IpAddr) -> Result<(), IpError> {
        let offset = self.offset(address)?;
        if self.band.take(offset) { Ok(()) } else { Err(IpError::Allocated) }
    }

    /// Takes any free address; `seed` is a random number.
    pub fn take_any(&mut self, seed: u64) -> Result<IpAddr, IpError> {
        let offset = self.band.take_any(seed).ok_or(IpError::Full)?;
        let value = self.first + u128::from(offset);
        Ok(match self.network {
            IpNet::V4(_) => Ipv4Addr::from(value as u32).into(),
            IpNet::V6(_) => Ipv6Addr::from(value).into(),
        })
    }

    /// Gives `address` back. False: it was not in use.
    pub fn release(&mut self, address: IpAddr) -> bool {
        self.offset(address).is_ok_and(|offset| self.band.release(offset))
    }

    /// Whether `address` is in use.
    pub fn has(&self, address: IpAddr) -> bool {
        self.offset(address).is_ok_and(|offset| self.band.has(offset))
    }

    /// How many addresses are in use.
    pub fn used(&self) -> usize {
        self.band.used()
    }

    fn offset(&self, address: IpAddr) -> Result<u64, IpError> {
        let outside = IpError::NotInRange { address, range: self.network };
        if !self.network.contains(&address) {
            return Err(outside);
        }
        match number(address).checked_sub(self.first) {
            Some(offset) if offset < u128::from(self.band.size()) => Ok(offset as u64),
            _ => Err(outside),
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
    use super::*;

    fn allocator(network: &str) -> IpAllocator {
        IpAllocator::new(network.parse().unwrap())
    }

    #[test]
    fn takes_what_is_free_and_in_range() {
        let mut allocator = allocator("10.43.0.0/16");
        let mut check = |address: &str, expect: Result<(), &str>| {
            let got = allocator.take(address.parse().unwrap()).map_err(|error| error.to_string());
            assert_eq!(got, expect.map_err(str::to_owned), "{address}");
        };
        check("10.43.0.10", Ok(()));
        check("10.43.0.10", Err("provided IP is already allocated"));
        let outside =
            "the provided IP (10.44.0.1) is not in the valid range. The range of valid IPs is 10.43.0.0/16";
        check("10.44.0.1", Err(outside));
        assert!(allocator.take("10.43.0.0".parse().unwrap()).is_err(), "network address");
        assert!(allocator.take("10.43.255.255".parse().unwrap()).is_err(), "broadcast address");
        assert!(allocator.take("fd00::1".parse().unwrap()).is_err(), "other family");
    }

    #[test]
    fn a_small_range_fills_up_and_frees() {
        let mut allocator = allocator("10.0.0.0/29");
        let taken: Vec<_> = (0..6).map(|seed| allocator.take_any(seed * 7).unwrap()).collect();
        assert_eq!(taken.iter().collect::<std::collections::HashSet<_>>().len(), 6);
        assert_eq!(allocator.take_any(3), Err(IpError::Full));
        assert!(allocator.release(taken[2]));
        assert!(!allocator.release(taken[2]));
        assert_eq!(allocator.take_any(0), Ok(taken[2]));
    }

    #[test]
    fn ipv6_ranges_work() {
        let mut allocator = allocator("fd00:43::/108");
        let address = allocator.take_any(12_345).unwrap();
        assert!(allocator.network().contains(&address));
        assert!(allocator.has(address));
    }
}
