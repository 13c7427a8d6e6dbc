//! Amounts of node resources, as scheduling counts them.

use std::collections::BTreeMap;

use gantry_api::quantity::Quantity;

use crate::watched::{Container, Pod};

type Quantities = BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>;

/// What a container without a request counts as when nodes are compared (not when they are
/// filtered): 100 millicores and 200 MiB, upstream's figures.
const DEFAULT_MILLI_CPU: i64 = 100;
const DEFAULT_MEMORY: i64 = 200 << 20;

/// Amounts: millicores, bytes and counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Resources {
    /// Millicores.
    pub milli_cpu: i64,
    /// Bytes of memory.
    pub memory: i64,
    /// Bytes of node-local storage.
    pub ephemeral_storage: i64,
    /// Everything else, by resource name.
    pub others: BTreeMap<Box<str>, i64>,
}

impl Resources {
    /// The amounts in a resource list; what does not parse counts as zero, as the API server
    /// has refused it.
    pub fn from_list(list: Option<&Quantities>) -> Self {
        let mut amounts = Self::default();
        for (name, quantity) in list.into_iter().flatten() {
            let Ok(quantity) = quantity.0.parse::<Quantity>() else { continue };
            match name.as_str() {
                "cpu" => amounts.milli_cpu = quantity.milli_value(),
                "memory" => amounts.memory = quantity.value(),
                "ephemeral-storage" => amounts.ephemeral_storage = quantity.value(),
                "pods" => {}
                other => {
                    amounts.others.insert(other.into(), quantity.value());
                }
            }
        }
        amounts
    }

    /// Adds `other` to every amount.
    pub fn add(&mut self, other: &Self) {
        self.combine(other, |mine, theirs| mine + theirs);
    }

    /// Takes `other` from every amount.
    pub fn subtract(&mut self, other: &Self) {
        self.combine(other, |mine, theirs| mine - theirs);
    }

    /// Raises every amount to at least that of `other`.
    pub fn raise_to(&mut self, other: &Self) {
        self.combine(other, i64::max);
    }

    fn combine(&mut self, other: &Self, with: impl Fn(i64, i64) -> i64) {
        self.milli_cpu = with(self.milli_cpu, other.milli_cpu);
        self.memory = with(self.memory, other.memory);
        self.ephemeral_storage = with(self.ephemeral_storage, other.ephemeral_storage);
        for (name, amount) in &other.others {
            let mine = self.others.entry(name.clone()).or_default();
            *mine = with(*mine, *amount);
        }
    }
}

/// What `pod` requests of its node: the larger of its containers together and its heaviest
/// moment of initialisation (KEP-753 counts restartable init containers with both), or its
/// pod-level requests (KEP-2837), and its overhead. With `assume_defaults`, containers that
/// request no CPU or memory count with upstream's scoring defaults.
pub fn pod_requests(pod: &Pod, assume_defaults: bool) -> Resources {
    let Some(spec) = &pod.spec else { return Resources::default() };
    let mut total = Resources::default();
    for container in &spec.containers {
        total.add(&container_requests(container, assume_defaults));
    }
    let mut sidecars = Resources::default();
    let mut peak = Resources::default();
    for container in spec.init_containers.iter().flatten() {
        let requests = container_requests(container, assume_defaults);
        let mut moment = sidecars.clone();
        moment.add(&requests);
        peak.raise_to(&moment);
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars.add(&requests);
        }
    }
    total.add(&sidecars);
    total.raise_to(&peak);
    if let Some(pod_level) = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()) {
        let pod_level_amounts = Resources::from_list(Some(pod_level));
        if pod_level.contains_key("cpu") {
            total.milli_cpu = pod_level_amounts.milli_cpu;
        }
        if pod_level.contains_key("memory") {
            total.memory = pod_level_amounts.memory;
        }
    }
    total.add(&Resources::from_list(spec.overhead.as_ref()));
    total
}

fn container_requests(container: &Container, assume_defaults: bool) -> Resources {
    let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let mut amounts = Resources::from_list(requests);
    let names = |name| requests.is_some_and(|list| list.contains_key(name));
    if assume_defaults && !names("cpu") {
        amounts.milli_cpu = DEFAULT_MILLI_CPU;
    }
    if assume_defaults && !names("memory") {
        amounts.memory = DEFAULT_MEMORY;
    }
    amounts
}
