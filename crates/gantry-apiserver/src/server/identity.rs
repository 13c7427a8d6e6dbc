//! The server's identity: a Lease in `kube-system` that says which servers there are.
//!
//! Flow: the Lease is written before the server is ready and renewed every ten seconds; those of servers
//! that have not been heard of for an hour are removed, at the start and every hour. Guarantee: nobody
//! else's Lease but an expired one with the label of identities is touched.

use std::sync::Arc;
use std::time::Duration;

use gantry_api::features::API_SERVER_IDENTITY;
use gantry_json::{Value, json};
use http::Method;
use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::instance;
use crate::ApiServer;
use crate::bootstrap::{self, Api};
use crate::lease::expired;

const GROUP: &str = "/apis/coordination.k8s.io/v1";
const LEASES: &str = "/registry/coordination.k8s.io/leases/kube-system/";
const LABEL: &str = "apiserver.kubernetes.io/identity";
const SERVER: &str = "kube-apiserver";
/// Seconds after which a server that was not heard of counts as gone.
const DURATION: i64 = 3600;
/// How often the Lease is renewed, and how often those of others are looked at.
const RENEW: Duration = Duration::from_secs(10);
const COLLECT: Duration = Duration::from_secs(3600);

/// The Lease of the server called `name` by `holder`.
fn lease(name: &str, holder: &str, host: &str, now: Timestamp) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {
            "name": name, "namespace": "kube-system",
            "labels": {LABEL: SERVER, "kubernetes.io/hostname": host},
        },
        "spec": {
            "holderIdentity": holder, "leaseDurationSeconds": DURATION,
            "renewTime": now.strftime("%FT%T.%6fZ").to_string(),
        },
    })
}

/// The Lease stays whose it was: it is renewed.
fn renewed(existing: &Value, own: &Value) -> Option<Value> {
    let mut next = existing.clone();
    next["spec"]["renewTime"] = own["spec"]["renewTime"].clone();
    for label in [LABEL, "kubernetes.io/hostname"] {
        next["metadata"]["labels"][label] = own["metadata"]["labels"][label].clone();
    }
    Some(next)
}

/// The names of the Leases of servers that are gone.
fn gone<'a>(leases: impl Iterator<Item = &'a Value>, now: Timestamp) -> Vec<String> {
    let servers = leases.filter(|lease| lease["metadata"]["labels"][LABEL] == SERVER);
    let gone = servers.filter(|lease| expired(lease, now));
    gone.filter_map(|lease| lease["metadata"]["name"].as_str().map(str::to_owned)).collect()
}

/// Who this server is: names are the host's, so that a server that starts again is the same one.
pub(super) struct Identity {
    name: String,
    holder: String,
    host: String,
}

impl Identity {
    /// The identity of a server whose features have one.
    pub fn of(server: &ApiServer) -> Option<Self> {
        let name = instance();
        let host = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
        let holder = format!("{name}_{}", uuid::Uuid::new_v4());
        server.config.feature_gates.enabled(API_SERVER_IDENTITY).then_some(Self { name, holder, host })
    }

    /// Says that the server is there.
    pub async fn renew(&self, server: &ApiServer) {
        let lease = lease(&self.name, &self.holder, &self.host, Timestamp::now());
        if let Err(error) = bootstrap::put(server, GROUP, &lease, renewed).await {
            tracing::warn!(%error, "the server's Lease was not renewed");
        }
    }
}

/// Removes the Leases of servers that are gone.
async fn collect(server: &ApiServer) {
    let snapshot = server.store.snapshot();
    let leases: Vec<Value> =
        snapshot.range(LEASES, None).filter_map(|entry| gantry_json::from_slice(&entry.value).ok()).collect();
    for name in gone(leases.iter(), Timestamp::now()) {
        let path = format!("{GROUP}/namespaces/kube-system/leases/{name}");
        let (code, answer) = server.call(Method::DELETE, &path, None).await;
        if code >= 400 && code != 404 {
            tracing::warn!(lease = name, code, message = %answer["message"], "an expired Lease stays");
        }
    }
}

/// Keeps the server's Lease and removes others' when they have expired. Dropping it is safe.
pub(super) async fn run(server: Arc<ApiServer>) {
    server.ready().await;
    let Some(identity) = Identity::of(&server) else { return };
    let mut renew = interval_at(Instant::now() + RENEW, RENEW);
    // A server that was held up does not have to make up for it.
    renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut others = tokio::time::interval(COLLECT);
    loop {
        tokio::select! {
            _ = renew.tick() => identity.renew(&server).await,
            _ = others.tick() => collect(&server).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_renewed_and_ends() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let first = lease("apiserver-x", "apiserver-x_1", "h", at("2026-01-01T00:00:00.5Z"));
        assert_eq!(first["spec"]["renewTime"], "2026-01-01T00:00:00.500000Z");
        let again = lease("apiserver-x", "apiserver-x_2", "i", at("2026-01-01T00:10:00Z"));
        let next = renewed(&first, &again).unwrap();
        assert_eq!(next["spec"]["holderIdentity"], "apiserver-x_1");
        assert_eq!(next["spec"]["renewTime"], "2026-01-01T00:10:00.000000Z");
        assert_eq!(next["metadata"]["labels"]["kubernetes.io/hostname"], "i");
        assert!(!expired(&next, at("2026-01-01T01:10:00Z")));
        assert!(expired(&next, at("2026-01-01T01:10:00.1Z")));
        let (mut timeless, mut other) = (next.clone(), next.clone());
        timeless["spec"] = json!({"renewTime": "2026-01-01T00:10:00.000000Z"});
        timeless["metadata"]["name"] = "timeless".into();
        other["metadata"]["labels"] = json!({});
        let all = [next, timeless, other];
        assert_eq!(gone(all.iter(), at("2026-01-01T00:20:00Z")), ["timeless"]);
        assert_eq!(gone(all.iter(), at("2026-01-02T00:20:00Z")), ["apiserver-x", "timeless"]);
    }
}
