//! The status of policies: that the newest spec was seen, and what its expressions' types warn of.
//!
//! Flow: every policy whose status is older than its spec is checked and gets a new status, through the
//! server's own pipeline. Assumption: several servers that do so write the same.

use futures::StreamExt;
use gantry_json::{Value, json};
use gantry_store::EventKind;
use http::Method;

use super::type_check;
use crate::ApiServer;
use crate::bootstrap::Api;

const PREFIX: &str = "/registry/admissionregistration.k8s.io/validatingadmissionpolicies/";
const PATH: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";

/// Writes the status of policies as they change. Ends when the store closes; dropping it is safe.
pub(crate) async fn follow(server: &ApiServer) {
    loop {
        let snapshot = server.store.snapshot();
        // A compaction between the two calls: take a newer snapshot.
        let Ok(mut changes) = server.store.watch(PREFIX, snapshot.revision(), None) else { continue };
        for entry in snapshot.range(PREFIX, None) {
            observe(server, &entry.value).await;
        }
        while let Some(event) = changes.next().await {
            if event.kind != EventKind::Delete {
                observe(server, &event.entry.value).await;
            }
        }
        if changes.end() != gantry_store::WatchEnd::TooSlow {
            return;
        }
    }
}

async fn observe(server: &ApiServer, bytes: &[u8]) {
    let policy: Value = gantry_json::from_slice(bytes).unwrap_or_default();
    let (generation, name) = (&policy["metadata"]["generation"], &policy["metadata"]["name"]);
    let Some(name) = name.as_str().filter(|_| policy["status"]["observedGeneration"] != *generation) else {
        return;
    };
    let warnings = type_check::warnings(&policy, &server.registry.load());
    let mut status = policy.clone();
    status["status"]["observedGeneration"] = generation.clone();
    status["status"]["typeChecking"] = match warnings.is_empty() {
        true => json!({}),
        false => json!({"expressionWarnings": warnings}),
    };
    // Of what has changed meanwhile the watch tells.
    let (code, answer) = server.call(Method::PUT, &format!("{PATH}/{name}/status"), Some(&status)).await;
    if code >= 400 && code != 409 && code != 404 {
        tracing::warn!(policy = name, code, message = %answer["message"], "a policy's status was not written");
    }
}
