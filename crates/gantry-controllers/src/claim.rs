//! Which objects belong to a controller: those its selector matches and that no other controller owns.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::Arc;

use gantry_client::{Cached, Change, Informer, Meta, ObjectKey, PodView};
use gantry_json::json;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::api::{Patch, PatchParams};
use kube::core::{Selector, SelectorExt};
use kube::{Api, Client, Resource, ResourceExt};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use crate::writes::MANAGER;

/// The owner reference that makes its object an object's controller.
pub fn controller_of(meta: &dyn Meta) -> Option<&OwnerReference> {
    meta.owner_references().iter().find(|owner| owner.controller == Some(true))
}

/// The owner reference that names `owner` as the controller.
pub fn controller_reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.name_any(),
        uid: owner.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Whether `selector` matches the labels of `meta`.
pub fn selects(selector: &Selector, meta: &dyn Meta) -> bool {
    match meta.labels() {
        Some(labels) => selector.matches(labels),
        None => selector.matches(&BTreeMap::new()),
    }
}

/// What a controller does about the objects around it.
#[derive(Debug)]
pub struct Claims<T> {
    /// Its own already, and selected.
    pub owned: Vec<Arc<T>>,
    /// Selected, and nobody's yet.
    pub adopt: Vec<Arc<T>>,
    /// Its own, but no longer selected.
    pub release: Vec<Arc<T>>,
}

/// Sorts the objects that `owner` controls and those of its namespace that nobody does. An owner that
/// is being deleted neither adopts nor releases; an object that is being deleted is not adopted.
pub fn claims<T: Cached>(
    owner: &ObjectMeta,
    selector: &Selector,
    controlled: Vec<Arc<T>>,
    orphans: Vec<Arc<T>>,
) -> Claims<T> {
    let (owned, mut release): (Vec<_>, Vec<_>) =
        controlled.into_iter().partition(|object| selects(selector, object.meta()));
    let mut adopt = orphans;
    adopt.retain(|object| {
        let meta = object.meta();
        controller_of(meta).is_none() && meta.deletion_timestamp().is_none() && selects(selector, meta)
    });
    if owner.deletion_timestamp.is_some() {
        adopt.clear();
        release.clear();
    }
    Claims { owned, adopt, release }
}

/// Why objects could not be adopted or released.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// The owner was deleted, or replaced by another of its name.
    #[error("{0} has just been deleted and adopts nothing")]
    Gone(ObjectKey),
    /// The API refused.
    #[error("owner reference of {object}: {source}")]
    Api {
        /// The object that was to change hands.
        object: ObjectKey,
        /// Why it did not.
        source: kube::Error,
    },
}

/// Carries `claims` out for `owner` and gives what it owns then. Before the first adoption the owner
/// is read from the API itself: what the informer shows may be gone already. What is adopted gets the
/// `finalizer`, where there is one, and what is released loses it.
pub async fn settle<O, T>(
    client: &Client,
    owner: &O,
    claims: Claims<T>,
    finalizer: Option<&str>,
) -> Result<Vec<Arc<T>>, ClaimError>
where
    O: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    T: Cached,
    T::Object: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let namespace = owner.namespace().unwrap_or_default();
    let api: Api<T::Object> = Api::namespaced(client.clone(), &namespace);
    let params = PatchParams { field_manager: Some(MANAGER.into()), ..Default::default() };
    let change = async |object: &T, owners: gantry_json::Value, finalizers: &str| {
        let meta = object.meta();
        let mut patch = json!({"metadata": {"uid": meta.uid(), "ownerReferences": [owners]}});
        if let Some(finalizer) = finalizer {
            patch["metadata"][finalizers] = json!([finalizer]);
        }
        let name = meta.name().unwrap_or_default();
        match api.patch(name, &params, &Patch::Strategic(&patch)).await {
            Ok(changed) => Ok(Some(changed)),
            // Gone, or another object of that name.
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_invalid() => Ok(None),
            Err(source) => Err(ClaimError::Api { object: ObjectKey::of(meta), source }),
        }
    };
    let Claims { mut owned, adopt, release } = claims;
    let uid = owner.uid().unwrap_or_default();
    for object in release {
        let owner = json!({"$patch": "delete", "uid": uid});
        change(&object, owner, "$deleteFromPrimitiveList/finalizers").await?;
    }
    if !adopt.is_empty() {
        let owners: Api<O> = Api::namespaced(client.clone(), &namespace);
        let key = ObjectKey::of(owner.meta());
        let found = owners
            .get_opt(&key.name)
            .await
            .map_err(|source| ClaimError::Api { object: key.clone(), source })?;
        let alive = |found: &O| found.meta().deletion_timestamp.is_none() && found.uid() == owner.uid();
        if !found.is_some_and(|found| alive(&found)) {
            return Err(ClaimError::Gone(key));
        }
    }
    let reference = json!(controller_reference(owner));
    for object in adopt {
        if let Some(adopted) = change(&object, reference.clone(), "finalizers").await? {
            owned.push(Arc::new(T::from_object(adopted)));
        }
    }
    Ok(owned)
}

/// The pods of `owner`, after those that `selector` and `fits` say were adopted and released.
pub async fn pods_of<O>(
    client: &Client,
    owner: &O,
    selector: &LabelSelector,
    (pods, orphans): (&Informer<PodView>, &Orphans),
    finalizer: Option<&str>,
    fits: impl Fn(&PodView) -> bool,
) -> Result<Vec<Arc<PodView>>, ClaimError>
where
    O: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let controlled = pods.controlled_by(owner.meta().uid.as_deref().unwrap_or_default());
    // A selector that selects everything is never meant.
    let selector = Selector::try_from(selector.clone()).ok().filter(|selector| !selector.selects_all());
    let Some(selector) = selector else { return Ok(controlled) };
    let namespace = owner.namespace().unwrap_or_default();
    let orphans =
        orphans.of(&namespace).iter().filter_map(|key| pods.get(key)).filter(|pod| fits(pod)).collect();
    settle(client, owner, claims(owner.meta(), &selector, controlled, orphans), finalizer).await
}

/// The objects that have no controller, by namespace: what may be adopted, without a look at all the
/// others.
#[derive(Default)]
pub struct Orphans(Mutex<HashMap<String, BTreeSet<String>>>);

impl Orphans {
    /// Takes note of an object as it is now; whether it is an orphan.
    pub fn note(&self, meta: &dyn Meta, exists: bool) -> bool {
        let key = ObjectKey::of(meta);
        let orphan = exists && controller_of(meta).is_none();
        let mut all = self.0.lock();
        if orphan {
            all.entry(key.namespace).or_default().insert(key.name);
        } else if let Some(names) = all.get_mut(&key.namespace) {
            names.remove(&key.name);
            if names.is_empty() {
                all.remove(&key.namespace);
            }
        }
        orphan
    }

    /// The owners that a change of a pod concerns: those that it has and had by `owner`, and, where it has
    /// no controller, those in `owners` whose selector it matches.
    pub fn concerned<O>(
        &self,
        change: &Change<PodView>,
        owner: fn(&dyn Meta) -> Option<&OwnerReference>,
        owners: &Informer<O>,
        selector: impl Fn(&O) -> Option<LabelSelector>,
    ) -> Vec<ObjectKey>
    where
        O: Cached,
    {
        let (pod, before) = match change {
            Change::Applied { old, new } => (new, old.as_ref()),
            Change::Deleted(last) => (last, None),
        };
        let orphan = self.note(&pod.metadata, matches!(change, Change::Applied { .. }));
        let namespace = Meta::namespace(&pod.metadata).unwrap_or_default();
        let named = before.and_then(|pod| owner(&pod.metadata)).into_iter().chain(owner(&pod.metadata));
        let mut keys: Vec<ObjectKey> = named.map(|owner| ObjectKey::new(namespace, &owner.name)).collect();
        keys.dedup();
        if orphan {
            let selecting = owners.in_namespace(namespace).into_iter().filter(|each| {
                let selector = selector(each).and_then(|selector| Selector::try_from(selector).ok());
                selector.is_some_and(|selector| !selector.selects_all() && selects(&selector, &pod.metadata))
            });
            keys.extend(selecting.map(|each| ObjectKey::of(each.meta())));
        }
        keys
    }

    /// The orphans of a namespace.
    pub fn of(&self, namespace: &str) -> Vec<ObjectKey> {
        let all = self.0.lock();
        let names = all.get(namespace).into_iter().flatten();
        names.map(|name| ObjectKey::new(namespace, name.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn object(name: &str, app: &str, owner: Option<&str>, deleted: bool) -> Arc<ConfigMap> {
        let owners: Vec<_> = owner
            .iter()
            .map(|uid| json!({"apiVersion": "v1", "kind": "X", "name": "x", "uid": uid, "controller": true}))
            .collect();
        let mut value = json!({"metadata": {"name": name, "namespace": "n", "labels": {"app": app}, "ownerReferences": owners}});
        if deleted {
            value["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        Arc::new(gantry_json::from_value(value).expect("a ConfigMap"))
    }

    fn names(objects: &[Arc<ConfigMap>]) -> Vec<String> {
        objects.iter().map(|object| object.name_any()).collect()
    }

    #[test]
    fn an_owner_keeps_adopts_and_releases_by_its_selector() {
        let selector = Selector::from_iter([("app", "a")]);
        let controlled =
            || vec![object("kept", "a", Some("u"), false), object("other", "b", Some("u"), false)];
        let orphans = || {
            vec![
                object("free", "a", None, false),
                object("else", "b", None, false),
                object("ending", "a", None, true),
                object("taken", "a", Some("v"), false),
            ]
        };
        let owner = ObjectMeta::default();
        let found = claims(&owner, &selector, controlled(), orphans());
        assert_eq!(names(&found.owned), ["kept"]);
        assert_eq!(names(&found.release), ["other"]);
        assert_eq!(names(&found.adopt), ["free"]);

        let ending = object("x", "a", None, true).metadata.clone();
        let found = claims(&ending, &selector, controlled(), orphans());
        assert_eq!(names(&found.owned), ["kept"]);
        assert!(found.release.is_empty() && found.adopt.is_empty());
    }

    #[test]
    fn orphans_are_known_by_namespace() {
        let orphans = Orphans::default();
        assert!(orphans.note(&object("a", "a", None, false).metadata, true));
        assert!(!orphans.note(&object("b", "a", Some("u"), false).metadata, true));
        assert_eq!(orphans.of("n"), [ObjectKey::new("n", "a")]);
        assert!(!orphans.note(&object("a", "a", Some("u"), false).metadata, true));
        assert!(orphans.of("n").is_empty() && orphans.of("m").is_empty());
    }
}
