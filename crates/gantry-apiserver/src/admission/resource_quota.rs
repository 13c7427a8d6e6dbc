//! ResourceQuota: what a namespace uses stays within its quotas.
//!
//! Flow: after every other plugin has agreed, [`charge`] compares what a write would use with all quotas
//! of the namespace. It refuses, or gives the quotas' new statuses, which are written in the same commit as
//! the object and only if no quota has changed since.
//!
//! Guarantees: no number of writers at once exceeds a quota, and a write that fails uses nothing. Whoever
//! counts what is there and writes it with the quota's resource version has counted every object that the
//! quota was charged for. What deleted objects have used is given back by the quota controller.

mod limits;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use gantry_api::pod_resources::{self, ResourceList};
use gantry_api::quantity::{Format, Quantity};
use gantry_api::quota::{Resource, in_scope, missing, shown};
use gantry_api::status::ApiError;
use gantry_json::Value;
use gantry_store::{Replacement, Snapshot};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use super::{Operation, Request, text};
use crate::storage;
pub(super) use limits::Limits;

/// What configuration and logs call it.
pub(crate) const NAME: &str = "ResourceQuota";

fn quotas_of(namespace: &str) -> String {
    format!("{}{namespace}/", storage::prefix("", "resourcequotas"))
}

/// Whether a namespace has quotas.
pub(crate) fn any(namespace: &str, snapshot: &Snapshot) -> bool {
    !namespace.is_empty() && snapshot.range(&quotas_of(namespace), None).next().is_some()
}

/// The quotas of a namespace that a write changes, as they will be. What `limits` name may be used only where
/// a quota speaks of it.
pub(super) fn charge(
    request: &Request<'_>,
    snapshot: &Snapshot,
    limits: &Limits,
) -> Result<Vec<Replacement>, ApiError> {
    let resource = Resource::new(request.group, request.resource);
    if !concerns(request, resource) {
        return Ok(Vec::new());
    }
    let prefix = quotas_of(request.namespace);
    let entries = snapshot.range(&prefix, None);
    let mut quotas: Vec<(Replacement, Value)> = Vec::new();
    for entry in entries {
        let quota: Value = gantry_json::from_slice(&entry.value).map_err(ApiError::internal)?;
        let unchanged =
            Replacement { key: entry.key.clone(), expected: entry.mod_revision, value: Vec::new() };
        quotas.push((unchanged, quota));
    }
    if quotas.is_empty() && limits.is_empty() {
        return Ok(Vec::new());
    }
    let known = quotas.iter().map(|(_, quota)| quota);
    let charges = charges(request, resource, known, limits, Timestamp::now());
    let charges = charges.map_err(|why| request.forbidden(why))?;
    let mut changed = Vec::new();
    for ((mut replacement, mut quota), used) in quotas.into_iter().zip(charges) {
        let Some(used) = used else { continue };
        let used = used.into_iter().map(|(name, amount)| (name, amount.to_string().into()));
        quota["status"]["used"] = Value::Object(used.collect());
        replacement.value = storage::encode(&quota);
        changed.push(replacement);
    }
    Ok(changed)
}

fn concerns(request: &Request<'_>, resource: Resource<'_>) -> bool {
    if request.namespace.is_empty() || resource.is_ignored() {
        return false;
    }
    match (request.operation, request.old) {
        (Operation::Create, _) => request.subresource.is_empty(),
        (Operation::Update, Some(old)) => resource.changes(request.subresource, &request.object, old),
        _ => false,
    }
}

/// For each quota what would be used, where that changes; or why the write is refused.
fn charges<'q>(
    request: &Request<'_>,
    resource: Resource<'_>,
    quotas: impl Iterator<Item = &'q Value> + Clone,
    limits: &Limits,
    now: Timestamp,
) -> Result<Vec<Option<ResourceList>>, String> {
    let object = &request.object;
    let mut charges = Vec::new();
    let mut usage = None;
    let mut spoken_of = BTreeSet::new();
    for quota in quotas.clone() {
        let name = text(quota, "/metadata/name");
        let hard = pod_resources::read(&quota["status"]["hard"]);
        let limited: Vec<&str> =
            hard.keys().map(String::as_str).filter(|name| resource.matches(name)).collect();
        if limited.is_empty() || !in_scope(quota, resource, object) {
            charges.push(None);
            continue;
        }
        if (resource.group, resource.plural) == ("", "pods")
            && let Some(why) = missing(limited.iter().copied(), object)
        {
            return Err(format!("failed quota: {name}: {why}"));
        }
        let used = pod_resources::read(&quota["status"]["used"]);
        if limited.iter().any(|name| !used.contains_key(*name)) {
            return Err(format!("status unknown for quota: {name}, resources: {}", limited.join(",")));
        }
        spoken_of.extend(limited.iter().map(|name| (*name).to_owned()));
        let usage = match &usage {
            Some(usage) => usage,
            None => usage.insert(asked(resource, object, now)?),
        };
        let before = request.old.filter(|old| in_scope(quota, resource, old));
        let before = before.map(|old| resource.usage(old, now)).unwrap_or_default();
        let delta = grown(usage, &before);
        charges.push(charged(name, &delta, &hard, used, request.subresource == "status")?);
    }
    if !limits.is_empty() {
        let usage = match usage {
            Some(usage) => usage,
            None => asked(resource, object, now)?,
        };
        let before = request.old.map(|old| resource.usage(old, now)).unwrap_or_default();
        if !grown(&usage, &before).is_empty() {
            covered(limits, resource, object, &usage, &spoken_of, quotas)?;
        }
    }
    Ok(charges)
}

/// An error where something is used that no quota speaks of, although one has to.
fn covered<'q>(
    limits: &Limits,
    resource: Resource<'_>,
    object: &Value,
    usage: &ResourceList,
    spoken_of: &BTreeSet<String>,
    quotas: impl Iterator<Item = &'q Value> + Clone,
) -> Result<(), String> {
    let names = limits.names(resource, usage);
    let names: Vec<&str> = names.into_iter().filter(|name| !spoken_of.contains(*name)).collect();
    if !names.is_empty() {
        return Err(format!("insufficient quota to consume: {}", names.join(",")));
    }
    let scopes = limits::uncovered(limits.scopes(resource, object), quotas, resource, object);
    if !scopes.is_empty() {
        let scopes: Vec<String> = scopes.iter().map(ToString::to_string).collect();
        return Err(format!("insufficient quota to match these scopes: [{}]", scopes.join(" ")));
    }
    Ok(())
}

/// What the object uses.
fn asked(resource: Resource<'_>, object: &Value, now: Timestamp) -> Result<ResourceList, String> {
    let usage = resource.usage(object, now);
    let negative: Vec<&str> =
        usage.iter().filter(|(_, amount)| amount.is_negative()).map(|(name, _)| name.as_str()).collect();
    match negative.as_slice() {
        [] => Ok(usage),
        names => Err(format!("quota usage is negative for resource(s): {}", names.join(","))),
    }
}

/// What is used more than before. What is used less, the controller gives back.
fn grown(usage: &ResourceList, before: &ResourceList) -> ResourceList {
    let more = usage.iter().map(|(name, amount)| {
        let before = before.get(name).copied().unwrap_or(Quantity::from_value(0, Format::DecimalSi));
        (name.clone(), *amount - before)
    });
    more.filter(|(_, amount)| !amount.is_zero() && !amount.is_negative()).collect()
}

/// What is used with `delta`; `None` where it makes no difference. What has come to be, as a status tells,
/// is counted whether it fits or not.
fn charged(
    quota: &str,
    delta: &ResourceList,
    hard: &ResourceList,
    used: ResourceList,
    has_happened: bool,
) -> Result<Option<ResourceList>, String> {
    let requested: ResourceList = delta
        .iter()
        .filter(|(name, _)| hard.contains_key(*name))
        .map(|(name, amount)| (name.clone(), *amount))
        .collect();
    if requested.is_empty() {
        return Ok(None);
    }
    let mut new = used.clone();
    pod_resources::add(&mut new, &requested);
    let exceeded = |name: &String| new[name] > hard[name];
    let only = |amounts: &ResourceList| -> ResourceList {
        let exceeding = requested.keys().filter(|name| exceeded(name));
        exceeding.filter_map(|name| Some((name.clone(), *amounts.get(name)?))).collect()
    };
    if !has_happened && requested.keys().any(exceeded) {
        return Err(format!(
            "exceeded quota: {quota}, requested: {}, used: {}, limited: {}",
            shown(&only(&requested)),
            shown(&only(&used)),
            shown(&only(hard))
        ));
    }
    Ok(Some(new))
}

/// Who writes in a namespace with quotas does so one after the other: it would only have to be done again.
#[derive(Default)]
pub(crate) struct Turns(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// Waits for the turn of a writer in `namespace`.
    pub async fn take(&self, namespace: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut all = self.0.lock();
            // A namespace where nobody writes needs no line.
            all.retain(|_, turn| Arc::strong_count(turn) > 1);
            all.entry(namespace.to_owned()).or_default().clone()
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests;
