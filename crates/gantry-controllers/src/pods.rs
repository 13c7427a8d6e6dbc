//! Making and removing pods.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::join_all;
use gantry_client::{PodView, Recorder, reference};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, PostParams, Preconditions};
use kube::{Api, Client, Error, Resource, ResourceExt};
use serde::Deserialize;

use crate::answer::namespace_leaves;
use crate::expectations::Expectations;
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

/// The whole pod of that name, where it is there. It is listed: whom the pods of a namespace are shown
/// as lists may not read one by itself.
pub async fn whole(client: &Client, namespace: &str, name: &str) -> Result<Option<Pod>, Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let named = ListParams::default().fields(&format!("metadata.name={name}"));
    Ok(api.list(&named).await?.items.pop())
}

/// Makes and removes pods of one owner. Each outcome is an event; what will not come through the
/// informer is no longer awaited.
pub struct Pods<'a, O> {
    /// The API.
    pub client: &'a Client,
    /// For events.
    pub recorder: &'a Recorder,
    /// Where the writes are awaited.
    pub expectations: &'a Expectations,
    /// The owner.
    pub owner: &'a O,
}

impl<O: Resource<DynamicType = ()>> Pods<'_, O> {
    /// Makes pods, each given as JSON, in batches that double while all succeed, so that a pod which is
    /// refused is not sent hundreds of times.
    ///
    /// # Errors
    ///
    /// The message of the first refusal; batches after it are not sent.
    pub async fn create(&self, pods: Vec<Bytes>) -> Result<(), String> {
        let owner = self.owner.uid().unwrap_or_default();
        let namespace = self.owner.namespace().unwrap_or_default();
        let path = kube::core::Request::new(Pod::url_path(&(), Some(&namespace)));
        let params = PostParams { field_manager: Some(MANAGER.into()), ..Default::default() };
        let about = reference(self.owner);
        let create = async |body: Bytes| {
            let request = path.create(&params, body.to_vec()).map_err(Error::BuildRequest)?;
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
        let (mut left, mut batch) = (pods, 1);
        while !left.is_empty() {
            let rest = left.split_off(batch.min(left.len()));
            let outcomes = join_all(left.into_iter().map(&create)).await;
            left = rest;
            batch *= 2;
            if let Some(error) = outcomes.into_iter().find_map(Result::err) {
                self.expectations.created(&owner, left.len());
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
        let owner = self.owner.uid().unwrap_or_default();
        let namespace = self.owner.namespace().unwrap_or_default();
        let path = kube::core::Request::new(Pod::url_path(&(), Some(&namespace)));
        let about = reference(self.owner);
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
