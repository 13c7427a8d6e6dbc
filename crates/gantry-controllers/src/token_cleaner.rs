//! Removes bootstrap tokens that have expired.
//!
//! Flow: every change of a token sets the time at which it goes; there is no sweep.

use std::time::Duration;

use gantry_client::{Cached, Change, Meta, ObjectKey, WorkQueue, run_workers};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, Preconditions};

use crate::Context;
use crate::writes::{is_gone, is_stale};

/// Where tokens count; elsewhere they are Secrets like any other.
const NAMESPACE: &str = "kube-system";

/// When a bootstrap token expires.
struct Token {
    metadata: ObjectMeta,
    expires: Option<Timestamp>,
}

impl Cached for Token {
    type Object = Secret;
    const FIELDS: Option<&'static str> = Some("type=bootstrap.kubernetes.io/token");

    fn from_object(mut object: Secret) -> Self {
        let text = object.data.take().and_then(|mut data| data.remove("expiration"));
        let text = text.and_then(|bytes| String::from_utf8(bytes.0).ok());
        // A time that cannot be read is past: such a token is good for nothing.
        let expires = text.filter(|text| !text.is_empty());
        let expires = expires.map(|text| text.parse().unwrap_or(Timestamp::UNIX_EPOCH));
        Self { metadata: object.metadata, expires }
    }

    fn meta(&self) -> &dyn Meta {
        &self.metadata
    }
}

/// Runs until shutdown.
pub async fn run(context: Context) {
    let tokens = context.informers.get::<Token>();
    tokens.synced().await;
    let queue = WorkQueue::new();
    let watch = tokens.changes().each(|change| {
        if let Change::Applied { new, .. } = &change
            && new.metadata.namespace.as_deref() == Some(NAMESPACE)
            && new.expires.is_some()
        {
            queue.add(ObjectKey::of(&new.metadata));
        }
    });
    let reconcile = async |key: ObjectKey| {
        let Some(token) = tokens.get(&key) else { return Ok(None) };
        let Some(expires) = token.expires else { return Ok(None) };
        let left = expires.duration_since(Timestamp::now());
        if left.is_positive() {
            return Ok(Some(Duration::try_from(left)?));
        }
        let uid = token.metadata.uid.clone();
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid, resource_version: None }),
            ..DeleteParams::default()
        };
        let api = Api::<Secret>::namespaced(context.client.clone(), &key.namespace);
        match api.delete(&key.name, &params).await {
            Err(error) if is_gone(&error) || is_stale(&error) => Ok(None),
            other => Ok(other.map(|_| None)?),
        }
    };
    let work = run_workers("token-cleaner", queue.clone(), 1, reconcile, context.shutdown.clone());
    tokio::join!(watch, work);
}
