//! A pod as scheduling sees it: who it is, where it stands, and its shape.

use std::ops::Deref;
use std::sync::Arc;

use crate::shape::Shape;
use crate::watched::Pod;

/// A pod's identity in one incarnation.
pub type Uid = Arc<str>;

/// The pod. What placing it depends on is its [`Shape`], which it dereferences to.
#[derive(Debug, Clone, Default)]
pub struct PodInfo {
    /// Name.
    pub name: Box<str>,
    /// Identity of this incarnation.
    pub uid: Uid,
    /// The node it is bound to.
    pub node_name: Option<Box<str>>,
    /// The node that others were pushed off for it.
    pub nominated: Option<Box<str>>,
    /// Since when it exists, seconds since the epoch.
    pub created: i64,
    /// How often its spec has changed.
    pub generation: i64,
    /// The scheduler it is for; not kept of a pod that has a node.
    pub scheduler: Box<str>,
    /// Whether gates hold it back.
    pub gated: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Whether it has ended.
    pub finished: bool,
    /// The message of its PodScheduled condition, where that is false.
    pub unscheduled: Option<Box<str>>,
    /// What placing it depends on.
    pub shape: Arc<Shape>,
}

impl Deref for PodInfo {
    type Target = Shape;

    fn deref(&self) -> &Shape {
        &self.shape
    }
}

impl PodInfo {
    /// The facts of `pod`.
    pub fn new(pod: &Pod) -> Self {
        let meta = &pod.metadata;
        let text = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(Box::from);
        let mut info = Self {
            name: meta.name.as_deref().unwrap_or_default().into(),
            uid: meta.uid.as_deref().unwrap_or_default().into(),
            created: meta.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second()),
            generation: meta.generation.unwrap_or_default(),
            terminating: meta.deletion_timestamp.is_some(),
            shape: Arc::new(Shape::new(pod)),
            ..Self::default()
        };
        if let Some(spec) = &pod.spec {
            info.node_name = text(spec.node_name.as_deref());
            info.gated = spec.scheduling_gates.iter().flatten().next().is_some();
        }
        info.finished = has_ended(pod);
        // The rest matters only while it waits.
        if info.node_name.is_some() {
            return info;
        }
        let scheduler = pod.spec.as_ref().and_then(|spec| spec.scheduler_name.as_deref());
        info.scheduler = scheduler.unwrap_or("default-scheduler").into();
        if let Some(status) = &pod.status {
            info.nominated = text(status.nominated_node_name.as_deref());
            let mut conditions = status.conditions.iter().flatten();
            info.unscheduled = conditions
                .find(|each| each.type_ == "PodScheduled" && each.status == "False")
                .map(|each| each.message.as_deref().unwrap_or_default().into());
        }
        info
    }

    /// `namespace/name`.
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}
