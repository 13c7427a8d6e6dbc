//! What every part of the node agent shares.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::Arc,
};

use gantry_cri::{ImageService, RuntimeService, v1::DNSConfig};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Secret, Service};
use kube::Client;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{SetOnce, mpsc, watch};

use crate::{
    config::Config, events::Events, eviction::Resource, image_gc, machine::Machine, objects::Cache, pod,
    resize, worker::Message,
};

/// A pod's worker as others see it.
pub struct Handle {
    /// The worker's mailbox.
    pub tx: mpsc::UnboundedSender<Message>,
    /// The pod with its latest status.
    pub pod: Arc<Pod>,
    /// Whether it takes something of the node that others cannot have: not when the node has rejected it,
    /// nor when the API has it no more.
    pub counts: bool,
}

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> jiff::Timestamp + Send + Sync>;

/// Services by namespace and name.
pub type Services = BTreeMap<(String, String), Arc<Service>>;

/// Shared by the workers, the server and the loops.
pub struct Agent {
    /// The API.
    pub client: Client,
    /// The runtime.
    pub runtime: Arc<dyn RuntimeService>,
    /// Its images.
    pub images: Arc<dyn ImageService>,
    /// Settings.
    pub config: Config,
    /// Event writer.
    pub events: Events,
    /// ConfigMaps in use.
    pub config_maps: Cache<ConfigMap>,
    /// Secrets in use.
    pub secrets: Cache<Secret>,
    /// Services of the cluster; `None` until the first list is in.
    pub services: watch::Receiver<Option<Arc<Services>>>,
    /// The own Node object, once registered.
    pub node: watch::Receiver<Option<Arc<Node>>>,
    /// The machine's size and identity.
    pub machine: Machine,
    /// The node's addresses, the primary one first.
    pub host_ips: Vec<String>,
    /// The node's resolver settings.
    pub node_dns: DNSConfig,
    /// The time.
    pub clock: Clock,
    /// When each pressure on the node was seen last.
    pub pressures: Mutex<HashMap<&'static str, jiff::Timestamp>>,
    /// When the images were used.
    pub known_images: Mutex<image_gc::Images>,
    /// Held while a pod is given users of its own.
    pub users: Mutex<()>,
    /// Set once the API has told which pods the node has.
    pub listed: SetOnce<()>,
    /// Pods by uid.
    pub pods: RwLock<HashMap<String, Handle>>,
}

impl Agent {
    /// The time now.
    pub fn now(&self) -> jiff::Timestamp {
        (self.clock)()
    }

    /// Memory that pods may have together, in bytes.
    pub fn allocatable_memory(&self) -> i64 {
        let kept = self.config.eviction_hard.kept(Resource::Memory, self.machine.memory);
        (self.machine.memory - kept).max(0) / 1024 * 1024
    }

    /// Disk that pods may have together, in bytes.
    pub fn allocatable_storage(&self) -> i64 {
        let kept = self.config.eviction_hard.kept(Resource::Storage, self.machine.storage);
        (self.machine.storage - kept).max(0)
    }

    /// A pod's directory.
    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.config.root_dir.join("pods").join(uid)
    }

    /// A pod's log directory.
    pub fn log_dir(&self, pod: &Pod) -> PathBuf {
        let name = format!("{}_{}_{}", pod::namespace(pod), pod::name(pod), pod::uid(pod));
        self.config.pod_logs_dir.join(name)
    }

    /// The pod of that name, with its latest status.
    pub fn find_pod(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        let pods = self.pods.read();
        pods.values()
            .map(|h| &h.pod)
            .find(|p| pod::namespace(p) == namespace && pod::name(p) == name)
            .cloned()
    }

    /// Wakes the pods whose resize waits for room on the node, but for the one with this uid.
    pub fn wake_deferred(&self, uid: &str) {
        let deferred = |pod: &Pod| {
            let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
            conditions
                .into_iter()
                .any(|c| c.type_ == resize::PENDING && c.reason.as_deref() == Some("Deferred"))
        };
        for handle in self.pods.read().values().filter(|h| pod::uid(&h.pod) != uid && deferred(&h.pod)) {
            // A worker that has ended waits for nothing.
            let _ = handle.tx.send(Message::Wake);
        }
    }

    /// All pods with their latest status.
    pub fn all_pods(&self) -> Vec<Arc<Pod>> {
        self.pods.read().values().map(|h| h.pod.clone()).collect()
    }

    /// Those that take something of the node that others cannot have.
    pub fn counted_pods(&self) -> Vec<Arc<Pod>> {
        self.pods.read().values().filter(|h| h.counts).map(|h| h.pod.clone()).collect()
    }
}
