//! Says of each ServiceCIDR that it is ready, and keeps the deleted ones until no cluster address needs them.
//!
//! Flow: a ServiceCIDR that changes is queued, and the deleted ones with each other that comes or goes and with
//! each of the allocator's IPAddresses in them. Guarantees: a range goes only when each of its addresses
//! that is in use lies in another one that stays, and not before the time that writes under way may take.

mod plan;

use std::net::IpAddr;
use std::time::Duration;

use gantry_client::{Cached, Change, Failure, Informer, Meta, ObjectKey, WorkQueue, reference, run_workers};
use gantry_json::json;
use ipnet::IpNet;
use jiff::Timestamp;
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};

use crate::Context;
use crate::protection::keep;
use crate::writes::is_gone;
use plan::{Ready, Step, contains, decide};

const NAME: &str = "service-cidr-controller";
const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
/// The label that says whose an IPAddress is, and who the allocator is there.
const MANAGED_BY: (&str, &str) = ("ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io");

/// What of an IPAddress matters: whether the allocator has made it, and for which address.
struct Address {
    name: Box<str>,
    resource_version: Option<Box<str>>,
    managed: bool,
}

impl Cached for Address {
    type Object = IPAddress;

    fn from_object(object: IPAddress) -> Self {
        let metadata = object.metadata;
        let label = metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY.0));
        Self {
            managed: label.is_some_and(|manager| manager == MANAGED_BY.1),
            name: metadata.name.unwrap_or_default().into(),
            resource_version: metadata.resource_version.map(Into::into),
        }
    }

    fn meta(&self) -> &dyn Meta {
        self
    }
}

impl Meta for Address {
    fn name(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn namespace(&self) -> Option<&str> {
        None
    }

    fn uid(&self) -> Option<&str> {
        None
    }

    fn resource_version(&self) -> Option<&str> {
        self.resource_version.as_deref()
    }

    fn labels(&self) -> Option<&std::collections::BTreeMap<String, String>> {
        None
    }

    fn owner_references(&self) -> &[OwnerReference] {
        &[]
    }

    fn deletion_timestamp(&self) -> Option<&Time> {
        None
    }
}

impl Address {
    /// The address, where it is the allocator's.
    fn managed(&self) -> Option<IpAddr> {
        self.name.parse().ok().filter(|_| self.managed)
    }
}

/// The networks of a ServiceCIDR.
fn networks(range: &ServiceCIDR) -> impl Iterator<Item = IpNet> {
    let cidrs = range.spec.iter().flat_map(|spec| spec.cidrs.iter().flatten());
    cidrs.filter_map(|cidr| cidr.parse().ok())
}

/// Runs until shutdown.
pub async fn run(context: Context) {
    let (ranges, addresses) = (context.informers.get::<ServiceCIDR>(), context.informers.get::<Address>());
    ranges.synced().await;
    addresses.synced().await;
    let (of_ranges, of_addresses) = (ranges.changes(), addresses.changes());
    let controller = Controller { context: context.clone(), ranges, addresses, queue: WorkQueue::new() };
    let of_ranges = of_ranges.each(|change| {
        if let Change::Applied { new, .. } = &change {
            controller.queue.add(ObjectKey::of(&new.metadata));
        }
        controller.freed(|_| true);
    });
    let of_addresses = of_addresses.each(|change| {
        if let Some(address) = change.object().managed() {
            controller.freed(|range| networks(range).any(|network| contains(&network, address)));
        }
    });
    let reconcile = |key| controller.reconcile(key);
    let workers = run_workers(NAME, controller.queue.clone(), 1, reconcile, context.shutdown.clone());
    tokio::join!(of_ranges, of_addresses, workers);
}

struct Controller {
    context: Context,
    ranges: Informer<ServiceCIDR>,
    addresses: Informer<Address>,
    queue: WorkQueue<ObjectKey>,
}

impl Controller {
    /// Something has changed for the deleted ranges that it `concerns`.
    fn freed(&self, concerns: impl Fn(&ServiceCIDR) -> bool) {
        let ranges = self.ranges.list();
        let deleted = ranges.iter().filter(|range| range.metadata.deletion_timestamp.is_some());
        for range in deleted.filter(|range| concerns(range)) {
            self.queue.add(ObjectKey::of(&range.metadata));
        }
    }

    async fn reconcile(&self, key: ObjectKey) -> Result<Option<Duration>, Failure> {
        let Some(range) = self.ranges.get(&key) else { return Ok(None) };
        let others: Vec<IpNet> = {
            let all = self.ranges.list();
            let stay = all.iter().filter(|other| other.metadata.deletion_timestamp.is_none());
            stay.filter(|other| other.metadata.name != range.metadata.name)
                .flat_map(|other| networks(other))
                .collect()
        };
        let api: Api<ServiceCIDR> = Api::all(self.context.client.clone());
        let used = || self.addresses.list().into_iter().filter_map(|address| address.managed());
        match decide(&range, &others, used, Timestamp::now(), self.context.config.service_cidr_grace) {
            Step::Nothing => Ok(None),
            Step::Later(delay) => Ok(Some(delay)),
            // A finalizer is added, or taken away where the range may go.
            Step::Finalizer => keep(&api, &range, FINALIZER, async || Ok(false)).await,
            Step::Ready(ready) => self.say(&api, &range, ready).await,
        }
    }

    async fn say(
        &self,
        api: &Api<ServiceCIDR>,
        range: &ServiceCIDR,
        ready: Ready,
    ) -> Result<Option<Duration>, Failure> {
        let now = Timestamp::now().strftime("%FT%TZ").to_string();
        let status = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
            "status": {"conditions": [{
                "type": "Ready", "status": ready.status, "reason": ready.reason, "message": ready.message,
                "lastTransitionTime": now,
            }]},
        });
        let params = PatchParams::apply(NAME).force();
        match api.patch_status(&range.name_any(), &params, &Patch::Apply(status)).await {
            Err(error) if !is_gone(&error) => {
                if ready.status == "True" {
                    let text = "The ServiceCIDR Status can not be set to Ready=True";
                    self.context.recorder.event(reference(range), true, "KubernetesServiceCIDRError", text);
                }
                Err(error.into())
            }
            _ => Ok(None),
        }
    }
}
