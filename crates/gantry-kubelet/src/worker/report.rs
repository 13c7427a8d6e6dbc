//! Reporting the status, only when it changed.

use std::{sync::Arc, time::Duration};

use gantry_json::{Map, Value, json};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};

use super::Worker;
use crate::{pod, status};

/// Fields the node owns.
const OWN: &[&str] = &[
    "phase",
    "reason",
    "message",
    "hostIP",
    "hostIPs",
    "podIP",
    "podIPs",
    "qosClass",
    "startTime",
    "observedGeneration",
    "initContainerStatuses",
    "containerStatuses",
    "ephemeralContainerStatuses",
];

/// The strategic merge patch from `old` to `new`; `None` when nothing changed.
pub fn patch(old: &PodStatus, new: &PodStatus) -> Option<Value> {
    let object = |s: &PodStatus| match gantry_json::to_value(s) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    };
    let (old, new) = (object(old), object(new));
    let mut patch = Map::new();
    for field in OWN {
        match (old.get(field), new.get(field)) {
            (before, Some(after)) if before != Some(after) => {
                let mut value = after.clone();
                if let (true, Some(Value::Array(_)), Value::Array(list)) =
                    (matches!(*field, "podIPs" | "hostIPs"), before, &mut value)
                {
                    list.push(json!({"$patch": "replace"}));
                }
                patch.insert(field.to_string().into(), value);
            }
            (Some(_), None) => {
                patch.insert(field.to_string().into(), Value::Null);
            }
            _ => {}
        }
    }
    let list = |m: &Map| m.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let before = list(&old);
    let changed: Vec<Value> = list(&new)
        .into_iter()
        .filter_map(|mut condition| {
            let last = before.iter().find(|c| c["type"] == condition["type"]);
            if last == Some(&condition) {
                return None;
            }
            for key in ["reason", "message"] {
                if last.is_some_and(|l| l.get(key).is_some()) && condition.get(key).is_none() {
                    condition[key] = Value::Null;
                }
            }
            Some(condition)
        })
        .collect();
    // A merge keeps what it does not name.
    let gone = before.iter().filter(|c| !list(&new).iter().any(|n| n["type"] == c["type"]));
    let changed: Vec<Value> =
        changed.into_iter().chain(gone.map(|c| json!({"type": c["type"], "$patch": "delete"}))).collect();
    if !changed.is_empty() {
        patch.insert("conditions".into(), Value::Array(changed));
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

impl Worker {
    fn api(&self) -> Api<Pod> {
        Api::namespaced(self.agent.client.clone(), pod::namespace(&self.pod))
    }

    fn status(&self, terminated: bool) -> PodStatus {
        status::generate(&status::Input {
            pod: &self.pod,
            observed: &self.observed,
            reasons: &self.reasons,
            probes: &|id| self.prober.status(id),
            host_ips: &self.agent.host_ips,
            sizes: &|container, id| {
                let (given, has) = self.sizes.of(container, id);
                let has = has.cloned().unwrap_or_else(|| given.clone().into_owned());
                (given.into_owned(), has)
            },
            refused: self.sizes.refused.as_ref().map(|r| (r.reason, r.message.as_str())),
            resizing: self.sizes.carried_out.as_ref().map(Option::as_deref),
            failed: self.failed.as_ref().map(|(r, m)| (r.as_str(), m.as_str())),
            terminated,
            now: self.agent.now(),
        })
    }

    /// Writes the status when it differs from the last one; true when the API has it.
    pub(super) async fn report(&mut self, terminated: bool) -> bool {
        if self.removed {
            return true;
        }
        let new = self.status(terminated);
        let old = self.pod.status.clone().unwrap_or_default();
        let Some(changes) = patch(&old, &new) else { return true };
        let body = json!({"metadata": {"uid": pod::uid(&self.pod)}, "status": changes});
        let params = PatchParams::default();
        match self.api().patch_status(pod::name(&self.pod), &params, &Patch::Strategic(body)).await {
            Ok(pod) => {
                self.pod = Arc::new(pod);
                self.publish();
                true
            }
            Err(kube::Error::Api(status)) if status.code == 404 => {
                self.removed = true;
                self.wake_after(Duration::ZERO);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "status not written");
                self.wake_after(Duration::from_secs(1));
                false
            }
        }
    }

    /// Removes the object from the API for good, unless another has taken its name; true when it is gone.
    pub(super) async fn delete_object(&mut self) -> bool {
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions {
                uid: Some(pod::uid(&self.pod).into()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match self.api().delete(pod::name(&self.pod), &params).await {
            Ok(_) => true,
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => true,
            Err(error) => {
                tracing::warn!(%error, "pod not deleted");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_are_patched() {
        let status = |v: Value| gantry_json::from_value::<PodStatus>(v).unwrap();
        let old = status(json!({"phase": "Pending", "podIPs": [{"ip": "1"}], "reason": "x",
            "conditions": [{"type": "Ready", "status": "False", "reason": "r"}, {"type": "A", "status": "True"}]}));
        assert_eq!(patch(&old, &old), None);
        let new = status(json!({"phase": "Running", "podIPs": [{"ip": "2"}],
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "A", "status": "True"}]}));
        assert_eq!(
            patch(&old, &new).unwrap(),
            json!({"phase": "Running", "reason": null, "podIPs": [{"ip": "2"}, {"$patch": "replace"}],
                "conditions": [{"type": "Ready", "status": "True", "reason": null}]})
        );
        let fewer = status(json!({"phase": "Pending", "podIPs": [{"ip": "1"}], "reason": "x",
            "conditions": [{"type": "Ready", "status": "False", "reason": "r"}]}));
        assert_eq!(patch(&old, &fewer).unwrap(), json!({"conditions": [{"type": "A", "$patch": "delete"}]}));
    }
}
