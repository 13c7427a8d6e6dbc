//! Pods as they are watched: of a pod's many fields only those that a view keeps are made into values.
//! Every pod of the cluster passes here, several times in its life.

use k8s_openapi::api::core::v1::{self, ContainerPort, PodCondition, PodIP, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

/// A pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Watched {
    pub(super) metadata: ObjectMeta,
    pub(super) spec: Option<Spec>,
    pub(super) status: Option<Status>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Spec {
    pub containers: Vec<Container>,
    pub hostname: Option<String>,
    pub init_containers: Option<Vec<Container>>,
    pub node_name: Option<String>,
    pub subdomain: Option<String>,
    pub tolerations: Option<Vec<Toleration>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Container {
    pub ports: Option<Vec<ContainerPort>>,
    pub restart_policy: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Status {
    pub conditions: Option<Vec<PodCondition>>,
    pub container_statuses: Option<Vec<ContainerStatus>>,
    pub phase: Option<String>,
    #[serde(rename = "podIP")]
    pub pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pub pod_ips: Option<Vec<PodIP>>,
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ContainerStatus {
    pub restart_count: i32,
}

impl From<v1::Container> for Container {
    fn from(container: v1::Container) -> Self {
        Self { ports: container.ports, restart_policy: container.restart_policy }
    }
}

impl From<v1::Pod> for Watched {
    fn from(pod: v1::Pod) -> Self {
        let containers = |list: Vec<v1::Container>| list.into_iter().map(Container::from).collect();
        let spec = pod.spec.map(|spec| Spec {
            containers: containers(spec.containers),
            hostname: spec.hostname,
            init_containers: spec.init_containers.map(containers),
            node_name: spec.node_name,
            subdomain: spec.subdomain,
            tolerations: spec.tolerations,
        });
        let restarts = |each: v1::ContainerStatus| ContainerStatus { restart_count: each.restart_count };
        let status = pod.status.map(|status| Status {
            conditions: status.conditions,
            container_statuses: status
                .container_statuses
                .map(|list| list.into_iter().map(restarts).collect()),
            phase: status.phase,
            pod_ip: status.pod_ip,
            pod_ips: status.pod_ips,
            reason: status.reason,
        });
        Self { metadata: pod.metadata, spec, status }
    }
}

crate::form_of!(v1::Pod, Watched);
