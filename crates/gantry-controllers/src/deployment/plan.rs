//! What to do about a Deployment, given what there is.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use gantry_json::Value;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::limits::{Limits, is_rolling};
use super::rollout::{Plot, Rollout};
use super::template::{self, HASH_LABEL};
use super::{proportional, recreate, revision, rolling, status};
use crate::claim::controller_reference;
use crate::replicaset::status::desired;

/// What a decision is made from.
pub struct Snapshot<'a> {
    /// The Deployment.
    pub deployment: &'a Deployment,
    /// Its ReplicaSets.
    pub sets: Vec<Arc<ReplicaSet>>,
    /// Uids of ReplicaSets of which a pod has not ended; looked at only where all pods are replaced at
    /// once.
    pub running: HashSet<String>,
    /// The time.
    pub now: Timestamp,
}

/// What to do, in this order.
#[derive(Debug)]
pub struct Plan {
    /// The ReplicaSet to create.
    pub create: Option<ReplicaSet>,
    /// Changes of ReplicaSets.
    pub updates: Vec<Update>,
    /// ReplicaSets to remove.
    pub delete: Vec<Arc<ReplicaSet>>,
    /// The Deployment's revision annotation.
    pub revision: Option<String>,
    /// The Deployment's status.
    pub status: DeploymentStatus,
    /// When to decide again although nothing has changed.
    pub again: Option<Duration>,
}

/// A change of a ReplicaSet.
#[derive(Debug)]
pub struct Update {
    /// Which.
    pub set: Arc<ReplicaSet>,
    /// A merge patch.
    pub patch: Value,
    /// Its size before and after, where that changes.
    pub scaled: Option<(i32, i32)>,
}

/// Decides about a Deployment.
pub fn plan(snapshot: Snapshot<'_>) -> Plan {
    let Snapshot { deployment, sets, running, now } = snapshot;
    let stored = deployment.status.clone().unwrap_or_default();
    let mut before = stored.clone();
    let mut rollout = assemble(deployment, sets);
    let ending = deployment.metadata.deletion_timestamp.is_some();
    let paused = deployment.spec.as_ref().and_then(|spec| spec.paused).unwrap_or(false);
    if !ending {
        status::note_pause(deployment, &mut before, now);
    }
    if let Some(new) = &mut rollout.new {
        revision::advance(deployment, new, &rollout.old);
        new.min_ready = deployment.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
        if status::deadline(deployment).is_some() && status::condition(&before, status::PROGRESSING).is_none()
        {
            let message = format!("Found new replica set {:?}", new.name());
            status::set(
                &mut before,
                status::made(status::PROGRESSING, "True", "FoundNewReplicaSet", message, now),
            );
        }
    }
    let mut rolls = false;
    let mut tidy = false;
    if ending {
    } else if paused || proportional::is_due(&rollout) {
        proportional::scale(&mut rollout);
        tidy = paused;
    } else {
        rolls = true;
        tidy = status::is_complete(deployment, &stored);
        let clear = is_rolling(deployment) || recreate::is_clear(&rollout, &running);
        if rollout.new.is_none() && clear {
            create(&mut rollout, &mut before, now);
        }
        match is_rolling(deployment) {
            true => rolling::advance(&mut rollout),
            false => recreate::advance(&mut rollout, clear),
        }
    }
    let mut new_status = status::counted(&rollout, &before, now);
    if rolls {
        status::judge(&rollout, &before, &mut new_status, now);
    }
    // A second later, since times in objects have whole seconds.
    let again = status::time_left(deployment, &new_status, now).filter(|_| rolls);
    let again = again.map(|left| left + Duration::from_secs(1));
    Plan {
        create: rollout.new.as_ref().filter(|_| rollout.creates).map(Plot::object),
        updates: updates(&rollout),
        delete: if tidy { surplus(&rollout) } else { Vec::new() },
        revision: rollout.new.as_ref().and_then(|new| new.annotations.get(revision::REVISION).cloned()),
        status: new_status,
        again,
    }
}

/// Finds the ReplicaSet of the Deployment's template; where several have it, the oldest.
fn assemble(deployment: &Deployment, sets: Vec<Arc<ReplicaSet>>) -> Rollout<'_> {
    let mut old: Vec<_> = sets.into_iter().map(Plot::of).collect();
    old.sort_by(|a, b| a.age().cmp(&b.age()));
    let template = deployment.spec.as_ref().map(|spec| &spec.template);
    let same = |plot: &Plot| {
        let own = plot.set.spec.as_ref().and_then(|spec| spec.template.as_ref());
        own.zip(template).is_some_and(|(own, template)| template::same(own, template))
    };
    let new = old.iter().position(same).map(|at| old.remove(at));
    Rollout { deployment, limits: Limits::of(deployment), new, creates: false, old }
}

/// Plans a ReplicaSet for the Deployment's template.
fn create(rollout: &mut Rollout<'_>, status: &mut DeploymentStatus, now: Timestamp) {
    let deployment = rollout.deployment;
    let Some(spec) = &deployment.spec else { return };
    let name = deployment.metadata.name.as_deref().unwrap_or_default();
    let hash = template::hash(&spec.template, status.collision_count);
    let mut pods = spec.template.clone();
    let labels = pods.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(HASH_LABEL.into(), hash.clone());
    let labels = labels.clone();
    let mut selector = spec.selector.clone();
    selector.match_labels.get_or_insert_default().insert(HASH_LABEL.into(), hash.clone());
    let set = ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{name}-{hash}")),
            namespace: deployment.metadata.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![controller_reference(deployment)]),
            ..Default::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(0),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(pods),
        }),
        status: None,
    };
    let mut new = Plot::of(Arc::new(set));
    revision::advance(deployment, &mut new, &rollout.old);
    // Its annotations say the Deployment's size also where it starts without pods.
    new.scale(0, &rollout.limits);
    if status::deadline(deployment).is_some() {
        let message = format!("Created new replica set {:?}", new.name());
        status::set(status, status::made(status::PROGRESSING, "True", "NewReplicaSetCreated", message, now));
    }
    rollout.new = Some(new);
    rollout.creates = true;
}

/// The changes of the ReplicaSets that exist, the new one's first.
fn updates(rollout: &Rollout<'_>) -> Vec<Update> {
    let new = rollout.new.iter().filter(|_| !rollout.creates);
    let changed = new.chain(&rollout.old).filter_map(|plot| {
        let patch = plot.patch()?;
        let before = desired(&plot.set);
        let scaled = (before != plot.replicas).then_some((before, plot.replicas));
        Some(Update { set: plot.set.clone(), patch, scaled })
    });
    changed.collect()
}

/// The old ReplicaSets beyond the history limit, earliest revisions first. One that has pods, or of
/// which that is not known for sure, stays.
fn surplus(rollout: &Rollout<'_>) -> Vec<Arc<ReplicaSet>> {
    let limit = rollout.deployment.spec.as_ref().and_then(|spec| spec.revision_history_limit);
    let Some(limit) = limit.filter(|limit| *limit != i32::MAX) else { return Vec::new() };
    let mut old: Vec<_> =
        rollout.old.iter().filter(|plot| plot.set.metadata.deletion_timestamp.is_none()).collect();
    old.sort_by_key(|plot| revision::revision(&plot.annotations));
    let excess = old.len().saturating_sub(usize::try_from(limit).unwrap_or_default());
    let empty = |plot: &&Plot| {
        let observed = plot.set.status.as_ref().and_then(|status| status.observed_generation);
        plot.replicas == 0
            && desired(&plot.set) == 0
            && plot.actual() == 0
            && plot.set.metadata.generation <= observed
    };
    old.into_iter().take(excess).filter(empty).map(|plot| plot.set.clone()).collect()
}

#[cfg(test)]
mod tests;
