//! Finalizers that keep objects while somebody uses them: what the protection controllers share.

use std::fmt::Debug;
use std::time::Duration;

use gantry_client::Failure;
use kube::api::PostParams;
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::writes::{MANAGER, is_gone, is_stale};

/// What to do about an object's finalizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is to be there and is not.
    Add,
    /// The object is to go: the finalizer goes when nobody uses it.
    RemoveUnlessUsed,
    /// Nothing.
    Leave,
}

/// The next step for an object with `finalizer`.
pub fn step<K: Resource>(object: &K, finalizer: &str) -> Step {
    let has = object.finalizers().iter().any(|each| each == finalizer);
    match (object.meta().deletion_timestamp.is_some(), has) {
        (false, false) => Step::Add,
        (true, true) => Step::RemoveUnlessUsed,
        _ => Step::Leave,
    }
}

/// Carries the step out on `object`; `used` is asked only where it matters. The object is written only if
/// it has not changed since.
pub async fn keep<K>(
    api: &Api<K>,
    object: &K,
    finalizer: &str,
    used: impl AsyncFnOnce() -> Result<bool, Failure>,
) -> Result<Option<Duration>, Failure>
where
    K: Resource + Clone + Debug + Serialize + DeserializeOwned,
{
    let mut changed = object.clone();
    match step(object, finalizer) {
        Step::Leave => return Ok(None),
        Step::Add => changed.finalizers_mut().push(finalizer.to_owned()),
        Step::RemoveUnlessUsed if used().await? => return Ok(None),
        Step::RemoveUnlessUsed => changed.finalizers_mut().retain(|each| each != finalizer),
    }
    let params = PostParams { field_manager: Some(MANAGER.into()), ..Default::default() };
    match api.replace(&object.name_any(), &params, &changed).await {
        Err(error) if !is_stale(&error) && !is_gone(&error) => Err(error.into()),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::{Value, json};
    use k8s_openapi::api::core::v1::PersistentVolume;

    use super::*;

    #[test]
    fn the_finalizer_comes_first_and_goes_last() {
        let check = |metadata: Value, expect: Step| {
            let object: PersistentVolume =
                gantry_json::from_value(json!({"metadata": metadata})).expect("a PV");
            assert_eq!(step(&object, "x/y"), expect);
        };
        let deleted = "2026-01-01T00:00:00Z";
        check(json!({}), Step::Add);
        check(json!({"finalizers": ["x/y"]}), Step::Leave);
        check(json!({"deletionTimestamp": deleted}), Step::Leave);
        check(json!({"deletionTimestamp": deleted, "finalizers": ["a", "x/y"]}), Step::RemoveUnlessUsed);
    }
}
