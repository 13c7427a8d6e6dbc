//! Deletes what is in a namespace, one resource after the other.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, PropagationPolicy};
use kube::core::{DynamicObject, ObjectMeta};
use kube::{Api, Client};

use super::conditions::Findings;
use crate::answer;
use crate::resources::{Discovered, Served};

/// Seconds after which to look again where only finalizers hold what is left.
const FINALIZERS: i64 = 15;

/// What is left after a round.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub findings: Findings,
    /// Seconds within which what is left is expected to be gone.
    pub estimate: i64,
}

/// Deletes everything in `namespace`: pods first, and the rest once they are gone, so that they
/// have what they need until their end.
pub(super) async fn delete_all(client: &Client, namespace: &str, found: &Discovered) -> Round {
    let mut round = Round::default();
    round.findings.undiscovered.clone_from(&found.failures);
    let deletable = found.resources.iter().filter(|served| served.namespaced && served.can(&["delete"]));
    let (pods, others): (Vec<_>, Vec<_>) =
        deletable.partition(|served| served.resource.group.is_empty() && served.resource.plural == "pods");
    for served in pods {
        delete_resource(client, namespace, served, &mut round).await;
    }
    if round.findings.remaining.is_empty() && round.findings.errors.is_empty() {
        for served in others {
            delete_resource(client, namespace, served, &mut round).await;
        }
    }
    round
}

async fn delete_resource(client: &Client, namespace: &str, served: &Served, round: &mut Round) {
    match delete_objects(client, namespace, served).await {
        Ok(left) => count(&left, served, namespace, Timestamp::now(), round),
        // The resource itself is gone, or it cannot do this.
        Err(error) if matches!(answer::code(&error), 404 | 405) => {}
        Err(error) => round.findings.errors.push(error.to_string()),
    }
}

/// Deletes the objects and returns the metadata of those that are left.
async fn delete_objects(client: &Client, namespace: &str, served: &Served) -> kube::Result<Vec<ObjectMeta>> {
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &served.resource);
    let list = async || -> kube::Result<Vec<ObjectMeta>> {
        let listed = api.list_metadata(&ListParams::default()).await?;
        Ok(listed.items.into_iter().map(|each| each.metadata).collect())
    };
    let params =
        DeleteParams { propagation_policy: Some(PropagationPolicy::Background), ..Default::default() };
    let lists = served.can(&["list"]);
    let there = if lists { list().await? } else { Vec::new() };
    if lists && there.is_empty() {
        return Ok(there);
    }
    if served.can(&["deletecollection"]) {
        api.delete_collection(&params, &ListParams::default()).await?;
    } else {
        for name in there.iter().filter_map(|meta| meta.name.as_deref()) {
            match api.delete(name, &params).await {
                Err(error) if answer::code(&error) != 404 => return Err(error),
                _ => {}
            }
        }
    }
    if lists { list().await } else { Ok(Vec::new()) }
}

/// Counts what is left of a resource.
fn count(left: &[ObjectMeta], served: &Served, namespace: &str, now: Timestamp, round: &mut Round) {
    if left.is_empty() {
        return;
    }
    let name = format!("{}.{}", served.resource.plural, served.resource.group);
    round.findings.remaining.insert(name, left.len());
    let mut finalizers: BTreeMap<String, usize> = BTreeMap::new();
    for finalizer in left.iter().flat_map(|meta| meta.finalizers.iter().flatten()) {
        *finalizers.entry(finalizer.clone()).or_default() += 1;
    }
    let grace = left.iter().filter_map(|meta| {
        meta.deletion_grace_period_seconds.filter(|grace| *grace > 0)?;
        Some((meta.deletion_timestamp.as_ref()?.0.as_second() - now.as_second()).max(1))
    });
    let estimate = match grace.max() {
        Some(grace) => grace,
        None if !finalizers.is_empty() => FINALIZERS,
        None => {
            let resource = served.described();
            round
                .findings
                .errors
                .push(format!("unexpected items still remain in namespace: {namespace} for gvr: {resource}"));
            0
        }
    };
    round.estimate = round.estimate.max(estimate);
    for (finalizer, count) in finalizers {
        *round.findings.finalizers.entry(finalizer).or_default() += count;
    }
}
