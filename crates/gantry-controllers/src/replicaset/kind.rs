//! Kinds that keep a number of pods: ReplicaSets, and ReplicationControllers, which came before them and
//! say the same in other words.

use std::borrow::Cow;
use std::fmt::Debug;

use gantry_client::Cached;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetSpec, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{
    ReplicationController, ReplicationControllerCondition, ReplicationControllerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::Resource;
use kube::core::Selector;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// An object that asks for a number of pods.
pub trait Replicated:
    Cached<Object = Self>
    + Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
{
    /// What logs call its controller.
    const NAME: &'static str;

    /// The object as a ReplicaSet.
    fn view(&self) -> Cow<'_, ReplicaSet>;

    /// The object with what a ReplicaSet would report.
    fn with_status(&self, status: ReplicaSetStatus) -> Self;

    /// What it cannot report is left out.
    fn reported(status: ReplicaSetStatus) -> ReplicaSetStatus {
        status
    }

    /// Its metadata.
    fn metadata(&self) -> &ObjectMeta {
        Resource::meta(self)
    }

    /// The selector; `None` where it selects nothing or everything, which is never meant.
    fn selector(&self) -> Option<Selector> {
        let selector = Selector::try_from(self.view().spec.as_ref()?.selector.clone()).ok()?;
        Some(selector).filter(|selector| !selector.selects_all())
    }
}

impl Replicated for ReplicaSet {
    const NAME: &'static str = "replicaset";

    fn view(&self) -> Cow<'_, ReplicaSet> {
        Cow::Borrowed(self)
    }

    fn with_status(&self, status: ReplicaSetStatus) -> Self {
        Self { status: Some(status), ..self.clone() }
    }
}

impl Replicated for ReplicationController {
    const NAME: &'static str = "replicationcontroller";

    fn view(&self) -> Cow<'_, ReplicaSet> {
        let spec = self.spec.clone().map(|spec| ReplicaSetSpec {
            min_ready_seconds: spec.min_ready_seconds,
            replicas: spec.replicas,
            selector: LabelSelector { match_labels: spec.selector, ..LabelSelector::default() },
            template: spec.template,
        });
        let status = self.status.clone().map(|status| ReplicaSetStatus {
            replicas: status.replicas,
            fully_labeled_replicas: status.fully_labeled_replicas,
            ready_replicas: status.ready_replicas,
            available_replicas: status.available_replicas,
            observed_generation: status.observed_generation,
            terminating_replicas: None,
            conditions: status.conditions.map(|all| {
                let condition = |each: ReplicationControllerCondition| ReplicaSetCondition {
                    last_transition_time: each.last_transition_time,
                    message: each.message,
                    reason: each.reason,
                    status: each.status,
                    type_: each.type_,
                };
                all.into_iter().map(condition).collect()
            }),
        });
        Cow::Owned(ReplicaSet { metadata: self.metadata.clone(), spec, status })
    }

    fn with_status(&self, status: ReplicaSetStatus) -> Self {
        let status = ReplicationControllerStatus {
            replicas: status.replicas,
            fully_labeled_replicas: status.fully_labeled_replicas,
            ready_replicas: status.ready_replicas,
            available_replicas: status.available_replicas,
            observed_generation: status.observed_generation,
            conditions: status.conditions.map(|all| {
                let condition = |each: ReplicaSetCondition| ReplicationControllerCondition {
                    last_transition_time: each.last_transition_time,
                    message: each.message,
                    reason: each.reason,
                    status: each.status,
                    type_: each.type_,
                };
                all.into_iter().map(condition).collect()
            }),
        };
        Self { status: Some(status), ..self.clone() }
    }

    fn reported(status: ReplicaSetStatus) -> ReplicaSetStatus {
        ReplicaSetStatus { terminating_replicas: None, ..status }
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    #[test]
    fn a_replication_controller_is_a_replica_set_in_other_words() {
        let value = json!({
            "apiVersion": "v1", "kind": "ReplicationController",
            "metadata": {"name": "web", "namespace": "n", "uid": "u", "generation": 2},
            "spec": {"replicas": 3, "minReadySeconds": 5, "selector": {"app": "a"},
                "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": []}}},
            "status": {"replicas": 2, "readyReplicas": 1, "observedGeneration": 2,
                "conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}]},
        });
        let controller: ReplicationController = gantry_json::from_value(value.clone()).expect("a controller");
        let view = controller.view();
        assert_eq!(view.spec.as_ref().and_then(|spec| spec.replicas), Some(3));
        assert!(controller.selector().is_some_and(|selector| !selector.selects_all()));
        let again = controller.with_status(view.status.clone().expect("a status"));
        assert_eq!(gantry_json::to_value(&again).expect("JSON"), value);
        let status = ReplicaSetStatus { terminating_replicas: Some(1), ..ReplicaSetStatus::default() };
        assert_eq!(ReplicationController::reported(status).terminating_replicas, None);
    }
}
