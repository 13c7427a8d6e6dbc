//! Cluster addresses and node ports of Services, taken and given back with the writes that
//! store them.

use gantry_api::field::{FieldError, Path};
use gantry_api::registry::Kind;
use gantry_api::status::ApiError;
use parking_lot::Mutex;
use serde_json::Value;

use crate::allocate::{AllocationError, Reservation, ServiceAllocator};
use crate::{Config, storage};

/// The one allocator of a server.
pub(crate) struct Services(Mutex<ServiceAllocator>);

impl Services {
    /// An allocator that knows what is stored.
    pub fn new(config: &Config) -> Self {
        let mut allocator = ServiceAllocator::new(&[config.service_cidr], config.node_ports.clone());
        let snapshot = config.store.snapshot();
        for entry in snapshot.range(&storage::prefix("", "services"), None) {
            let Ok(service) = serde_json::from_slice(&entry.value) else { continue };
            for fault in allocator.restore(&service) {
                tracing::warn!("{fault}");
            }
        }
        Self(Mutex::new(allocator))
    }

    /// Allocates for a new object, where it is a Service.
    pub fn create(&self, kind: &Kind, object: &mut Value) -> Result<Option<Reservation>, ApiError> {
        if !kind.is("", "Service") {
            return Ok(None);
        }
        let result = self.0.lock().create(object, &mut random);
        result.map(Some).map_err(|error| refused(object, error))
    }

    /// Allocates for what a changed object asks anew, where it is a Service.
    pub fn update(
        &self,
        kind: &Kind,
        old: &Value,
        object: &mut Value,
    ) -> Result<Option<Reservation>, ApiError> {
        if !kind.is("", "Service") {
            return Ok(None);
        }
        let result = self.0.lock().update(object, old, &mut random);
        result.map(Some).map_err(|error| refused(object, error))
    }

    /// Ends a reservation: the write was `stored` or not.
    pub fn settle(&self, reservation: Option<Reservation>, stored: bool) {
        match reservation {
            Some(reservation) if stored => self.0.lock().commit(reservation),
            Some(reservation) => self.0.lock().rollback(reservation),
            None => {}
        }
    }

    /// Gives back what a deleted object had.
    pub fn deleted(&self, kind: &Kind, object: &Value) {
        if kind.is("", "Service") {
            self.0.lock().delete(object);
        }
    }
}

fn random() -> u64 {
    rand::random()
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
