//! Writes that count for quotas, or that take addresses: object and usage, object and IPAddresses are stored
//! in one commit.

use std::sync::Arc;
use std::time::Duration;

use gantry_api::status::ApiError;
use gantry_json::Value;
use gantry_store::{Entry, Error, Part, Replacement};

use super::Context;
use super::admit::Operation;
use super::precondition::MODIFIED;
use crate::admission::resource_quota;
use crate::services::{self, Claim};
use crate::trace;

/// How often a write is charged anew because a quota has changed.
const ATTEMPTS: usize = 64;

/// How bytes go into the store.
pub(super) enum Write<'a> {
    Create { key: &'a str, ttl: Option<Duration> },
    Update { key: &'a str, expected: u64 },
}

impl Context<'_> {
    /// The quotas that `object` is charged to, as they will be; an error where it does not fit.
    pub(super) fn charge(
        &self,
        operation: Operation,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<Vec<Replacement>, ApiError> {
        let namespace = self.namespace();
        let snapshot = self.server.store.snapshot();
        let quotas = || resource_quota::any(namespace, &snapshot);
        if namespace.is_empty() || !(self.server.admission.limits() || quotas()) {
            return Ok(Vec::new());
        }
        let request = self.admission_request(operation, std::mem::take(object), old);
        let charges = self.server.admission.charge(&request, &snapshot);
        *object = request.object;
        charges
    }

    /// Stores the bytes of `object`, and with them what its namespace's quotas are charged and the IPAddresses
    /// of what it claims; an error that names another key than the object's is about those. The object itself
    /// may be gone afterwards, unless it is `needed`.
    pub(super) async fn write_charged(
        &self,
        write: Write<'_>,
        bytes: Vec<u8>,
        object: &mut Value,
        needed: bool,
        old: Option<Value>,
        claim: Option<&Claim>,
    ) -> Result<Result<Arc<Entry>, Error>, ApiError> {
        let operation = if old.is_some() { Operation::Update } else { Operation::Create };
        let mut turn = None;
        for _ in 0..ATTEMPTS {
            let charges = self.charge(operation, object, old.as_ref())?;
            let mut along = match claim {
                Some(_) => services::parts(object, old.as_ref(), &self.server.store.snapshot()),
                None => Vec::new(),
            };
            if charges.is_empty() {
                // Another thread may go on when it is written, and whoever frees a tree that somebody else has
                // made pays most.
                drop(old);
                if !needed {
                    drop(std::mem::take(object));
                }
                return Ok(self.store(&write, bytes, along, claim).await);
            }
            if turn.is_none() {
                // While others had theirs, the quotas have changed.
                turn = Some(self.server.turns.take(self.namespace()).await);
                continue;
            }
            let keys: Vec<_> = charges.iter().map(|charge| charge.key.clone()).collect();
            along.extend(charges.into_iter().map(Part::from));
            match self.store(&write, bytes.clone(), along, claim).await {
                Err(Error::Conflict { key, .. } | Error::NotFound { key }) if keys.contains(&key) => {}
                outcome => return Ok(outcome),
            }
        }
        Err(self.conflict(MODIFIED))
    }

    /// What traces say of a write.
    pub(super) fn facts_of_write(&self, key: &str) -> trace::Facts {
        trace::facts(|audit_id| {
            let kind = trace::text("type", format!("{}.{}", self.kind.api_version(), self.kind.kind));
            let resource = trace::text("resource", super::resource(self.kind));
            vec![super::audited(audit_id), trace::text("key", key), kind, resource]
        })
    }

    async fn store(
        &self,
        write: &Write<'_>,
        bytes: Vec<u8>,
        along: Vec<Part>,
        claim: Option<&Claim>,
    ) -> Result<Arc<Entry>, Error> {
        let store = &self.server.store;
        let say = |writing| claim.into_iter().for_each(|claim| claim.set_writing(writing));
        say(true);
        let outcome = match *write {
            Write::Create { key, ttl } => {
                let facts = self.facts_of_write(key);
                let work = store.create_along(key, bytes, ttl, along);
                trace::step("Create storage", facts, work).await
            }
            Write::Update { key, expected } => {
                let facts = self.facts_of_write(key);
                let work = store.update_along(key, expected, bytes, along);
                trace::step("GuaranteedUpdate storage", facts, work).await
            }
        };
        say(false);
        outcome
    }
}
