//! The collector against a cluster in memory, whose watches lag as chance has it.

use std::collections::{BTreeMap, HashMap, VecDeque};

use futures::FutureExt;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::api::PropagationPolicy;
use kube::core::TypeMeta;
use parking_lot::Mutex;
use proptest::prelude::*;

use super::collector::{Collector, Objects, Trouble};
use super::graph::{FOREGROUND, Item, Misplaced, ORPHAN};
use super::uid::Uid;

/// As many kinds, each with a watch of its own.
const KINDS: usize = 3;

/// What a watch shows: a state, or that the object with this uid is gone.
enum Shown {
    Applied(Box<ObjectMeta>),
    Gone(String),
}

#[derive(Default)]
struct Cluster {
    objects: Mutex<BTreeMap<usize, ObjectMeta>>,
    shown: Mutex<[VecDeque<Shown>; KINDS]>,
    versions: Mutex<u64>,
    misplaced: Mutex<Vec<String>>,
}

fn types(id: usize) -> TypeMeta {
    TypeMeta { api_version: "v1".into(), kind: format!("K{}", id % KINDS) }
}

fn reference(id: usize, blocks: bool) -> OwnerReference {
    let TypeMeta { api_version, kind } = types(id);
    let (name, uid) = (id.to_string(), id.to_string());
    OwnerReference {
        api_version,
        kind,
        name,
        uid,
        block_owner_deletion: Some(blocks),
        ..OwnerReference::default()
    }
}

impl Cluster {
    fn store(&self, id: usize, mut meta: ObjectMeta) {
        let finalizers = meta.finalizers.as_deref().unwrap_or_default();
        let shown = if meta.deletion_timestamp.is_some() && finalizers.is_empty() {
            self.objects.lock().remove(&id);
            Shown::Gone(id.to_string())
        } else {
            *self.versions.lock() += 1;
            meta.resource_version = Some(self.versions.lock().to_string());
            self.objects.lock().insert(id, meta.clone());
            Shown::Applied(Box::new(meta))
        };
        self.shown.lock()[id % KINDS].push_back(shown);
    }

    fn create(&self, id: usize, owners: &[(usize, bool)]) {
        let owners = owners.iter().map(|(owner, blocks)| reference(*owner, *blocks)).collect();
        let (name, uid) = (Some(id.to_string()), Some(id.to_string()));
        let meta = ObjectMeta { name, uid, owner_references: Some(owners), ..ObjectMeta::default() };
        self.store(id, meta);
    }

    fn remove(&self, id: usize, policy: &PropagationPolicy) {
        let Some(mut meta) = self.objects.lock().get(&id).cloned() else { return };
        let finalizers = meta.finalizers.get_or_insert_default();
        finalizers.retain(|each| each != FOREGROUND && each != ORPHAN);
        match policy {
            PropagationPolicy::Orphan => finalizers.push(ORPHAN.into()),
            PropagationPolicy::Foreground => finalizers.push(FOREGROUND.into()),
            PropagationPolicy::Background => {}
        }
        meta.deletion_timestamp.get_or_insert(Time(Timestamp::UNIX_EPOCH));
        self.store(id, meta);
    }

    fn own(&self, id: usize, owners: &[(usize, bool)]) {
        let Some(mut meta) = self.objects.lock().get(&id).cloned() else { return };
        if meta.deletion_timestamp.is_none() {
            meta.owner_references = Some(owners.iter().map(|(id, blocks)| reference(*id, *blocks)).collect());
            self.store(id, meta);
        }
    }

    fn holds(&self, id: &str) -> bool {
        let objects = self.objects.lock();
        let owner = id.parse().ok().and_then(|id: usize| objects.get(&id));
        owner.is_some_and(|owner| {
            let waits = owner.finalizers.iter().flatten().any(|each| each == FOREGROUND);
            owner.deletion_timestamp.is_none() || !waits
        })
    }

    fn is_current(&self, item: &Item, seen: &ObjectMeta) -> Result<(), Trouble> {
        let objects = self.objects.lock();
        let current = item.name.parse().ok().and_then(|id: usize| objects.get(&id)?.resource_version.clone());
        match current == seen.resource_version {
            true => Ok(()),
            false => Err(Trouble::Failed(item.clone(), "it has changed".into())),
        }
    }
}

impl Objects for Cluster {
    async fn get(&self, item: &Item) -> Result<Option<ObjectMeta>, Trouble> {
        let id = item.name.parse().expect("a number");
        Ok(self.objects.lock().get(&id).filter(|_| types(id) == item.types).cloned())
    }

    async fn delete(&self, item: &Item, seen: &ObjectMeta, policy: PropagationPolicy) -> Result<(), Trouble> {
        self.is_current(item, seen)?;
        let owners = seen.owner_references.as_deref().unwrap_or_default();
        assert!(!owners.is_empty(), "{item} belongs to nobody");
        assert!(!owners.iter().any(|owner| self.holds(&owner.uid)), "{item} has an owner");
        self.remove(item.name.parse().expect("a number"), &policy);
        Ok(())
    }

    async fn write(&self, item: &Item, wanted: &ObjectMeta) -> Result<(), Trouble> {
        self.is_current(item, wanted)?;
        self.store(item.name.parse().expect("a number"), wanted.clone());
        Ok(())
    }

    fn misplaced(&self, reference: &Misplaced) {
        self.misplaced.lock().push(format!("{} by {}", reference.owner, reference.dependent));
    }
}

/// What happens.
#[derive(Debug, Clone)]
enum Step {
    Create(Vec<(usize, bool)>),
    Own(usize, Vec<(usize, bool)>),
    Delete(usize, PropagationPolicy),
    /// A watch shows its next event.
    Show(usize),
    Work,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let owners = || proptest::collection::vec((0_usize..14, any::<bool>()), 0..3);
    let policies = [PropagationPolicy::Background, PropagationPolicy::Foreground, PropagationPolicy::Orphan];
    let step = prop_oneof![
        3 => owners().prop_map(Step::Create),
        1 => (0_usize..12, owners()).prop_map(|(id, owners)| Step::Own(id, owners)),
        2 => (0_usize..12, proptest::sample::select(policies.to_vec()))
            .prop_map(|(id, policy)| Step::Delete(id, policy)),
        6 => (0..KINDS).prop_map(Step::Show),
        4 => Just(Step::Work),
    ];
    proptest::collection::vec(step, 0..80)
}

fn show(collector: &Collector<Cluster>, kind: usize) -> bool {
    let Some(shown) = collector.objects.shown.lock()[kind].pop_front() else { return false };
    collector.change(|graph| match shown {
        Shown::Applied(meta) => graph.apply(&types(kind), &meta),
        Shown::Gone(uid) => graph.remove(Uid::of(&uid)),
    });
    true
}

fn work(collector: &Collector<Cluster>) -> bool {
    if collector.queue.is_empty() {
        return false;
    }
    let work = collector.queue.next().now_or_never().flatten().expect("something to do");
    if collector.work(work).now_or_never().expect("nothing to wait for").is_err() {
        collector.queue.add(work);
    }
    collector.queue.done(&work);
    true
}

fn settle(collector: &Collector<Cluster>) {
    for round in 0.. {
        assert!(round < 10_000, "it does not come to an end");
        let shown = (0..KINDS).fold(false, |any, kind| show(collector, kind) | any);
        if !work(collector) && !shown {
            return;
        }
    }
}

fn run(steps: &[Step]) -> Collector<Cluster> {
    let collector = Collector::new(Cluster::default());
    let mut ids = 0;
    for step in steps {
        let cluster = &collector.objects;
        match step {
            Step::Create(owners) => {
                cluster.create(ids, owners);
                ids += 1;
            }
            Step::Own(id, owners) => cluster.own(*id, owners),
            Step::Delete(id, policy) => cluster.remove(*id, policy),
            Step::Show(kind) => {
                show(&collector, *kind);
            }
            Step::Work => {
                work(&collector);
            }
        }
    }
    settle(&collector);
    collector
}

proptest! {
    /// Whatever happens and however late it is seen: what has an owner stays, and in the end nothing
    /// names an owner that is gone and nothing that is deleted is there.
    #[test]
    fn all_garbage_and_only_garbage_goes(steps in steps()) {
        let collector = run(&steps);
        let objects = collector.objects.objects.lock();
        let owners: HashMap<usize, Vec<usize>> = objects.iter().map(|(id, meta)| {
            let owners = meta.owner_references.iter().flatten();
            (*id, owners.map(|owner| owner.uid.parse().expect("a number")).collect())
        }).collect();
        for (id, meta) in objects.iter() {
            prop_assert!(meta.deletion_timestamp.is_none(), "{id} is stuck");
            prop_assert!(owners[id].iter().all(|owner| owners.contains_key(owner)), "{id} has lost an owner");
        }
    }
}

#[test]
fn each_policy_does_what_it_says() {
    let check = |policy, expect: &[(usize, usize)]| {
        let collector = run(&[
            Step::Create(vec![]),
            Step::Create(vec![(0, true)]),
            Step::Create(vec![(1, true)]),
            Step::Create(vec![(1, false), (4, true)]),
            Step::Create(vec![]),
        ]);
        // One named its owner before there was one.
        assert_eq!(collector.objects.objects.lock().len(), 5);
        collector.objects.remove(1, &policy);
        settle(&collector);
        let objects = collector.objects.objects.lock();
        let left: Vec<_> = objects
            .iter()
            .map(|(id, meta)| (*id, meta.owner_references.as_ref().map_or(0, Vec::len)))
            .collect();
        assert_eq!(left, expect, "{policy:?}");
    };
    check(PropagationPolicy::Background, &[(0, 0), (3, 1), (4, 0)]);
    check(PropagationPolicy::Foreground, &[(0, 0), (3, 1), (4, 0)]);
    check(PropagationPolicy::Orphan, &[(0, 0), (2, 0), (3, 1), (4, 0)]);
}

#[test]
fn the_owner_waits_for_those_that_block_it_alone() {
    let collector =
        run(&[Step::Create(vec![]), Step::Create(vec![(0, true)]), Step::Create(vec![(0, false)])]);
    collector.objects.remove(0, &PropagationPolicy::Foreground);
    let order =
        |collector: &Collector<Cluster>| collector.objects.objects.lock().keys().copied().collect::<Vec<_>>();
    while show(&collector, 0) {}
    let mut seen = vec![order(&collector)];
    while work(&collector) || (0..KINDS).any(|kind| show(&collector, kind)) {
        if seen.last() != Some(&order(&collector)) {
            seen.push(order(&collector));
        }
    }
    let at = |gone: usize| seen.iter().position(|left| !left.contains(&gone)).expect("it goes");
    assert!(at(1) < at(0), "{seen:?}");
}

#[test]
fn an_owner_in_another_namespace_is_told_and_is_none() {
    let collector = Collector::new(Cluster::default());
    let object = |id: usize, namespace: &str, owners: Vec<OwnerReference>| ObjectMeta {
        namespace: Some(namespace.into()),
        name: Some(id.to_string()),
        uid: Some(id.to_string()),
        owner_references: Some(owners),
        ..ObjectMeta::default()
    };
    let near = object(1, "a", vec![reference(0, false)]);
    collector.change(|graph| graph.apply(&types(1), &near));
    collector.change(|graph| graph.apply(&types(0), &object(0, "b", Vec::new())));
    collector.change(|graph| graph.apply(&types(2), &object(2, "a", vec![reference(0, false)])));
    assert_eq!(*collector.objects.misplaced.lock(), ["K0 a/0 by K1 a/1", "K0 a/0 by K2 a/2"]);
    assert_eq!(collector.queue.len(), 2, "both are to be examined");
}
