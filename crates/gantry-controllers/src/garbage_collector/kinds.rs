//! The live objects, by metadata alone, of whatever kinds the API serves now.

use std::collections::HashMap;
use std::sync::Arc;

use gantry_client::Recorder;
use gantry_json::json;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::core::{DynamicObject, PartialObjectMeta, TypeMeta};
use kube::{Api, Client};
use parking_lot::RwLock;

use super::collector::{Objects, Trouble};
use super::graph::{Item, Misplaced};
use crate::answer;
use crate::resources::Served;

/// Any object, of which only the metadata is read.
pub(super) type Metadata = PartialObjectMeta<DynamicObject>;

/// The resource of each kind that is served.
pub(super) type Kinds = HashMap<TypeMeta, Served>;

/// The API's objects.
#[derive(Clone)]
pub(super) struct Live {
    pub client: Client,
    pub recorder: Recorder,
    pub kinds: Arc<RwLock<Kinds>>,
}

impl Live {
    /// The API of an item's kind and namespace.
    fn api(&self, item: &Item) -> Result<Api<Metadata>, Trouble> {
        let kinds = self.kinds.read();
        let served = kinds.get(&item.types).ok_or_else(|| Trouble::Unmapped(item.types.clone()))?;
        match served.namespaced {
            true if item.namespace.is_empty() => Err(Trouble::NamespacedOwner),
            true => Ok(Api::namespaced_with(self.client.clone(), &item.namespace, &served.resource)),
            false => Ok(Api::all_with(self.client.clone(), &served.resource)),
        }
    }
}

/// Whether the answer says that the object is gone, and not that the whole resource is unknown.
fn gone(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => {
            status.code == 404 && status.details.as_ref().is_some_and(|details| !details.name.is_empty())
        }
        _ => false,
    }
}

impl Objects for Live {
    async fn get(&self, item: &Item) -> Result<Option<ObjectMeta>, Trouble> {
        match self.api(item)?.get(&item.name).await {
            Ok(object) => Ok(Some(object.metadata)),
            Err(error) if gone(&error) => Ok(None),
            Err(error) => Err(Trouble::Failed(item.clone(), error.into())),
        }
    }

    async fn delete(&self, item: &Item, seen: &ObjectMeta, policy: PropagationPolicy) -> Result<(), Trouble> {
        let params = DeleteParams {
            propagation_policy: Some(policy),
            preconditions: Some(Preconditions {
                uid: seen.uid.clone(),
                resource_version: seen.resource_version.clone(),
            }),
            ..Default::default()
        };
        match self.api(item)?.delete(&item.name, &params).await {
            Err(error) if answer::code(&error) != 404 => Err(Trouble::Failed(item.clone(), error.into())),
            _ => Ok(()),
        }
    }

    async fn write(&self, item: &Item, wanted: &ObjectMeta) -> Result<(), Trouble> {
        let references = wanted.owner_references.as_ref().filter(|references| !references.is_empty());
        let finalizers = wanted.finalizers.as_ref().filter(|finalizers| !finalizers.is_empty());
        let patch = json!({"metadata": {
            "uid": wanted.uid, "resourceVersion": wanted.resource_version,
            "ownerReferences": references, "finalizers": finalizers,
        }});
        let api = self.api(item)?;
        match api.patch(&item.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Err(error) if answer::code(&error) != 404 => Err(Trouble::Failed(item.clone(), error.into())),
            _ => Ok(()),
        }
    }

    fn misplaced(&self, reference: &Misplaced) {
        let Misplaced { dependent, uid, owner, owner_uid } = reference;
        let about = ObjectReference {
            api_version: Some(dependent.types.api_version.clone()),
            kind: Some(dependent.types.kind.clone()),
            name: Some(dependent.name.clone()),
            namespace: Some(dependent.namespace.clone()).filter(|namespace| !namespace.is_empty()),
            uid: Some(uid.to_string()),
            ..Default::default()
        };
        let Item { types: TypeMeta { api_version, kind }, namespace, name } = owner;
        let message = format!(
            "ownerRef [{api_version}/{kind}, namespace: {namespace}, name: {name}, uid: {owner_uid}] \
             does not exist in namespace {namespace:?}"
        );
        self.recorder.event(about, true, "OwnerRefInvalidNamespace", message);
    }
}
