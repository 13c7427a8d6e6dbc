//! Who owns whom, as the watches tell, and which objects a change makes worth looking at.
//!
//! The graph holds every object that has a uid, in as little memory as that takes: a pod of a
//! ReplicaSet needs about 300 bytes. It decides nothing alone: what it names is looked at live.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::core::TypeMeta;

use super::uid::Uid;

/// Held by an object that is to go after its dependents.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// Held by an object that is to go without its dependents.
pub(super) const ORPHAN: &str = "orphan";

/// Something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Work {
    /// See whether an object has to go, or can go.
    Examine(Uid),
    /// Take an object out of its dependents' references.
    Orphan(Uid),
}

impl std::fmt::Display for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Examine(uid) => write!(f, "{uid}"),
            Self::Orphan(uid) => write!(f, "{uid} (orphans)"),
        }
    }
}

/// What a change leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Do(Work),
    /// A reference names an owner that is in another namespace.
    Misplaced(Box<Misplaced>),
}

/// A reference that cannot be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misplaced {
    /// The object that has the reference.
    pub dependent: Item,
    /// Its uid.
    pub uid: Uid,
    /// What the reference names.
    pub owner: Item,
    /// The uid in the reference.
    pub owner_uid: Uid,
}

/// Where an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub types: TypeMeta,
    pub namespace: String,
    pub name: String,
}

impl std::fmt::Display for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { types, namespace, name } = self;
        let slash = if namespace.is_empty() { "" } else { "/" };
        write!(f, "{} {namespace}{slash}{name}", types.kind)
    }
}

/// What there is to do about an object.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// As far as the watches tell, nothing; a change will say when that is different.
    Nothing,
    /// It waits for its dependents. Those that it may not go before are named.
    Empty { item: Item, blockers: Vec<Uid> },
    /// Its owners have to be seen.
    Verify { item: Item, dependents: Dependents },
}

/// What is known of an object's dependents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Dependents {
    /// There are some.
    pub any: bool,
    /// Some wait for dependents of their own.
    pub waiting: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TypeId(u32);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Owner {
    uid: Uid,
    types: TypeId,
    name: Box<str>,
    /// Whether the owner may not go before.
    blocks: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Living,
    /// Deleted, and its dependents are no reason for it to be there still.
    Leaving,
    /// Deleted, and to be taken out of its dependents' references.
    Orphaning,
    /// Deleted, and to go after its dependents.
    Emptying,
}

impl Phase {
    fn of(meta: &ObjectMeta) -> Self {
        let holds = |name: &str| meta.finalizers.iter().flatten().any(|each| each == name);
        match meta.deletion_timestamp {
            None => Self::Living,
            Some(_) if holds(ORPHAN) => Self::Orphaning,
            Some(_) if holds(FOREGROUND) => Self::Emptying,
            Some(_) => Self::Leaving,
        }
    }
}

/// An object that a watch has shown.
#[derive(Debug)]
struct Seen {
    types: TypeId,
    phase: Phase,
    namespace: Arc<str>,
    name: Box<str>,
    owners: Box<[Owner]>,
}

/// An object, or one that is only named by others.
#[derive(Debug, Default)]
struct Node {
    seen: Option<Seen>,
    dependents: BTreeSet<Uid>,
}

/// The objects of the cluster and their owners.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: HashMap<Uid, Node>,
    types: Vec<TypeMeta>,
    type_ids: HashMap<TypeMeta, TypeId>,
    namespaces: HashSet<Arc<str>>,
}

impl Graph {
    /// Takes in an object's present state.
    pub fn apply(&mut self, types: &TypeMeta, meta: &ObjectMeta) -> Vec<Effect> {
        let Some(uid) = meta.uid.as_deref().map(Uid::of) else { return Vec::new() };
        let seen = self.seen(types, meta);
        let phase = seen.phase;
        let mut effects = Vec::new();
        let node = self.nodes.entry(uid).or_default();
        let old = node.seen.replace(seen);
        let dependents: Vec<Uid> = node.dependents.iter().copied().collect();
        if old.is_none() {
            for dependent in &dependents {
                self.doubt(*dependent, uid, &mut effects);
            }
        }
        let before = old.as_ref().map_or(Phase::Living, |old| old.phase);
        self.link(uid, old.map(|old| old.owners).unwrap_or_default(), &mut effects);
        if phase == before {
            return effects;
        }
        match phase {
            Phase::Orphaning => effects.push(Effect::Do(Work::Orphan(uid))),
            Phase::Emptying => {
                effects.extend(dependents.into_iter().map(|each| Effect::Do(Work::Examine(each))));
                effects.push(Effect::Do(Work::Examine(uid)));
            }
            Phase::Living | Phase::Leaving => {}
        }
        effects
    }

    /// Takes in that an object is gone.
    pub fn remove(&mut self, uid: Uid) -> Vec<Effect> {
        let mut effects = Vec::new();
        let Some(node) = self.nodes.get_mut(&uid) else { return effects };
        let Some(seen) = node.seen.take() else { return effects };
        effects.extend(node.dependents.iter().map(|each| Effect::Do(Work::Examine(*each))));
        self.tidy(uid);
        for owner in &seen.owners {
            self.unlink(uid, owner, &mut effects);
        }
        effects
    }

    /// Takes in that of the objects of one kind only those in `listed` are left.
    pub fn keep_only(&mut self, types: &TypeMeta, listed: &HashSet<Uid>) -> Vec<Effect> {
        let Some(types) = self.type_ids.get(types).copied() else { return Vec::new() };
        let of_type = |node: &Node| node.seen.as_ref().is_some_and(|seen| seen.types == types);
        let gone = self.nodes.iter().filter(|(uid, node)| of_type(node) && !listed.contains(uid));
        let gone: Vec<Uid> = gone.map(|(uid, _)| *uid).collect();
        let mut effects: Vec<Effect> = gone.into_iter().flat_map(|uid| self.remove(uid)).collect();
        // What came and went unseen between two lists may have been found by those it owned.
        let unseen = self.nodes.values().filter(|node| node.seen.is_none());
        effects.extend(unseen.flat_map(|node| &node.dependents).map(|uid| Effect::Do(Work::Examine(*uid))));
        effects
    }

    /// What there is to do about an object that was to be examined.
    pub fn task(&self, uid: Uid) -> Task {
        let Some(node) = self.nodes.get(&uid) else { return Task::Nothing };
        let Some(seen) = &node.seen else { return Task::Nothing };
        match seen.phase {
            Phase::Leaving | Phase::Orphaning => Task::Nothing,
            Phase::Emptying => {
                let blockers = self.blockers(uid).filter(|each| !self.waits_for(*each, uid)).collect();
                Task::Empty { item: self.item(seen), blockers }
            }
            Phase::Living => {
                if seen.owners.iter().all(|owner| self.stands(owner, &seen.namespace)) {
                    return Task::Nothing;
                }
                let dependents = Dependents {
                    any: !node.dependents.is_empty(),
                    waiting: node.dependents.iter().any(|each| self.is_emptying(*each)),
                };
                Task::Verify { item: self.item(seen), dependents }
            }
        }
    }

    /// The dependents before which an object may not go.
    fn blockers(&self, uid: Uid) -> impl Iterator<Item = Uid> {
        let dependents = self.nodes.get(&uid).into_iter().flat_map(|node| &node.dependents).copied();
        dependents.filter(move |dependent| {
            let seen = self.nodes.get(dependent).and_then(|node| node.seen.as_ref());
            let owners = seen.into_iter().flat_map(|seen| &seen.owners);
            owners.into_iter().any(|owner| owner.uid == uid && owner.blocks)
        })
    }

    /// Whether an object waits for `other`, by way of others that wait too: in a circle nobody would
    /// ever go first.
    fn waits_for(&self, uid: Uid, other: Uid) -> bool {
        let (mut known, mut next) = (HashSet::from([uid]), vec![uid]);
        while let Some(each) = next.pop() {
            if each == other {
                return true;
            }
            if self.is_emptying(each) {
                next.extend(self.blockers(each).filter(|blocker| known.insert(*blocker)));
            }
        }
        false
    }

    /// Whether an object waits for its dependents.
    pub fn is_emptying(&self, uid: Uid) -> bool {
        let seen = self.nodes.get(&uid).and_then(|node| node.seen.as_ref());
        seen.is_some_and(|seen| seen.phase == Phase::Emptying)
    }

    /// An object that is to be orphaned from, and what depends on it.
    pub fn orphaning(&self, uid: Uid) -> Option<(Item, Vec<(Uid, Item)>)> {
        let node = self.nodes.get(&uid)?;
        let seen = node.seen.as_ref().filter(|seen| seen.phase == Phase::Orphaning)?;
        let dependents = node.dependents.iter().filter_map(|each| {
            let seen = self.nodes.get(each)?.seen.as_ref()?;
            Some((*each, self.item(seen)))
        });
        Some((self.item(seen), dependents.collect()))
    }

    /// Whether the owner that a reference names is there, where the reference says it is, and is not
    /// waiting for its dependents.
    fn stands(&self, owner: &Owner, namespace: &str) -> bool {
        let seen = self.nodes.get(&owner.uid).and_then(|node| node.seen.as_ref());
        seen.is_some_and(|seen| names(owner, namespace, seen) && seen.phase != Phase::Emptying)
    }

    /// Writes an object's owners into the graph, in place of `old`.
    fn link(&mut self, uid: Uid, old: Box<[Owner]>, effects: &mut Vec<Effect>) {
        let Some(seen) = self.nodes.get(&uid).and_then(|node| node.seen.as_ref()) else { return };
        if seen.owners == old {
            return;
        }
        let (owners, namespace) = (seen.owners.clone(), seen.namespace.clone());
        for owner in &old {
            match owners.iter().find(|each| each.uid == owner.uid) {
                None => self.unlink(uid, owner, effects),
                Some(now) if owner.blocks && !now.blocks => self.unblock(owner, effects),
                Some(_) => {}
            }
        }
        for owner in &owners {
            self.nodes.entry(owner.uid).or_default().dependents.insert(uid);
        }
        if !owners.iter().all(|owner| self.stands(owner, &namespace)) {
            effects.push(Effect::Do(Work::Examine(uid)));
        }
        for owner in owners.iter().filter(|owner| !old.contains(owner)) {
            effects.extend(self.misplaced(uid, owner));
        }
    }

    fn unlink(&mut self, uid: Uid, owner: &Owner, effects: &mut Vec<Effect>) {
        if let Some(node) = self.nodes.get_mut(&owner.uid) {
            node.dependents.remove(&uid);
            self.unblock(owner, effects);
            self.tidy(owner.uid);
        }
    }

    /// An owner that waits for its dependents has one less.
    fn unblock(&self, owner: &Owner, effects: &mut Vec<Effect>) {
        if self.is_emptying(owner.uid) {
            effects.push(Effect::Do(Work::Examine(owner.uid)));
        }
    }

    /// An owner is seen for the first time: whoever names it elsewhere is to be examined.
    fn doubt(&self, dependent: Uid, owner: Uid, effects: &mut Vec<Effect>) {
        let Some(seen) = self.nodes.get(&dependent).and_then(|node| node.seen.as_ref()) else { return };
        for reference in seen.owners.iter().filter(|each| each.uid == owner) {
            if !self.stands(reference, &seen.namespace) {
                effects.push(Effect::Do(Work::Examine(dependent)));
            }
            effects.extend(self.misplaced(dependent, reference));
        }
    }

    fn misplaced(&self, uid: Uid, owner: &Owner) -> Option<Effect> {
        let dependent = self.nodes.get(&uid)?.seen.as_ref()?;
        let seen = self.nodes.get(&owner.uid)?.seen.as_ref()?;
        if seen.namespace.is_empty() || seen.namespace == dependent.namespace {
            return None;
        }
        let owner_item = Item {
            types: self.types[owner.types.0 as usize].clone(),
            namespace: dependent.namespace.to_string(),
            name: owner.name.to_string(),
        };
        let dependent = self.item(dependent);
        let misplaced = Misplaced { dependent, uid, owner: owner_item, owner_uid: owner.uid };
        Some(Effect::Misplaced(Box::new(misplaced)))
    }

    /// Forgets an object that was not seen and that nobody names.
    fn tidy(&mut self, uid: Uid) {
        if self.nodes.get(&uid).is_some_and(|node| node.seen.is_none() && node.dependents.is_empty()) {
            self.nodes.remove(&uid);
        }
    }

    fn item(&self, seen: &Seen) -> Item {
        Item {
            types: self.types[seen.types.0 as usize].clone(),
            namespace: seen.namespace.to_string(),
            name: seen.name.to_string(),
        }
    }

    fn seen(&mut self, types: &TypeMeta, meta: &ObjectMeta) -> Seen {
        let owners = meta.owner_references.iter().flatten();
        Seen {
            types: self.intern(types),
            phase: Phase::of(meta),
            namespace: self.namespace(meta.namespace.as_deref().unwrap_or_default()),
            name: meta.name.as_deref().unwrap_or_default().into(),
            owners: owners.map(|reference| self.owner(reference)).collect(),
        }
    }

    fn owner(&mut self, reference: &OwnerReference) -> Owner {
        let types = TypeMeta { api_version: reference.api_version.clone(), kind: reference.kind.clone() };
        Owner {
            uid: Uid::of(&reference.uid),
            types: self.intern(&types),
            name: reference.name.as_str().into(),
            blocks: reference.block_owner_deletion == Some(true),
        }
    }

    /// There are as many as kinds, and as misspelt kinds in references.
    fn intern(&mut self, types: &TypeMeta) -> TypeId {
        if let Some(known) = self.type_ids.get(types) {
            return *known;
        }
        let id = TypeId(self.types.len() as u32);
        self.types.push(types.clone());
        self.type_ids.insert(types.clone(), id);
        id
    }

    fn namespace(&mut self, name: &str) -> Arc<str> {
        self.namespaces.get(name).cloned().unwrap_or_else(|| {
            // Those of namespaces that are gone go when there are as many again.
            if self.namespaces.len().is_power_of_two() {
                self.namespaces.retain(|each| Arc::strong_count(each) > 1);
            }
            let name: Arc<str> = name.into();
            self.namespaces.insert(name.clone());
            name
        })
    }
}

/// Whether a reference of an object in `namespace` names `seen` where it is.
fn names(owner: &Owner, namespace: &str, seen: &Seen) -> bool {
    let near = seen.namespace.is_empty() || *seen.namespace == *namespace;
    near && owner.types == seen.types && owner.name == seen.name
}
