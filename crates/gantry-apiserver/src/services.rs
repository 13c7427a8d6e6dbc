//! Cluster addresses and node ports of Services: chosen by what is stored, held while the write that takes
//! them is under way, and kept in IPAddresses that are written with the Service.
//!
//! Flow: a write claims what it needs, from every ServiceCIDR that is ready; object and IPAddresses are stored
//! in one commit, or neither is. Guarantees: no two Services get the same address or node port; what is not
//! stored is free again as soon as its claim is gone, also where nobody waited for the outcome.

mod address;
mod claim;
mod holdings;
pub(crate) mod repair;

use std::net::IpAddr;
use std::sync::Arc;

use gantry_api::field::{FieldError, Path};
use gantry_api::registry::{Kind, Registry};
use gantry_api::status::ApiError;
use gantry_json::Value;
use gantry_store::{Part, Snapshot, Store};
use parking_lot::Mutex;

use crate::Config;
use crate::allocate::{AllocationError, InUse, Pool, Range, ServiceAllocator};
use crate::authz::feed::Feed;
pub(crate) use claim::Claim;
use claim::InFlight;
use holdings::Holdings;

/// What Services have, and what they can get.
pub(crate) struct Services {
    allocator: ServiceAllocator,
    holdings: Feed<Holdings>,
    in_flight: Arc<Mutex<InFlight>>,
    store: Store,
    /// The range of a server that does not serve ServiceCIDRs.
    fixed: Option<Range>,
}

/// Whether ranges and addresses are objects that can be read and written.
pub(crate) fn are_objects_served(builtin: &Registry) -> bool {
    builtin.by_gvk("networking.k8s.io", "v1", "ServiceCIDR").is_some()
}

impl Services {
    /// Knows what is stored. `builtin` are the kinds that are served.
    pub fn new(config: &Config, builtin: &Registry) -> Self {
        let fixed = !are_objects_served(builtin);
        Self {
            fixed: fixed.then(|| Range::new(config.service_cidr)).flatten(),
            allocator: ServiceAllocator::new(&[config.service_cidr], config.node_ports.clone()),
            holdings: Feed::new(&config.store),
            in_flight: Arc::default(),
            store: config.store.clone(),
        }
    }

    /// Chooses for a new object, or for what a changed one asks anew, where it is a Service.
    pub fn claim(
        &self,
        kind: &Kind,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<Option<Claim>, ApiError> {
        if !kind.is("", "Service") {
            return Ok(None);
        }
        let mut in_flight = self.in_flight.lock();
        // Whoever has ended its write and its claim since is in here.
        let result = self.holdings.read(|holdings| {
            let in_use = Known { holdings, in_flight: &in_flight };
            let ranges = self.fixed.as_ref().map_or(holdings.ranges(), std::slice::from_ref);
            let pool = Pool { ranges, in_use: &in_use };
            match old {
                Some(old) => self.allocator.update(object, old, pool, &mut rand::random),
                None => self.allocator.create(object, pool, &mut rand::random),
            }
        });
        let claim = result.map_err(|error| refused(object, error))?;
        in_flight.add(&claim);
        drop(in_flight);
        Ok(Some(Claim::new(claim, self.in_flight.clone(), self.store.clone())))
    }

    /// What has to go with an object that is deleted.
    pub fn released(&self, kind: &Kind, object: &Value) -> Vec<Part> {
        match kind.is("", "Service") {
            true => address::parts(None, Some(object), &self.store.snapshot()),
            false => Vec::new(),
        }
    }
}

/// What has to be written with a Service that was claimed for.
pub(crate) fn parts(service: &Value, old: Option<&Value>, snapshot: &Snapshot) -> Vec<Part> {
    address::parts(Some(service), old, snapshot)
}

/// What is stored, and what will be.
struct Known<'a> {
    holdings: &'a Holdings,
    in_flight: &'a InFlight,
}

impl InUse for Known<'_> {
    fn ip(&self, address: IpAddr) -> bool {
        self.in_flight.ips.contains(&address) || self.holdings.has_ip(address)
    }

    fn port(&self, port: u16) -> bool {
        self.in_flight.ports.contains(&port) || self.holdings.has_port(port)
    }
}

fn refused(object: &Value, error: AllocationError) -> ApiError {
    match error {
        AllocationError::Invalid { field, value, detail } => {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let error = FieldError::invalid(&Path::new(&field), value, detail);
            ApiError::invalid("", "Service", name, &[error])
        }
        AllocationError::Exhausted(why) => ApiError::internal(why),
    }
}
