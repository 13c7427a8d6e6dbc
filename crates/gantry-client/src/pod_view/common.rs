//! What the pods of one owner have in common: one copy for all of them, whichever informer has them.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use k8s_openapi::api::core::v1::{ContainerPort, PodCondition, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use parking_lot::Mutex;

/// The part of a pod that is the same in all pods of one template in the same state.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Common {
    /// Without what each pod has for itself.
    pub(super) metadata: ObjectMeta,
    /// `spec.hostname`.
    pub hostname: Option<String>,
    /// `spec.subdomain`.
    pub subdomain: Option<String>,
    /// Ports of the containers and of the restartable init containers.
    pub ports: Vec<ContainerPort>,
    /// `spec.tolerations`.
    pub tolerations: Vec<Toleration>,
    /// `status.phase`.
    pub phase: Option<String>,
    /// `status.reason`.
    pub reason: Option<String>,
    /// `status.conditions`, without their times.
    pub conditions: Vec<PodCondition>,
}

/// There is nothing in it that does not equal itself.
impl Eq for Common {}

/// Of what mostly tells templates and states apart; the rest is left to the comparison.
impl Hash for Common {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let ObjectMeta { namespace, labels, annotations, deletion_timestamp, .. } = &self.metadata;
        (namespace, labels, annotations, &self.hostname, &self.phase).hash(state);
        deletion_timestamp.as_ref().map(|time| time.0).hash(state);
        for condition in &self.conditions {
            (&condition.type_, &condition.status, &condition.reason, &condition.message).hash(state);
        }
    }
}

/// What is in use.
#[derive(Default)]
struct Known {
    all: HashSet<Arc<Common>>,
    /// At this size what is no longer used is dropped.
    sweep_at: usize,
}

static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

/// The one copy of `common`.
pub(super) fn shared(common: Common) -> Arc<Common> {
    let mut known = KNOWN.lock();
    if let Some(one) = known.all.get(&common) {
        return one.clone();
    }
    if known.all.len() >= known.sweep_at {
        known.all.retain(|each| Arc::strong_count(each) > 1);
        known.sweep_at = (known.all.len() * 2).max(64);
    }
    let one = Arc::new(common);
    known.all.insert(one.clone());
    one
}
