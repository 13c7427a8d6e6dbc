//! A pod as controllers keep it.

mod common;
mod watched;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};

use crate::{Cached, Meta};
pub use common::Common;
pub use watched::Watched;

/// What controllers read of a pod. A whole `Pod` takes about ten times the memory of its JSON; this takes
/// a few hundred bytes, because what pods of one owner have in [`Common`] is there once.
#[derive(Debug, Clone, Default)]
pub struct PodView {
    /// Without managed fields and without kubectl's last applied state.
    pub metadata: PodMeta,
    /// `spec.nodeName`, unless empty.
    pub node_name: Option<String>,
    /// `status.podIP`, unless empty.
    pub pod_ip: Option<String>,
    /// `status.podIPs`.
    pub pod_ips: Vec<String>,
    /// The largest restart count among the containers.
    pub restarts: i32,
    /// The last transitions of [`Common::conditions`], in their order.
    transitions: Box<[Option<Time>]>,
}

/// A pod's metadata: what is its own, and the rest by way of [`Common`].
#[derive(Debug, Clone, Default)]
pub struct PodMeta {
    /// `name`.
    pub name: Option<String>,
    /// `uid`.
    pub uid: Option<String>,
    /// `resourceVersion`.
    pub resource_version: Option<String>,
    /// `creationTimestamp`.
    pub creation_timestamp: Option<Time>,
    common: Arc<Common>,
}

impl Deref for PodMeta {
    type Target = ObjectMeta;

    fn deref(&self) -> &ObjectMeta {
        &self.common.metadata
    }
}

impl Deref for PodView {
    type Target = Common;

    fn deref(&self) -> &Common {
        &self.metadata.common
    }
}

impl PodView {
    /// The condition of that type, without its times.
    pub fn condition(&self, type_: &str) -> Option<&PodCondition> {
        self.conditions.iter().find(|condition| condition.type_ == type_)
    }

    /// Whether the condition Ready is true.
    pub fn is_ready(&self) -> bool {
        self.condition("Ready").is_some_and(|condition| condition.status == "True")
    }

    /// Since when the pod is ready; `None` where it is not.
    pub fn ready_since(&self) -> Option<Timestamp> {
        self.last_transition("Ready").filter(|_| self.is_ready())
    }

    /// When the condition of that type last changed its status.
    pub fn last_transition(&self, type_: &str) -> Option<Timestamp> {
        let at = self.conditions.iter().position(|condition| condition.type_ == type_)?;
        self.transitions.get(at)?.as_ref().map(|time| time.0)
    }

    /// Whether all its containers have ended for good.
    pub fn is_terminal(&self) -> bool {
        matches!(self.phase.as_deref(), Some("Succeeded" | "Failed"))
    }

    /// Whether its deletion was asked for.
    pub fn is_deleted(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// Whether it counts for its owner: neither ended nor on the way out.
    pub fn is_active(&self) -> bool {
        !self.is_terminal() && !self.is_deleted()
    }
}

/// A whole pod, as none is watched.
impl From<Pod> for PodView {
    fn from(pod: Pod) -> Self {
        Watched::from(pod).into()
    }
}

impl From<Watched> for PodView {
    fn from(pod: Watched) -> Self {
        let mut metadata = pod.metadata;
        metadata.managed_fields = None;
        if let Some(annotations) = metadata.annotations.as_mut() {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
        let spec = pod.spec.unwrap_or_default();
        let status = pod.status.unwrap_or_default();
        let some = |text: Option<String>| text.filter(|text| !text.is_empty());
        let sidecars = spec
            .init_containers
            .into_iter()
            .flatten()
            .filter(|c| c.restart_policy.as_deref() == Some("Always"));
        let ports = spec.containers.into_iter().chain(sidecars).flat_map(|c| c.ports.unwrap_or_default());
        let restarts = status.container_statuses.iter().flatten().map(|c| c.restart_count).max();
        let mut conditions = status.conditions.unwrap_or_default();
        let transitions = conditions.iter_mut().map(|condition| {
            condition.last_probe_time = None;
            condition.last_transition_time.take()
        });
        let transitions = transitions.collect();
        let (name, uid) = (metadata.name.take(), metadata.uid.take());
        let (resource_version, created) =
            (metadata.resource_version.take(), metadata.creation_timestamp.take());
        let common = Common {
            metadata,
            hostname: some(spec.hostname),
            subdomain: some(spec.subdomain),
            ports: ports.collect(),
            tolerations: spec.tolerations.unwrap_or_default(),
            phase: some(status.phase),
            reason: some(status.reason),
            conditions,
        };
        let common = common::shared(common);
        Self {
            metadata: PodMeta { name, uid, resource_version, creation_timestamp: created, common },
            node_name: some(spec.node_name),
            pod_ip: some(status.pod_ip),
            pod_ips: status.pod_ips.into_iter().flatten().map(|ip| ip.ip).collect(),
            restarts: restarts.unwrap_or(0),
            transitions,
        }
    }
}

impl Cached for PodView {
    type Object = Watched;

    fn from_object(object: Watched) -> Self {
        object.into()
    }

    fn meta(&self) -> &dyn Meta {
        &self.metadata
    }
}

impl Meta for PodMeta {
    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn namespace(&self) -> Option<&str> {
        self.common.metadata.namespace()
    }

    fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }

    fn resource_version(&self) -> Option<&str> {
        self.resource_version.as_deref()
    }

    fn labels(&self) -> Option<&BTreeMap<String, String>> {
        self.common.metadata.labels()
    }

    fn owner_references(&self) -> &[OwnerReference] {
        self.common.metadata.owner_references()
    }

    fn deletion_timestamp(&self) -> Option<&Time> {
        self.common.metadata.deletion_timestamp()
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    fn pod(name: &str, label: &str, since: &str) -> PodView {
        let pod: Watched = gantry_json::from_value(json!({
            "metadata": {"name": name, "namespace": "n", "uid": name, "labels": {"app": label},
                "managedFields": [{"manager": "m"}]},
            "spec": {"nodeName": "", "containers": [{"name": "c", "ports": [{"containerPort": 80}]}]},
            "status": {"conditions": [{"type": "Scheduled", "status": "True"},
                {"type": "Ready", "status": "True", "lastTransitionTime": since}]}
        }))
        .expect("a pod");
        pod.into()
    }

    #[test]
    fn what_is_watched_is_what_a_whole_pod_has() {
        let port = json!({"containerPort": 80, "name": "http", "protocol": "TCP"});
        let value = json!({
            "metadata": {"name": "a", "namespace": "n", "uid": "u", "annotations": {"x": "y",
                "kubectl.kubernetes.io/last-applied-configuration": "{}"}, "managedFields": [{"manager": "m"}]},
            "spec": {"nodeName": "node", "hostname": "h", "subdomain": "s", "tolerations": [{"key": "t"}],
                "containers": [{"name": "c", "image": "i", "ports": [port]}],
                "initContainers": [{"name": "once", "ports": [port]},
                    {"name": "car", "ports": [{"containerPort": 90, "protocol": "UDP"}], "restartPolicy": "Always"}]},
            "status": {"phase": "Running", "reason": "r", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}],
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
                "containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": 3}]}
        });
        let watched = PodView::from(gantry_json::from_value::<Watched>(value.clone()).expect("a pod"));
        let whole = PodView::from(gantry_json::from_value::<Pod>(value).expect("a pod"));
        assert_eq!(format!("{watched:?}"), format!("{whole:?}"));
        assert_eq!((watched.ports.len(), watched.restarts, watched.pod_ips.len()), (2, 3, 1));
        assert_eq!((watched.node_name.as_deref(), watched.hostname.as_deref()), (Some("node"), Some("h")));
        assert_eq!(watched.metadata.annotations.as_ref().map(BTreeMap::len), Some(1));
        assert!(watched.is_ready() && watched.tolerations.len() == 1);
    }

    #[test]
    fn pods_of_one_owner_share_what_they_have_in_common() {
        let (first, second) = (pod("a", "x", "2026-01-01T00:00:00Z"), pod("b", "x", "2026-01-01T00:00:07Z"));
        assert!(Arc::ptr_eq(&first.metadata.common, &second.metadata.common));
        assert_eq!((first.metadata.name.as_deref(), second.metadata.name.as_deref()), (Some("a"), Some("b")));
        assert_eq!(first.metadata.namespace.as_deref(), Some("n"));
        assert_eq!(first.node_name, None);
        assert!(first.is_ready() && second.is_ready());
        let since = |pod: &PodView| pod.ready_since().expect("it is ready");
        assert_eq!(since(&second).duration_since(since(&first)).as_secs(), 7);
        let other = pod("c", "y", "2026-01-01T00:00:00Z");
        assert!(!Arc::ptr_eq(&first.metadata.common, &other.metadata.common));
    }
}
