//! Which part of the cluster's pod addresses belongs to which node.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

/// The usual size of a node's range, as a prefix length, for IPv4 and IPv6.
const NODE_PREFIX: (u8, u8) = (24, 64);
/// A cluster's range is divided into at most two to the power of this many.
const MOST_BITS: u8 = 16;

/// The cluster's range, divided into equal ones. They are given out in turn, so that a range that was
/// given back rests as long as possible.
pub(super) struct Ranges {
    division: Division,
    next: u128,
    /// How many holders each range has; ranges without any are not in it.
    holders: HashMap<u128, usize>,
    by_node: HashMap<String, Held>,
}

/// How the cluster's range is divided.
#[derive(Clone, Copy)]
struct Division {
    cluster: IpNet,
    prefix: u8,
}

/// What a node holds.
struct Held {
    uid: String,
    ranges: Vec<IpNet>,
}

impl Ranges {
    pub(super) fn new(cluster: IpNet) -> Self {
        let usual = if cluster.addr().is_ipv4() { NODE_PREFIX.0 } else { NODE_PREFIX.1 };
        let cluster = cluster.trunc();
        let prefix = usual.clamp(cluster.prefix_len(), cluster.prefix_len().saturating_add(MOST_BITS));
        let division = Division { cluster, prefix };
        Self { division, next: 0, holders: HashMap::new(), by_node: HashMap::new() }
    }

    /// The ranges that the node holds.
    pub(super) fn of(&self, node: &str) -> Option<&[IpNet]> {
        self.by_node.get(node).map(|held| held.ranges.as_slice())
    }

    /// Notes that the node holds `ranges`, and nothing else any longer. Returns whether a range became
    /// free.
    pub(super) fn occupy(&mut self, node: &str, uid: &str, ranges: Vec<IpNet>) -> bool {
        if self.by_node.get(node).is_some_and(|held| held.uid == uid && held.ranges == ranges) {
            return false;
        }
        let freed = self.release(node);
        let division = self.division;
        for index in ranges.iter().flat_map(|range| division.indices(*range)) {
            *self.holders.entry(index).or_default() += 1;
        }
        self.by_node.insert(node.into(), Held { uid: uid.into(), ranges });
        freed
    }

    /// Takes back what the node holds. Returns whether it held anything.
    pub(super) fn release(&mut self, node: &str) -> bool {
        let Some(held) = self.by_node.remove(node) else { return false };
        let division = self.division;
        for index in held.ranges.iter().flat_map(|range| division.indices(*range)) {
            if let Some(count) = self.holders.get_mut(&index) {
                *count -= 1;
                if *count == 0 {
                    self.holders.remove(&index);
                }
            }
        }
        true
    }

    /// The same, unless the node that holds it is the one with `uid`.
    pub(super) fn release_unless(&mut self, node: &str, uid: &str) -> bool {
        self.by_node.get(node).is_some_and(|held| held.uid != uid) && self.release(node)
    }

    /// Gives the node a range that nobody holds; `None` where all are held.
    pub(super) fn allocate(&mut self, node: &str, uid: &str) -> Option<IpNet> {
        let count = self.division.count();
        let mut in_turn = (0..count).map(|step| (self.next + step) % count);
        let index = in_turn.find(|index| !self.holders.contains_key(index))?;
        self.next = (index + 1) % count;
        let range = self.division.range(index)?;
        self.occupy(node, uid, vec![range]);
        Some(range)
    }
}

impl Division {
    fn count(self) -> u128 {
        1 << (self.prefix - self.cluster.prefix_len())
    }

    fn range(self, index: u128) -> Option<IpNet> {
        let address = bits(self.cluster.network()) + (index << self.host_bits());
        let address = match self.cluster {
            IpNet::V4(_) => IpAddr::from(u32::try_from(address).ok()?.to_be_bytes()),
            IpNet::V6(_) => IpAddr::from(address.to_be_bytes()),
        };
        IpNet::new(address, self.prefix).ok()
    }

    /// The ranges that `range` overlaps.
    fn indices(self, range: IpNet) -> std::ops::Range<u128> {
        let first = range.network().max(self.cluster.network());
        let last = range.broadcast().min(self.cluster.broadcast());
        if first.is_ipv4() != last.is_ipv4()
            || first > last
            || first.is_ipv4() != self.cluster.addr().is_ipv4()
        {
            return 0..0;
        }
        let index = |address| (bits(address) - bits(self.cluster.network())) >> self.host_bits();
        index(first)..index(last) + 1
    }

    fn host_bits(self) -> u8 {
        self.cluster.max_prefix_len() - self.prefix
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().expect("a network")
    }

    #[test]
    fn ranges_are_given_in_turn_and_again_when_they_are_back() {
        let mut ranges = Ranges::new(net("10.42.0.0/22"));
        ranges.occupy("b", "1", vec![net("10.42.1.0/24")]);
        assert_eq!(ranges.allocate("a", "1"), Some(net("10.42.0.0/24")));
        assert_eq!(ranges.allocate("c", "1"), Some(net("10.42.2.0/24")));
        assert!(ranges.release("a"));
        assert_eq!(ranges.allocate("d", "1"), Some(net("10.42.3.0/24")));
        assert_eq!(ranges.allocate("e", "1"), Some(net("10.42.0.0/24")));
        assert_eq!(ranges.allocate("f", "1"), None);
        assert!(!ranges.release_unless("b", "1") && ranges.release_unless("b", "2"));
        assert_eq!(ranges.allocate("f", "1"), Some(net("10.42.1.0/24")));
    }

    #[test]
    fn a_range_of_any_size_keeps_others_away() {
        let check = |held: &str, expect: &str| {
            let mut ranges = Ranges::new(net("10.42.0.0/16"));
            ranges.occupy("a", "1", vec![net(held)]);
            assert_eq!(ranges.allocate("b", "1"), Some(net(expect)), "{held}");
        };
        check("10.42.0.128/25", "10.42.1.0/24");
        check("10.42.0.0/23", "10.42.2.0/24");
        check("10.44.0.0/14", "10.42.0.0/24");
        check("192.168.0.0/24", "10.42.0.0/24");
        check("fd00::/64", "10.42.0.0/24");
        let mut ranges = Ranges::new(net("10.42.0.0/16"));
        ranges.occupy("a", "1", vec![net("10.0.0.0/8")]);
        assert_eq!(ranges.allocate("b", "1"), None);
    }

    #[test]
    fn other_clusters_are_divided_too() {
        let first = |cluster: &str| Ranges::new(net(cluster)).allocate("a", "1");
        assert_eq!(first("fd42::/48"), Some(net("fd42::/64")));
        assert_eq!(first("fd42::/32"), Some(net("fd42::/48")));
        assert_eq!(first("10.42.7.0/26"), Some(net("10.42.7.0/26")));
        let mut ranges = Ranges::new(net("fd42::/48"));
        ranges.allocate("a", "1");
        assert_eq!(ranges.allocate("b", "1"), Some(net("fd42:0:0:1::/64")));
    }

    proptest! {
        /// No range is held twice, whatever nodes come and go.
        #[test]
        fn no_two_nodes_share(steps in prop::collection::vec((0_u8..12, any::<bool>()), 0..60)) {
            let mut ranges = Ranges::new(net("10.42.0.0/21"));
            for (node, comes) in steps {
                let node = node.to_string();
                if !comes {
                    ranges.release(&node);
                } else if ranges.of(&node).is_none() {
                    ranges.allocate(&node, "1");
                }
                let held: Vec<_> = ranges.by_node.values().flat_map(|held| &held.ranges).collect();
                let distinct: std::collections::HashSet<_> = held.iter().collect();
                prop_assert_eq!(held.len(), distinct.len());
                prop_assert_eq!(held.len(), ranges.holders.len());
            }
        }
    }
}
