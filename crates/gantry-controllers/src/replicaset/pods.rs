//! Making and removing pods.

use std::sync::Arc;

use futures::StreamExt;
use futures::future::join_all;
use gantry_client::{PodView, Recorder, reference};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Client, Error, Resource, ResourceExt};
use serde::Deserialize;

use super::expectations::Expectations;
use crate::answer::namespace_leaves;
use crate::claim::controller_reference;
use crate::writes::{MANAGER, is_gone, message};

/// Most deletions under way at once.
const CONCURRENT_DELETIONS: usize = 64;

/// The answer to a creation; the rest of the pod is not looked at.
#[derive(Deserialize)]
struct Created {
    metadata: Named,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

/// A pod from the template of `set`, controlled by it.
pub fn from_template(set: &ReplicaSet) -> Pod {
    let template = set.spec.as_ref().and_then(|spec| spec.template.clone()).unwrap_or_default();
    let meta = template.metadata.unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", set.name_any())),
            namespace: set.namespace(),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![controller_reference(set)]),
            ..Default::default()
        },
        spec: template.spec,
        status: None,
    }
}

/// Makes and removes pods of one ReplicaSet. Each outcome is an event; what will not come through the
/// informer is no longer awaited.
pub struct Pods<'a> {
    /// The API.
    pub client: &'a Client,
    /// For events.
    pub recorder: &'a Recorder,
    /// Where the writes are awaited.
    pub expectations: &'a Expectations,
    /// The owner.
    pub set: &'a ReplicaSet,
}

impl Pods<'_> {
    /// Makes `count` pods in batches that double while all succeed, so that a pod which is refused is
    /// not sent hundreds of times.
    ///
    /// # Errors
    ///
    /// The message of the first refusal; batches after it are not sent.
    pub async fn create(&self, count: usize) -> Result<(), String> {
        let owner = self.set.uid().unwrap_or_default();
        let namespace = self.set.namespace().unwrap_or_default();
        let body = serde_json::to_vec(&from_template(self.set)).map_err(|error| error.to_string())?;
        let path = kube::core::Request::new(Pod::url_path(&(), Some(&namespace)));
        let params = PostParams { field_manager: Some(MANAGER.into()), ..Default::default() };
        let about = reference(self.set);
        let create = async || {
            let request = path.create(&params, body.clone()).map_err(Error::BuildRequest)?;
            let made = self.client.request::<Created>(request).await;
            match &made {
                Ok(made) => {
                    let text = format!("Created pod: {}", made.metadata.name);
                    self.recorder.event(about.clone(), false, "SuccessfulCreate", text);
                }
                Err(error) => {
                    self.expectations.created(&owner, 1);
                    if !namespace_leaves(error) {
                        let text = format!("Error creating: {}", message(error));
                        self.recorder.event(about.clone(), true, "FailedCreate", text);
                    }
                }
            }
            made
        };
        let (mut left, mut batch) = (count, 1);
        while left > 0 {
            let size = batch.min(left);
            let outcomes = join_all((0..size).map(|_| create())).await;
            left -= size;
            batch *= 2;
            if let Some(error) = outcomes.into_iter().find_map(Result::err) {
                self.expectations.created(&owner, left);
                // Nothing more is to be done about a namespace that ends.
                return if namespace_leaves(&error) { Ok(()) } else { Err(message(&error)) };
            }
        }
        Ok(())
    }

    /// Removes `pods`.
    ///
    /// # Errors
    ///
    /// The message of a refusal; the others are asked for all the same.
    pub async fn delete(&self, pods: &[Arc<PodView>]) -> Result<(), String> {
        let owner = self.set.uid().unwrap_or_default();
        let namespace = self.set.namespace().unwrap_or_default();
        let path = kube::core::Request::new(Pod::url_path(&(), Some(&namespace)));
        let about = reference(self.set);
        let delete = async |pod: Arc<PodView>| {
            let meta = &pod.metadata;
            let name = meta.name.as_deref().unwrap_or_default();
            let params = DeleteParams {
                preconditions: Some(Preconditions { uid: meta.uid.clone(), resource_version: None }),
                ..Default::default()
            };
            let deleted = match path.delete(name, &params).map_err(Error::BuildRequest) {
                Ok(request) => self.client.request_text(request).await,
                Err(error) => Err(error),
            };
            match deleted {
                Ok(_) => {
                    let text = format!("Deleted pod: {name}");
                    self.recorder.event(about.clone(), false, "SuccessfulDelete", text);
                    Ok(())
                }
                Err(error) => {
                    self.expectations.deleted(&owner, meta.uid.as_deref().unwrap_or_default());
                    if is_gone(&error) {
                        return Ok(());
                    }
                    let text = message(&error);
                    self.recorder.event(
                        about.clone(),
                        true,
                        "FailedDelete",
                        format!("Error deleting: {text}"),
                    );
                    Err(text)
                }
            }
        };
        let outcomes = futures::stream::iter(pods.iter().cloned().map(delete));
        let outcomes: Vec<_> = outcomes.buffer_unordered(CONCURRENT_DELETIONS).collect().await;
        outcomes.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_is_the_template_under_a_new_name() {
        let set: ReplicaSet = serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "n", "uid": "u"},
            "spec": {"selector": {}, "template": {
                "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
                "spec": {"containers": [{"name": "c"}]},
            }},
        }))
        .expect("a ReplicaSet");
        assert_eq!(
            serde_json::to_value(from_template(&set)).expect("JSON"),
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"generateName": "web-", "namespace": "n", "labels": {"a": "b"}, "annotations": {"c": "d"},
                    "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "u",
                        "controller": true, "blockOwnerDeletion": true}]},
                "spec": {"containers": [{"name": "c"}]},
            })
        );
    }
}
