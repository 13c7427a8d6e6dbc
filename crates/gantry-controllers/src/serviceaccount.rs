//! Keeps a ServiceAccount `default` in every active namespace.
//!
//! Flow: a namespace appears, or its account is deleted; the account is made where it is missing.
//! Guarantee: running again changes nothing.

use gantry_client::{Change, ObjectKey, WorkQueue, run_workers};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};

use crate::{Context, answer};

/// The account that pods without one of their own run under.
const DEFAULT: &str = "default";

/// Runs until shutdown.
pub async fn run(context: Context) {
    let namespaces = context.informers.get::<Namespace>();
    let accounts = context.informers.get::<ServiceAccount>();
    namespaces.synced().await;
    accounts.synced().await;
    let queue = WorkQueue::new();
    let of_namespaces =
        namespaces.changes().each(|change| queue.add(ObjectKey::of(&change.object().metadata).name));
    let of_accounts = accounts.changes().each(|change| {
        let key = ObjectKey::of(&change.object().metadata);
        if matches!(change, Change::Deleted(_)) && key.name == DEFAULT {
            queue.add(key.namespace);
        }
    });
    let reconcile = async |name: String| {
        let namespace = namespaces.get(&ObjectKey::new("", &*name));
        let there = accounts.get(&ObjectKey::new(&*name, DEFAULT)).is_some();
        if there || !namespace.is_some_and(|namespace| is_active(&namespace)) {
            return Ok(None);
        }
        let metadata = ObjectMeta { name: Some(DEFAULT.into()), ..Default::default() };
        let account = ServiceAccount { metadata, ..Default::default() };
        let api = Api::<ServiceAccount>::namespaced(context.client.clone(), &name);
        match api.create(&PostParams::default(), &account).await {
            Err(error) if answer::code(&error) != 409 && !answer::namespace_leaves(&error) => {
                Err(error.into())
            }
            _ => Ok(None),
        }
    };
    let work = run_workers("serviceaccount", queue.clone(), 2, reconcile, context.shutdown.clone());
    tokio::join!(of_namespaces, of_accounts, work);
}

/// Whether new objects may be made in `namespace`.
pub(crate) fn is_active(namespace: &Namespace) -> bool {
    let phase = namespace.status.as_ref().and_then(|status| status.phase.as_deref());
    namespace.metadata.deletion_timestamp.is_none() && phase != Some("Terminating")
}

#[cfg(test)]
mod tests {
    use gantry_json::{Value, json};

    use super::*;

    #[test]
    fn a_namespace_that_leaves_gets_nothing_new() {
        let check = |value: Value, expect: bool| {
            let namespace: Namespace = gantry_json::from_value(value.clone()).expect("a Namespace");
            assert_eq!(is_active(&namespace), expect, "{value}");
        };
        check(json!({"metadata": {"name": "a"}}), true);
        check(json!({"metadata": {"name": "a"}, "status": {"phase": "Active"}}), true);
        check(json!({"metadata": {"name": "a"}, "status": {"phase": "Terminating"}}), false);
        check(json!({"metadata": {"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"}}), false);
    }
}
