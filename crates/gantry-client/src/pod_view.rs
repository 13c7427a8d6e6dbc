//! A pod as controllers keep it.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerPort, Pod, PodCondition, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use crate::Cached;

/// What controllers read of a pod. A whole `Pod` takes about ten times the memory of its JSON; this
/// takes about half of it.
#[derive(Debug, Clone, Default)]
pub struct PodView {
    /// Without managed fields and without kubectl's last applied state.
    pub metadata: ObjectMeta,
    /// `spec.nodeName`, unless empty.
    pub node_name: Option<String>,
    /// `spec.hostname`.
    pub hostname: Option<String>,
    /// `spec.subdomain`.
    pub subdomain: Option<String>,
    /// `spec.hostNetwork`.
    pub host_network: bool,
    /// `spec.serviceAccountName`.
    pub service_account: Option<String>,
    /// `spec.restartPolicy`.
    pub restart_policy: Option<String>,
    /// Ports of the containers and of the restartable init containers.
    pub ports: Vec<ContainerPort>,
    /// `spec.tolerations`.
    pub tolerations: Vec<Toleration>,
    /// `spec.priority`.
    pub priority: Option<i32>,
    /// `status.phase`.
    pub phase: Option<String>,
    /// `status.reason`.
    pub reason: Option<String>,
    /// `status.conditions`.
    pub conditions: Vec<PodCondition>,
    /// `status.podIP`, unless empty.
    pub pod_ip: Option<String>,
    /// `status.podIPs`.
    pub pod_ips: Vec<String>,
    /// `status.hostIP`.
    pub host_ip: Option<String>,
    /// `status.startTime`.
    pub start_time: Option<Time>,
    /// The largest restart count among the containers.
    pub restarts: i32,
}

impl PodView {
    /// The condition of that type.
    pub fn condition(&self, type_: &str) -> Option<&PodCondition> {
        self.conditions.iter().find(|condition| condition.type_ == type_)
    }

    /// Whether the condition Ready is true.
    pub fn is_ready(&self) -> bool {
        self.condition("Ready").is_some_and(|condition| condition.status == "True")
    }

    /// Since when the pod is ready; `None` where it is not.
    pub fn ready_since(&self) -> Option<Timestamp> {
        let ready = self.condition("Ready").filter(|condition| condition.status == "True")?;
        ready.last_transition_time.as_ref().map(|time| time.0)
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

impl From<Pod> for PodView {
    fn from(pod: Pod) -> Self {
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
        Self {
            metadata,
            node_name: some(spec.node_name),
            hostname: some(spec.hostname),
            subdomain: some(spec.subdomain),
            host_network: spec.host_network == Some(true),
            service_account: some(spec.service_account_name),
            restart_policy: spec.restart_policy,
            ports: ports.collect(),
            tolerations: spec.tolerations.unwrap_or_default(),
            priority: spec.priority,
            phase: some(status.phase),
            reason: some(status.reason),
            conditions: status.conditions.unwrap_or_default(),
            pod_ip: some(status.pod_ip),
            pod_ips: status.pod_ips.into_iter().flatten().map(|ip| ip.ip).collect(),
            host_ip: some(status.host_ip),
            start_time: status.start_time,
            restarts: restarts.unwrap_or(0),
        }
    }
}

impl Cached for PodView {
    type Object = Pod;

    fn from_object(object: Pod) -> Self {
        object.into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
}
