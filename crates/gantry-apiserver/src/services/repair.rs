//! Keeps Services and IPAddresses in step, whatever somebody does to either: each cluster address has its
//! IPAddress, and no IPAddress of the allocator's is left without its Service. Services that were stored
//! before there were IPAddresses get theirs at start.
//!
//! Flow: at start everything is looked at, then what the store's watch shows to have changed and what depends
//! on it. What is found wrong goes through the server's own pipeline. Guarantee: a Service is never changed;
//! what cannot be mended is told in an event, once for as long as the server runs.

mod plan;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use gantry_json::Value;
use gantry_store::Event;
use http::Method;
use jiff::Timestamp;

use super::address::ip_address;
use super::holdings::{ADDRESSES, Holdings, RANGES, SERVICES, ServiceName};
use crate::ApiServer;
use crate::allocate::Held;
use crate::bootstrap::Api;
use crate::server::event::Warning;
use crate::server::settling::{Delays, Settling, keep_settled};
use plan::{About, Finding, Remedy, Verdict};

const ALL: &str = "/apis/networking.k8s.io/v1/ipaddresses";
const COMPONENT: &str = "ipallocator-repair-controller";
/// Findings worked on at once: at the first start with IPAddresses there is one for each Service.
const AT_ONCE: usize = 64;
/// Findings remembered as told.
const REMEMBERED: usize = 4096;
/// The longest delay of what could not be done.
const LONGEST: Duration = Duration::from_secs(60);

/// What is to be looked at.
#[derive(Debug, Default)]
struct Dirty {
    services: BTreeSet<ServiceName>,
    addresses: BTreeSet<IpAddr>,
    /// Everything.
    all: bool,
}

impl Dirty {
    /// Notes what a change may have put out of step.
    fn note(&mut self, event: &Event) {
        let key = &*event.entry.key;
        if let Some(name) = key.strip_prefix(SERVICES) {
            self.services.insert(name.into());
            // What it had before may be left over.
            let before = event.prev.as_ref().map(|entry| Held::read(&entry.value)).unwrap_or_default();
            self.addresses.extend(before.ips);
        } else if let Some(name) = key.strip_prefix(ADDRESSES) {
            self.addresses.extend(name.parse::<IpAddr>());
        } else if key.starts_with(RANGES) {
            self.all = true;
        }
    }

    /// What is wrong with what is to be looked at, and when an address is to be looked at again.
    fn findings(&self, holdings: &Holdings, now: Timestamp) -> (Vec<Finding>, BTreeMap<IpAddr, Timestamp>) {
        let mut services: BTreeSet<&ServiceName> = self.services.iter().collect();
        let mut addresses = self.addresses.clone();
        if self.all {
            services.extend(holdings.services());
            addresses.extend(holdings.addresses());
        }
        services.extend(addresses.iter().flat_map(|address| holdings.holders(*address)));
        let mut findings: Vec<Finding> =
            services.into_iter().flat_map(|service| plan::of_service(holdings, service)).collect();
        let mut later = BTreeMap::new();
        for address in addresses {
            match plan::of_address(holdings, address, now) {
                Verdict::Right => {}
                Verdict::Later(at) => drop(later.insert(address, at)),
                Verdict::Wrong(finding) => findings.push(finding),
            }
        }
        (findings, later)
    }
}

/// Runs until the store closes; dropping it is safe.
pub(crate) async fn run(server: Arc<ApiServer>) {
    server.ready().await;
    if !super::are_objects_served(&server.builtin) {
        return;
    }
    let mut repair = Repair {
        server: &server,
        dirty: Dirty::default(),
        waiting: BTreeMap::new(),
        told: HashSet::new(),
        delays: Delays::up_to(LONGEST),
    };
    keep_settled(&server.store, &[SERVICES, ADDRESSES, RANGES], &mut repair).await;
}

struct Repair<'a> {
    server: &'a ApiServer,
    dirty: Dirty,
    /// Addresses that are to be looked at again, and when.
    waiting: BTreeMap<IpAddr, Timestamp>,
    told: HashSet<(About, String)>,
    delays: Delays,
}

impl Settling for Repair<'_> {
    fn begin(&mut self) {
        self.dirty.all = true;
    }

    fn note(&mut self, event: &Event) {
        self.dirty.note(event);
    }

    async fn settle(&mut self) -> Option<Duration> {
        let now = Timestamp::now();
        let due = self.waiting.iter().filter(|(_, at)| **at <= now).map(|(address, _)| *address);
        self.dirty.addresses.extend(due);
        let dirty = std::mem::take(&mut self.dirty);
        let (findings, later) = self.server.services.holdings.read(|holdings| dirty.findings(holdings, now));
        self.waiting.retain(|address, _| !dirty.all && !dirty.addresses.contains(address));
        self.waiting.extend(later);
        self.dirty = carry_out(self.server, findings, &mut self.told).await;
        let worked = self.dirty.services.is_empty() && self.dirty.addresses.is_empty();
        // An IPAddress may be older than its Service, for so long and no longer; and what could not be written
        // is tried again, for nothing says when it can be.
        let due = self.waiting.values().min().map(|at| until(*at, Timestamp::now()));
        due.into_iter().chain(self.delays.after(worked)).min()
    }
}

/// How long it is until `at`.
fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default()
}

/// Mends and tells. Returns what could not be mended.
async fn carry_out(server: &ApiServer, findings: Vec<Finding>, told: &mut HashSet<(About, String)>) -> Dirty {
    if told.len() > REMEMBERED {
        told.clear();
    }
    let news = |finding: Finding| {
        let message = finding.event.as_ref().map(|event| event.message.clone());
        // What is mended is not there twice.
        let lasting = || told.insert((finding.about.clone(), message.unwrap_or_default()));
        let new = finding.remedy != Remedy::None || lasting();
        (finding, new)
    };
    let work: Vec<(Finding, bool)> = findings.into_iter().map(news).collect();
    let work = stream::iter(work).map(|(finding, tell)| async move {
        if let (true, Some(warning)) = (tell, &finding.event) {
            tracing::warn!("{}", warning.message);
            tell_of(server, &finding.about, warning).await;
        }
        (mend(server, &finding.remedy).await, finding)
    });
    let mut left = Dirty::default();
    let mut done = work.buffer_unordered(AT_ONCE);
    while let Some((mended, finding)) = done.next().await {
        match (mended, finding.about) {
            (true, _) => {}
            (false, About::Service(service)) => drop(left.services.insert(service)),
            (false, About::Address(address)) => drop(left.addresses.insert(address)),
        }
    }
    left
}

async fn tell_of(server: &ApiServer, about: &About, warning: &Warning) {
    let object = match about {
        About::Service(name) => {
            let (namespace, name) = name.split_once('/').unwrap_or_default();
            server.read_object("", "services", namespace, name)
        }
        About::Address(address) => {
            server.read_object("networking.k8s.io", "ipaddresses", "", &address.to_string())
        }
    };
    // What has gone meanwhile needs no telling.
    if let Ok(object) = object {
        server.warn(&object, warning).await;
    }
}

/// Whether it worked, or somebody else has done it.
async fn mend(server: &ApiServer, remedy: &Remedy) -> bool {
    let (remove, create) = match remedy {
        Remedy::None => return true,
        Remedy::Create(address, service) => (None, Some((address, service))),
        Remedy::Recreate(address, service) => (Some(address), Some((address, service))),
        Remedy::Remove(address) => (Some(address), None),
    };
    if let Some(address) = remove {
        let path = format!("{ALL}/{address}");
        if !succeeded(server.call(Method::DELETE, &path, None).await, 404) {
            return false;
        }
    }
    let Some((address, service)) = create else { return true };
    let (namespace, name) = service.split_once('/').unwrap_or_default();
    let object = ip_address(*address, namespace, name);
    succeeded(server.call(Method::POST, ALL, Some(&object)).await, 409)
}

fn succeeded((code, answer): (u16, Value), unless: u16) -> bool {
    if code >= 400 && code != unless {
        tracing::warn!(code, message = %answer["message"], "an IPAddress was not put right");
        return false;
    }
    true
}
