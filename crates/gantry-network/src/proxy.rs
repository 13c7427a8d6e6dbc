//! The Service proxy: rules that lead connections to Services on to their endpoints.
//!
//! `index` keeps the objects, `service` and `endpoints` read them, `rules` decides what a Service's part
//! of the table is, `base` what all Services share, `flows` which UDP flows may not go on, `table`
//! keeps the kernel's table equal to what is wanted, and `health` tells load balancers about this node.
//!
//! There is one table `gantry` in each family in use (`ip`, `ip6`); `nft list table ip gantry` shows it.
//!
//! | chain | packets come | what it does |
//! | --- | --- | --- |
//! | `prerouting`, `output` | from the kernel, when a connection starts | looks the destination up in `services`; what goes to this machine goes on to `local-ports` |
//! | `local-ports` | to an address of this machine | looks the port up in `host-address-ports`, `host-ports`, `node-ports` |
//! | `service-NAMESPACE/NAME/PROTOCOL/PORT` | by a ClusterIP | leads to any endpoint |
//! | `local-…` | where traffic has to stay here | leads to an endpoint of this node |
//! | `external-…` | by a node port, external address or load balancer | marks what has to be masqueraded, then one of the former |
//! | `firewall-…` | by a load balancer with source ranges | lets in who is in the ranges |
//! | `endpoint-…/ADDRESS/PORT` | of clients that are to stay | remembers the client in `clients-…`, leads to the endpoint |
//! | `reject` | to a Service without endpoints | answers that nobody listens |
//! | `loopback-ports` | `output`, for this machine's loopback address | translates to a host port |
//! | `strangers` | from the kernel, for every packet | drops what claims to be of or for the loopback address |
//! | `postrouting`, `leaving` | from the kernel, on the way out | masquerades |
//! | `forward`, `filter-output` | from the kernel | refuses what goes to an address of no Service, drops what would confuse the other end |
//!
//! | map or set | from | to |
//! | --- | --- | --- |
//! | `services` | address, protocol, port | chain |
//! | `node-ports` | protocol, port | chain |
//! | `host-ports`, `host-address-ports` | (address,) protocol, port | pod's address and port |
//! | `endpoints`, `local-endpoints` | ClusterIP, protocol, port, number | endpoint's address and port |
//! | `hairpin` | a pod's address, twice | |
//! | `clients-…` | client's address, for the time of affinity | |
//!
//! Maps are shared by all Services, as the kernel takes longer for each set that a table has.
//!
//! A connection is looked up once, in constant time; later packets follow connection tracking. So
//! connections outlive changes of rules, and endpoints that go away get no new ones.

pub mod base;
pub mod endpoints;
pub mod flows;
pub mod health;
pub mod index;
pub mod rules;
pub mod service;
pub mod table;

use ipnet::IpNet;

use crate::nft::Family;

/// What rules depend on besides Services: the node and the cluster's ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The node's name.
    pub node: String,
    /// The node's zone, from its label.
    pub zone: Option<String>,
    /// Ranges of all pods of the cluster.
    pub cluster_cidrs: Vec<IpNet>,
    /// Ranges of ClusterIPs.
    pub service_cidrs: Vec<IpNet>,
}

impl Place {
    /// The ranges of pods of one family.
    pub fn cluster(&self, family: Family) -> impl Iterator<Item = IpNet> {
        self.cluster_cidrs.iter().copied().filter(move |net| Family::of(net.addr()) == family)
    }

    /// The ranges of ClusterIPs of one family.
    pub fn services(&self, family: Family) -> impl Iterator<Item = IpNet> {
        self.service_cidrs.iter().copied().filter(move |net| Family::of(net.addr()) == family)
    }
}
