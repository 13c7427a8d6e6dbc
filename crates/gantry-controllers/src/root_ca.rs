//! Publishes the authority that signed the API server's certificate to every namespace, as the
//! ConfigMap `kube-root-ca.crt` that pods mount beside their token.
//!
//! Flow: a namespace appears, or its ConfigMap changes or goes; it is made or put right. Guarantee:
//! running again changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_client::{Cached, Meta, ObjectKey, WorkQueue, run_workers};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Api;
use kube::api::PostParams;

use crate::serviceaccount::is_active;
use crate::{Context, answer};

/// The ConfigMap's name.
const NAME: &str = "kube-root-ca.crt";
/// The key of the certificate.
const KEY: &str = "ca.crt";
const DESCRIPTION: (&str, &str) = (
    "kubernetes.io/description",
    "The authority that signed the API server's certificate, for clients inside the cluster.",
);

/// The ConfigMaps of this name, and no others.
struct RootCa(ConfigMap);

impl Cached for RootCa {
    type Object = ConfigMap;
    const FIELDS: Option<&'static str> = Some("metadata.name=kube-root-ca.crt");

    fn from_object(mut object: ConfigMap) -> Self {
        object.metadata.managed_fields = None;
        Self(object)
    }

    fn meta(&self) -> &dyn Meta {
        &self.0.metadata
    }
}

/// Runs until shutdown.
pub async fn run(context: Context) {
    let namespaces = context.informers.get::<Namespace>();
    let maps = context.informers.get::<RootCa>();
    namespaces.synced().await;
    maps.synced().await;
    let queue = WorkQueue::new();
    let of_namespaces =
        namespaces.changes().each(|change| queue.add(ObjectKey::of(&change.object().metadata).name));
    let of_maps = maps.changes().each(|change| queue.add(ObjectKey::of(change.object().meta()).namespace));
    let reconcile = async |name: String| {
        let namespace = namespaces.get(&ObjectKey::new("", &*name));
        if !namespace.is_some_and(|namespace| is_active(&namespace)) {
            return Ok(None);
        }
        let found: Option<Arc<RootCa>> = maps.get(&ObjectKey::new(&*name, NAME));
        let Some(map) = wanted(found.as_ref().map(|found| &found.0), &context.config.root_ca) else {
            return Ok(None);
        };
        let api = Api::<ConfigMap>::namespaced(context.client.clone(), &name);
        let written = match found {
            Some(_) => api.replace(NAME, &PostParams::default(), &map).await,
            None => api.create(&PostParams::default(), &map).await,
        };
        match written {
            Err(error) if !answer::namespace_leaves(&error) => Err(error.into()),
            _ => Ok(None),
        }
    };
    let work = run_workers("root-ca-cert-publisher", queue.clone(), 2, reconcile, context.shutdown.clone());
    tokio::join!(of_namespaces, of_maps, work);
}

/// What the ConfigMap has to become; `None` where it is right.
fn wanted(found: Option<&ConfigMap>, authority: &str) -> Option<ConfigMap> {
    let data = BTreeMap::from([(KEY.to_owned(), authority.to_owned())]);
    if found.is_some_and(|found| found.data.as_ref() == Some(&data) && found.binary_data.is_none()) {
        return None;
    }
    let mut metadata = found.map(|found| found.metadata.clone()).unwrap_or_default();
    metadata.name = Some(NAME.to_owned());
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(DESCRIPTION.0.to_owned(), DESCRIPTION.1.to_owned());
    Some(ConfigMap { metadata, data: Some(data), ..Default::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_map_is_made_and_put_right_and_left_alone() {
        let made = wanted(None, "PEM").expect("it is missing");
        assert_eq!(made.data.as_ref().and_then(|data| data.get(KEY)).map(String::as_str), Some("PEM"));
        assert_eq!(wanted(Some(&made), "PEM"), None);
        let mut changed = made.clone();
        changed.metadata.resource_version = Some("7".into());
        changed.data.get_or_insert_default().insert("more".into(), "x".into());
        let repaired = wanted(Some(&changed), "PEM").expect("it was changed");
        assert_eq!((&repaired.data, repaired.metadata.resource_version.as_deref()), (&made.data, Some("7")));
        assert!(wanted(Some(&made), "NEW").is_some());
    }
}
