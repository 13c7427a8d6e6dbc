//! How the scheduler runs.

/// How the scheduler runs.
#[derive(Debug, Clone)]
pub struct SchedulerConfig {
    /// Pods that name this scheduler are scheduled by it.
    pub scheduler_name: String,
    /// The holder of the leader lease `kube-system/kube-scheduler`; `None`: schedule without one.
    pub leader_identity: Option<String>,
    /// What events name as their reporting instance.
    pub instance: String,
    /// How many bindings are under way at once.
    pub bindings: usize,
}

impl SchedulerConfig {
    /// The usual configuration of a process that is known as `identity`, such as the host's name.
    pub fn new(identity: &str) -> Self {
        Self {
            scheduler_name: "default-scheduler".into(),
            leader_identity: Some(identity.to_owned()),
            instance: format!("default-scheduler-{identity}"),
            bindings: 128,
        }
    }
}
