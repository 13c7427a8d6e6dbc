//! Removes Secrets with tokens that were made for an account without being asked for and that nobody uses.
//!
//! Flow: once a day all of them are looked at. One that was neither made nor used for the clean-up period, that
//! its account lists and that no pod mounts, is marked as invalid, and deleted when it has been that for another
//! period. Nothing happens before the use of tokens has been tracked for a whole period. Guarantee: Secrets that
//! a person made, which no account lists, stay.

mod references;

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_client::{Failure, Informer, ObjectKey, WorkQueue, run_workers};
use gantry_json::json;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions};

use crate::Context;
use crate::token_secret::TokenSecret;
use crate::writes::{is_gone, is_stale, message};

/// How often Secrets are looked at.
const INTERVAL: Duration = Duration::from_secs(24 * 3600);
const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";
/// The ConfigMap that says since when the use of tokens is tracked.
const TRACKING: (&str, &str) = ("kube-system", "kube-apiserver-legacy-service-account-token-tracking");

/// It cannot be said since when the use of tokens is tracked.
#[derive(Debug, thiserror::Error)]
#[error("ConfigMap {namespace}/{name} does not say since when: {since:?}", namespace = TRACKING.0, name = TRACKING.1)]
struct Untracked {
    since: String,
}

/// What becomes of a Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    Keep,
    /// It is marked as invalid from today.
    Mark,
    Delete,
}

/// Runs until shutdown.
pub async fn run(context: Context) {
    let secrets = context.informers.get::<TokenSecret>();
    let accounts = context.informers.get::<ServiceAccount>();
    secrets.synced().await;
    accounts.synced().await;
    let queue = WorkQueue::new();
    queue.add("all");
    let reconcile = async |_| {
        clean(&context, &secrets, &accounts, Timestamp::now()).await?;
        Ok(Some(INTERVAL))
    };
    run_workers("legacy-token-cleaner", queue, 1, reconcile, context.shutdown.clone()).await;
}

async fn clean(
    context: &Context,
    secrets: &Informer<TokenSecret>,
    accounts: &Informer<ServiceAccount>,
    now: Timestamp,
) -> Result<(), Failure> {
    let period = context.config.legacy_token_clean_up;
    let maps = Api::<ConfigMap>::namespaced(context.client.clone(), TRACKING.0);
    let since =
        maps.get(TRACKING.1).await?.data.and_then(|mut data| data.remove("since")).unwrap_or_default();
    let since = day(&since).ok_or(Untracked { since })?;
    // The first day may have been tracked in part.
    let complete = since.tomorrow()?.to_zoned(TimeZone::UTC)?.timestamp();
    if now < complete + period {
        return Ok(());
    }
    let mut mounted = BTreeMap::new();
    for secret in secrets.list() {
        let key = ObjectKey::of(&secret.0.metadata);
        let account = accounts.get(&ObjectKey::new(&*key.namespace, secret.account()));
        let account = account.filter(|account| secret.is_for(account));
        let planned = plan(&secret.0, account.as_deref(), now, period);
        if planned == Plan::Keep {
            continue;
        }
        if !mounted.contains_key(&key.namespace) {
            // The cleaner itself may not read pods.
            let pods = Api::<Pod>::namespaced(context.informers.client().clone(), &key.namespace);
            let pods = pods.list(&ListParams::default()).await?;
            mounted.insert(key.namespace.clone(), references::secrets(&pods.items));
        }
        if mounted[&key.namespace].contains(&key.name) {
            continue;
        }
        let api = Api::<Secret>::namespaced(context.client.clone(), &key.namespace);
        let written = match planned {
            Plan::Delete => {
                let resource_version = secret.0.metadata.resource_version.clone();
                let preconditions = Some(Preconditions { uid: None, resource_version });
                api.delete(&key.name, &DeleteParams { preconditions, ..Default::default() }).await.map(drop)
            }
            _ => {
                let today = now.strftime("%F").to_string();
                let uid = &secret.0.metadata.uid;
                let patch = json!({"metadata": {"uid": uid, "labels": {INVALID_SINCE: today}}});
                api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
            }
        };
        if let Err(error) = written
            && !is_gone(&error)
            && !is_stale(&error)
        {
            tracing::warn!(secret = %key, error = message(&error), "an unused token is not removed");
        }
    }
    Ok(())
}

/// The day that a label names.
fn day(text: &str) -> Option<Date> {
    (text.len() == 10).then(|| text.parse().ok()).flatten()
}

/// What becomes of `secret`, whose account is `account` where that is there, if no pod mounts it.
fn plan(secret: &Secret, account: Option<&ServiceAccount>, now: Timestamp, period: Duration) -> Plan {
    let metadata = &secret.metadata;
    let label = |name: &str| metadata.labels.as_ref().and_then(|all| all.get(name)).map(String::as_str);
    let since = now - period;
    let recent = |text: &str| *text >= *since.strftime("%F").to_string();
    let young = metadata.creation_timestamp.as_ref().is_none_or(|time| time.0 >= since);
    // A day that cannot be read says nothing, so the Secret stays.
    let used = label(LAST_USED).is_some_and(|text| day(text).is_none() || recent(text));
    let name = metadata.name.as_deref();
    let listed = account
        .is_some_and(|account| account.secrets.iter().flatten().any(|each| each.name.as_deref() == name));
    if young || metadata.deletion_timestamp.is_some() || used || !listed {
        return Plan::Keep;
    }
    match label(INVALID_SINCE).filter(|text| day(text).is_some()) {
        None => Plan::Mark,
        Some(text) if recent(text) => Plan::Keep,
        Some(_) => Plan::Delete,
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::Value;

    use super::*;

    #[test]
    fn what_nobody_uses_is_marked_and_then_goes() {
        let now: Timestamp = "2026-06-15T12:00:00Z".parse().expect("a time");
        let period = Duration::from_secs(30 * 24 * 3600);
        let check = |created: &str, labels: Value, listed: &str, expect: Plan| {
            let metadata = json!({"name": "web-token", "creationTimestamp": created, "labels": labels});
            let secret: Secret = gantry_json::from_value(json!({"metadata": metadata})).expect("a Secret");
            let account = json!({"metadata": {"name": "web"}, "secrets": [{"name": listed}]});
            let account: ServiceAccount = gantry_json::from_value(account).expect("an account");
            assert_eq!(plan(&secret, Some(&account), now, period), expect, "{created} {labels} {listed}");
            assert_eq!(plan(&secret, None, now, period), Plan::Keep);
        };
        let (old, new) = ("2026-01-01T00:00:00Z", "2026-05-16T12:00:00Z");
        check(old, json!({}), "web-token", Plan::Mark);
        check(new, json!({}), "web-token", Plan::Keep);
        check(old, json!({}), "other", Plan::Keep);
        check(old, json!({LAST_USED: "2026-05-16"}), "web-token", Plan::Keep);
        check(old, json!({LAST_USED: "2026-05-15"}), "web-token", Plan::Mark);
        check(old, json!({LAST_USED: "long-ago"}), "web-token", Plan::Keep);
        check(old, json!({INVALID_SINCE: "2026-05-16"}), "web-token", Plan::Keep);
        check(old, json!({INVALID_SINCE: "2026-05-15"}), "web-token", Plan::Delete);
        check(old, json!({INVALID_SINCE: "long-ago"}), "web-token", Plan::Mark);
        check(old, json!({INVALID_SINCE: "2026-05-15", LAST_USED: "2026-06-01"}), "web-token", Plan::Keep);
    }
}
