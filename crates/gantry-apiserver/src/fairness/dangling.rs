//! The condition `Dangling` of flow schemas: whether there is the priority level that they name.
//!
//! Flow: all flow schemas are looked at before the server is ready, and again when one of them or a
//! priority level changes; what is not right is applied, through the server's own pipeline. Guarantees:
//! nothing is written where nothing differs, and no schema more than six times in a minute: several servers
//! that do not agree must not keep each other busy.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use futures::future::join_all;
use gantry_json::{Value, json};
use gantry_store::Snapshot;
use http::{Method, Request, StatusCode};
use tokio::time::Instant;

use super::{LEVELS, SCHEMAS};
use crate::server::settling::{Settling, keep_settled};
use crate::{ApiServer, User};

const PATH: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas";
const MANAGER: &str = "api-priority-and-fairness-config-consumer-v1";
/// A schema is written this often at most, in this time.
const WRITES: (usize, Duration) = (6, Duration::from_secs(60));
/// When what was put off, or could not be written, is tried again.
const LATER: Duration = Duration::from_secs(30);

/// What a schema's condition has to say, where it does not; without its time.
fn condition(schema: &Value, exists: bool) -> Option<Value> {
    let level = schema["spec"]["priorityLevelConfiguration"]["name"].as_str().unwrap_or_default();
    let refers = format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?}");
    let (status, reason, message) = match exists {
        true => ("False", "Found", format!("{refers} and it exists")),
        false => ("True", "NotFound", format!("{refers} but there is no such object")),
    };
    let conditions = schema["status"]["conditions"].as_array().into_iter().flatten();
    let written = conditions.into_iter().find(|each| each["type"] == "Dangling");
    let right = written.is_some_and(|written| {
        written["status"] == status && written["reason"] == reason && written["message"] == message
    });
    (!right).then(|| json!({"type": "Dangling", "status": status, "reason": reason, "message": message}))
}

/// The schemas whose condition is not right, with what it has to be.
fn wrong(snapshot: &Snapshot) -> Vec<(String, Value)> {
    let schemas = snapshot.range(SCHEMAS, None).filter_map(|entry| {
        let schema: Value = gantry_json::from_slice(&entry.value).ok()?;
        let level = schema["spec"]["priorityLevelConfiguration"]["name"].as_str().unwrap_or_default();
        let condition = condition(&schema, snapshot.get(&format!("{LEVELS}{level}")).is_some())?;
        Some((schema["metadata"]["name"].as_str()?.to_owned(), condition))
    });
    schemas.collect()
}

/// Applies a condition; whether that need not be tried again.
async fn apply(server: &ApiServer, name: &str, mut condition: Value) -> bool {
    let now = jiff::Timestamp::now();
    condition["lastTransitionTime"] = now.strftime("%FT%TZ").to_string().into();
    let body = json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": {"name": name},
        "status": {"conditions": [condition]},
    });
    let request = Request::builder()
        .method(Method::PATCH)
        .uri(format!("{PATH}/{name}/status?fieldManager={MANAGER}&force=true"))
        .header("content-type", "application/apply-patch+yaml")
        .body(body.to_string().into_bytes().into());
    let Ok(request) = request else { return true };
    let code = server.handle(request, Some(User::apiserver())).await.status();
    // One that has gone needs none.
    let done = code.is_success() || code == StatusCode::NOT_FOUND;
    if !done {
        tracing::debug!(schema = name, %code, "a flow schema's condition will be written again");
    }
    done
}

/// Puts right what there is; for a server that is not ready yet.
pub(crate) async fn settle(server: &ApiServer) {
    let wrong = wrong(&server.store.snapshot());
    join_all(wrong.into_iter().map(async |(name, condition)| apply(server, &name, condition).await)).await;
}

/// The writes of the last while, by schema.
#[derive(Debug, Default)]
struct Writes(HashMap<String, VecDeque<Instant>>);

impl Writes {
    /// Whether a schema may be written now; then it counts as written.
    fn allow(&mut self, name: &str, now: Instant) -> bool {
        let (most, time) = WRITES;
        let recent = self.0.entry(name.to_owned()).or_default();
        while recent.front().is_some_and(|first| now.duration_since(*first) > time) {
            recent.pop_front();
        }
        let allowed = recent.len() < most;
        if allowed {
            recent.push_back(now);
        }
        allowed
    }

    /// Forgets the schemas that were not written lately.
    fn forget(&mut self, now: Instant) {
        self.0.retain(|_, recent| recent.back().is_some_and(|last| now.duration_since(*last) <= WRITES.1));
    }
}

/// Keeps the conditions true. Runs until the store closes; dropping it is safe.
pub(crate) async fn follow(server: &ApiServer) {
    server.ready().await;
    let mut conditions = Conditions { server, writes: Writes::default() };
    keep_settled(&server.store, &[SCHEMAS, LEVELS], &mut conditions).await;
}

struct Conditions<'a> {
    server: &'a ApiServer,
    writes: Writes,
}

impl Settling for Conditions<'_> {
    async fn settle(&mut self) -> Option<Duration> {
        let (now, mut all) = (Instant::now(), true);
        for (name, condition) in wrong(&self.server.store.snapshot()) {
            all &= self.writes.allow(&name, now) && apply(self.server, &name, condition).await;
        }
        self.writes.forget(now);
        (!all).then_some(LATER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_upstreams() {
        let mut schema = json!({"spec": {"priorityLevelConfiguration": {"name": "l"}}});
        let refers = "This FlowSchema references the PriorityLevelConfiguration object named \"l\"";
        let found = condition(&schema, true).unwrap();
        assert_eq!((&found["status"], &found["reason"]), (&json!("False"), &json!("Found")));
        assert_eq!(found["message"], format!("{refers} and it exists"));
        schema["status"]["conditions"] = json!([{"type": "Other"}, found]);
        assert_eq!(condition(&schema, true), None);
        let lost = condition(&schema, false).unwrap();
        assert_eq!((&lost["status"], &lost["reason"]), (&json!("True"), &json!("NotFound")));
        assert_eq!(lost["message"], format!("{refers} but there is no such object"));
    }

    #[test]
    fn six_writes_in_a_minute() {
        let (mut writes, start) = (Writes::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!((0..6).all(|second| writes.allow("a", at(second))));
        assert!(!writes.allow("a", at(7)) && writes.allow("b", at(7)) && writes.allow("a", at(61)));
        writes.forget(at(120));
        assert!(writes.0.contains_key("a") && !writes.0.contains_key("b"));
    }
}
