//! Our tables in the kernel, kept equal to what is wanted. Each change is one transaction over all
//! families that carries only what differs.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
};

use super::{
    Place,
    base::base,
    flows::Frontends,
    index::Parts,
    rules::{Frontend, Part, Udp},
};
use crate::{
    error::{During, Result},
    netlink::Socket,
    nft::{
        Change, Family, Merged, Owner, Ruleset, diff,
        encode::{Batch, family_number, has_table},
    },
};

/// What the kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kernel {
    /// What an earlier run has left. It stays until everything is known that belongs there.
    Left,
    /// What is wanted.
    Equal,
    /// Nobody knows: a change has failed.
    Unknown,
}

/// Our tables in the kernel, one for each family in use.
#[derive(Debug)]
pub struct Table {
    socket: Socket,
    kernel: Kernel,
    families: Vec<OfFamily>,
    node_ips: Vec<IpAddr>,
}

impl Table {
    /// The tables of the families that pods or Services have addresses of. Nothing is written yet.
    pub fn open(place: &Place, node_ips: Vec<IpAddr>) -> Result<Self> {
        let socket = Socket::netfilter().during(|| "opening a netfilter socket".into())?;
        let used = |f: &Family| place.cluster(*f).chain(place.services(*f)).next().is_some();
        let families = Family::ALL.into_iter().filter(used).map(|f| OfFamily::new(f, place)).collect();
        Ok(Self { socket, kernel: Kernel::Left, families, node_ips })
    }

    /// The families in use.
    pub fn families(&self) -> Vec<Family> {
        self.families.iter().map(|f| f.family).collect()
    }

    /// Gives owners other parts; empty ones take theirs away. The kernel is told from the first
    /// [`Self::start`] on.
    pub fn update(&mut self, parts: Vec<(Owner, Parts)>) -> Result<()> {
        let mut batch = Batch::default();
        let mut count = 0;
        let mut affected = Vec::new();
        for family in &mut self.families {
            let (changes, frontends) = family.replace(&parts);
            batch.change(family.family, &changes);
            count += changes.len();
            affected.push(frontends);
        }
        match self.kernel {
            Kernel::Left => return Ok(()),
            Kernel::Unknown => return self.write(),
            Kernel::Equal if count == 0 => {}
            Kernel::Equal => {
                if let Err(error) = self.send(batch) {
                    tracing::warn!(%error, "changing the Service table failed; it is written anew");
                    return self.write();
                }
                tracing::debug!(changes = count, "Service table changed");
            }
        }
        self.end_flows(&affected);
        Ok(())
    }

    /// Writes everything, in the place of what the kernel has, unless it is known to have it.
    pub fn start(&mut self) -> Result<()> {
        if self.kernel == Kernel::Equal { Ok(()) } else { self.write() }
    }

    /// Has everything written anew with the next [`Self::start`] if a table is gone.
    pub fn check(&mut self) {
        let there = |f: &OfFamily| has_table(&self.socket, f.family).unwrap_or(false);
        if self.kernel == Kernel::Equal && !self.families.iter().all(there) {
            tracing::warn!("somebody has deleted the Service table; it is written anew");
            self.kernel = Kernel::Unknown;
        }
    }

    fn write(&mut self) -> Result<()> {
        let mut batch = Batch::default();
        for family in &self.families {
            batch.delete_table(family.family);
            batch.add_table(family.family);
            batch.change(family.family, &diff(&Ruleset::default(), &family.merged.whole()));
        }
        self.kernel = Kernel::Unknown;
        self.send(batch).during(|| "writing the Service table".into())?;
        self.kernel = Kernel::Equal;
        let all: Vec<_> = self.families.iter().map(|f| f.frontends.all()).collect();
        self.end_flows(&all);
        Ok(())
    }

    fn send(&self, batch: Batch) -> io::Result<()> {
        self.socket.exchange(&batch.finish(), |_| {})
    }

    /// Ends the UDP flows that may not go on. They end by themselves some time after their clients have
    /// given up, so a failure is not worth more than a warning.
    fn end_flows(&self, affected: &[BTreeSet<Frontend>]) {
        for (family, affected) in self.families.iter().zip(affected) {
            if affected.is_empty() {
                continue;
            }
            let number = family_number(family.family);
            let ended = self.socket.udp_flows(number).and_then(|flows| {
                let forbidden =
                    flows.iter().filter(|f| family.frontends.forbids(f, affected, &self.node_ips));
                forbidden
                    .map(|flow| self.socket.delete_flow(number, flow))
                    .try_fold(0, |n, ended| ended.map(|ended| n + u32::from(ended)))
            });
            match ended {
                Ok(0) => {}
                Ok(count) => tracing::debug!(count, "UDP flows ended whose endpoint is gone"),
                Err(error) => tracing::warn!(%error, "ending UDP flows whose endpoint is gone failed"),
            }
        }
    }
}

/// Removes our tables of all families, if they are there.
pub fn remove() -> Result<()> {
    let socket = Socket::netfilter().during(|| "opening a netfilter socket".into())?;
    for family in Family::ALL {
        let mut batch = Batch::default();
        batch.delete_table(family);
        match socket.exchange(&batch.finish(), |_| {}) {
            // The kernel has no such tables at all.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP)) => {}
            other => other.during(|| "removing the Service table".into())?,
        }
    }
    Ok(())
}

#[derive(Debug)]
struct OfFamily {
    family: Family,
    merged: Merged,
    udp: BTreeMap<Owner, Udp>,
    frontends: Frontends,
}

impl OfFamily {
    fn new(family: Family, place: &Place) -> Self {
        let merged = Merged::new(base(family, place));
        Self { family, merged, udp: BTreeMap::new(), frontends: Frontends::default() }
    }

    fn replace(&mut self, parts: &[(Owner, Parts)]) -> (Vec<Change>, BTreeSet<Frontend>) {
        let mut affected = BTreeSet::new();
        let mut rules = Vec::new();
        for (owner, parts) in parts {
            let Part { ruleset, udp } = parts.get(&self.family).cloned().unwrap_or_default();
            let before = self.udp.remove(owner).unwrap_or_default();
            affected.extend(self.frontends.replace(owner, &before, &udp));
            if !udp.is_empty() {
                self.udp.insert(owner.clone(), udp);
            }
            rules.push((owner.clone(), Some(ruleset)));
        }
        (self.merged.replace(rules), affected)
    }
}
