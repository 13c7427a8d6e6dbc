//! The Service proxy: rules that lead connections to Services on to their endpoints.
//!
//! `index` keeps the objects, `service` and `endpoints` read them, `rules` decides what a Service's part
//! of the table is, `base` what all Services share, `flows` which UDP flows may not go on, and `table`
//! keeps the kernel's table equal to what is wanted.

pub mod base;
pub mod endpoints;
pub mod flows;
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
