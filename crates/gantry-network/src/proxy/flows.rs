//! Which UDP flows may not go on. The kernel leads the packets of a flow it remembers where the first
//! one went, and as UDP has no end, a client that goes on sending would never reach another endpoint.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use super::rules::{Frontend, Udp};
use crate::{netlink::conntrack::Flow, nft::Owner};

/// Where UDP packets may go, by who wants it.
#[derive(Debug, Default)]
pub struct Frontends(BTreeMap<Frontend, BTreeMap<Owner, BTreeSet<SocketAddr>>>);

impl Frontends {
    /// Replaces what `owner` wants; returns the places from which flows may have to end.
    pub fn replace(&mut self, owner: &Owner, before: &Udp, after: &Udp) -> BTreeSet<Frontend> {
        let mut affected = BTreeSet::new();
        for (frontend, to) in before {
            if after.get(frontend).is_none_or(|now| !to.is_subset(now)) {
                affected.insert(*frontend);
            }
            if !after.contains_key(frontend)
                && let Some(owners) = self.0.get_mut(frontend)
            {
                owners.remove(owner);
                if owners.is_empty() {
                    self.0.remove(frontend);
                }
            }
        }
        for (frontend, to) in after {
            if !before.contains_key(frontend) {
                affected.insert(*frontend);
            }
            self.0.entry(*frontend).or_default().insert(owner.clone(), to.clone());
        }
        affected
    }

    /// Every place.
    pub fn all(&self) -> BTreeSet<Frontend> {
        self.0.keys().copied().collect()
    }

    /// Whether a flow that came to one of `affected` goes elsewhere than it may. `own` are the node's
    /// addresses.
    pub fn forbids(&self, flow: &Flow, affected: &BTreeSet<Frontend>, own: &[IpAddr]) -> bool {
        let at_address = (Some(flow.to.ip()), flow.to.port());
        let at_node = (None, flow.to.port());
        let frontend = if affected.contains(&at_address) {
            at_address
        } else if affected.contains(&at_node) && (flow.translated || own.contains(&flow.to.ip())) {
            at_node
        } else {
            return false;
        };
        match self.0.get(&frontend) {
            Some(owners) => !owners.values().any(|to| to.contains(&flow.answers)),
            // Nobody's any more: what is not led elsewhere is not ours.
            None => flow.translated,
        }
    }
}
