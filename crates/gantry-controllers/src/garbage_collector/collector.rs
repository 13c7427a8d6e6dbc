//! Carries out what the graph finds worth looking at, on live objects only.

use std::collections::HashSet;
use std::future::Future;

use gantry_client::{Failure, WorkQueue};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::PropagationPolicy;
use kube::core::TypeMeta;
use parking_lot::Mutex;

use super::graph::{Effect, FOREGROUND, Graph, Item, Misplaced, ORPHAN, Task, Work};
use super::uid::Uid;
use super::verdict::{Owner, Verdict, judge};

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// Until the API serves that kind there is nothing to find out.
    #[error("no matches for kind {} in version {}", .0.kind, .0.api_version)]
    Unmapped(TypeMeta),
    /// It will never be different.
    #[error("an object without a namespace names an owner in one")]
    NamespacedOwner,
    /// A request failed.
    #[error("{0}: {1}")]
    Failed(Item, Failure),
}

/// The live objects.
pub(super) trait Objects {
    /// The object at a place.
    fn get(&self, item: &Item) -> impl Future<Output = Result<Option<ObjectMeta>, Trouble>> + Send;
    /// Deletes an object as long as it is the one that `seen` is.
    fn delete(
        &self,
        item: &Item,
        seen: &ObjectMeta,
        policy: PropagationPolicy,
    ) -> impl Future<Output = Result<(), Trouble>> + Send;
    /// Changes an object's owners and finalizers to those in `wanted`, as long as it is what it was
    /// when that was read. One that is gone is as good.
    fn write(&self, item: &Item, wanted: &ObjectMeta) -> impl Future<Output = Result<(), Trouble>> + Send;
    /// Tells of a reference that cannot be.
    fn misplaced(&self, reference: &Misplaced);
}

/// The graph, what is to be done, and the objects.
pub(super) struct Collector<O> {
    pub objects: O,
    pub graph: Mutex<Graph>,
    pub queue: WorkQueue<Work>,
    /// Work that waits for a kind to be served.
    unmapped: Mutex<HashSet<Work>>,
}

impl<O: Objects> Collector<O> {
    pub fn new(objects: O) -> Self {
        Self { objects, graph: Mutex::default(), queue: WorkQueue::new(), unmapped: Mutex::default() }
    }

    /// Changes the graph, and queues what follows from that.
    pub fn change(&self, change: impl FnOnce(&mut Graph) -> Vec<Effect>) {
        let effects = change(&mut self.graph.lock());
        for effect in effects {
            match effect {
                Effect::Do(work) => self.queue.add(work),
                Effect::Misplaced(reference) => self.objects.misplaced(&reference),
            }
        }
    }

    /// Other kinds are served: what waited for that goes on.
    pub fn remap(&self) {
        for work in self.unmapped.lock().drain() {
            self.queue.add(work);
        }
    }

    /// Does one piece of work. An error means that it has to be done again.
    pub async fn work(&self, work: Work) -> Result<(), Failure> {
        let done = match work {
            Work::Examine(uid) => self.examine(uid).await,
            Work::Orphan(uid) => self.orphan(uid).await,
        };
        match done {
            Err(Trouble::Unmapped(_)) => {
                self.unmapped.lock().insert(work);
                Ok(())
            }
            Err(Trouble::NamespacedOwner) => Ok(()),
            done => Ok(done?),
        }
    }

    async fn examine(&self, uid: Uid) -> Result<(), Trouble> {
        let task = self.graph.lock().task(uid);
        let (Task::Empty { item, .. } | Task::Verify { item, .. }) = &task else { return Ok(()) };
        // One that is gone, or another of the same name: the watch will say so.
        let live = self.objects.get(item).await?;
        let Some(live) = live.filter(|live| is(live, uid)) else { return Ok(()) };
        match task {
            Task::Empty { item, blockers } if blockers.is_empty() => {
                self.let_go(&item, live, FOREGROUND).await
            }
            Task::Empty { blockers, .. } => {
                let graph = self.graph.lock();
                for blocker in blockers.into_iter().filter(|blocker| !graph.is_emptying(*blocker)) {
                    self.queue.add(Work::Examine(blocker));
                }
                Ok(())
            }
            Task::Verify { item, dependents } => {
                let references = live.owner_references.as_deref().unwrap_or_default();
                let mut owners = Vec::with_capacity(references.len());
                for reference in references {
                    owners.push(self.owner(&item, reference).await?);
                }
                let finalizers = live.finalizers.as_deref().unwrap_or_default();
                let verdict = judge(&owners, dependents, finalizers);
                self.execute(&item, live, &owners, verdict).await
            }
            Task::Nothing => Ok(()),
        }
    }

    async fn execute(
        &self,
        item: &Item,
        live: ObjectMeta,
        owners: &[Owner],
        verdict: Verdict,
    ) -> Result<(), Trouble> {
        match verdict {
            Verdict::Keep => Ok(()),
            Verdict::Release => {
                let references = live.owner_references.iter().flatten().zip(owners);
                let solid = references.filter(|(_, owner)| **owner == Owner::Solid);
                let left = solid.map(|(reference, _)| reference.clone()).collect();
                let wanted = ObjectMeta { owner_references: Some(left), ..live };
                self.objects.write(item, &wanted).await
            }
            Verdict::Follow { unblock: true } if blocks(&live) => {
                let mut wanted = live;
                for reference in wanted.owner_references.iter_mut().flatten() {
                    reference.block_owner_deletion = None;
                }
                // The watch shows the new references, and the object is examined once more.
                self.objects.write(item, &wanted).await
            }
            Verdict::Follow { .. } => self.objects.delete(item, &live, PropagationPolicy::Foreground).await,
            Verdict::Delete(policy) => self.objects.delete(item, &live, policy).await,
        }
    }

    /// How the owner that `reference` names is now.
    async fn owner(&self, item: &Item, reference: &OwnerReference) -> Result<Owner, Trouble> {
        let place = Item {
            types: TypeMeta { api_version: reference.api_version.clone(), kind: reference.kind.clone() },
            namespace: item.namespace.clone(),
            name: reference.name.clone(),
        };
        let live = self.objects.get(&place).await?;
        let Some(live) = live.filter(|live| live.uid.as_ref() == Some(&reference.uid)) else {
            return Ok(Owner::Absent);
        };
        let waits = live.deletion_timestamp.is_some()
            && live.finalizers.iter().flatten().any(|finalizer| finalizer == FOREGROUND);
        Ok(if waits { Owner::Waiting } else { Owner::Solid })
    }

    async fn orphan(&self, uid: Uid) -> Result<(), Trouble> {
        let Some((item, dependents)) = self.graph.lock().orphaning(uid) else { return Ok(()) };
        for (dependent, item) in dependents {
            let live = self.objects.get(&item).await?;
            let Some(mut wanted) = live.filter(|live| is(live, dependent)) else { continue };
            let references = wanted.owner_references.get_or_insert_default();
            let before = references.len();
            references.retain(|reference| Uid::of(&reference.uid) != uid);
            if references.len() < before {
                self.objects.write(&item, &wanted).await?;
            }
        }
        match self.objects.get(&item).await?.filter(|live| is(live, uid)) {
            Some(live) => self.let_go(&item, live, ORPHAN).await,
            None => Ok(()),
        }
    }

    /// Takes a finalizer off.
    async fn let_go(&self, item: &Item, live: ObjectMeta, finalizer: &str) -> Result<(), Trouble> {
        let mut wanted = live;
        let finalizers = wanted.finalizers.get_or_insert_default();
        let before = finalizers.len();
        finalizers.retain(|each| each != finalizer);
        if finalizers.len() == before {
            return Ok(());
        }
        self.objects.write(item, &wanted).await
    }
}

fn is(live: &ObjectMeta, uid: Uid) -> bool {
    live.uid.as_deref().map(Uid::of) == Some(uid)
}

fn blocks(live: &ObjectMeta) -> bool {
    live.owner_references.iter().flatten().any(|reference| reference.block_owner_deletion == Some(true))
}
