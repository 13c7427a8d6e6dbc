//! A Deployment's ReplicaSets while a decision about them is being made.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_json::{Map, Value, json};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::limits::Limits;
use super::revision::{DESIRED_REPLICAS, MAX_REPLICAS};
use crate::replicaset::status::desired;

/// A ReplicaSet and what is to become of it.
#[derive(Debug, Clone)]
pub struct Plot {
    /// As it is stored, or as it is to be created.
    pub set: Arc<ReplicaSet>,
    /// What `spec.replicas` is to be.
    pub replicas: i32,
    /// What `spec.minReadySeconds` is to be.
    pub min_ready: i32,
    /// What the annotations are to be.
    pub annotations: BTreeMap<String, String>,
}

impl Plot {
    /// Nothing is to change.
    pub fn of(set: Arc<ReplicaSet>) -> Self {
        Self {
            replicas: desired(&set),
            min_ready: set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0),
            annotations: set.metadata.annotations.clone().unwrap_or_default(),
            set,
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        self.set.metadata.name.as_deref().unwrap_or_default()
    }

    /// What orders ReplicaSets by age.
    pub fn age(&self) -> (Option<&Time>, &str) {
        (self.set.metadata.creation_timestamp.as_ref(), self.name())
    }

    /// Pods there are.
    pub fn actual(&self) -> i32 {
        self.set.status.as_ref().map_or(0, |status| status.replicas)
    }

    /// Pods that are ready.
    pub fn ready(&self) -> i32 {
        self.set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0)
    }

    /// Pods that are available.
    pub fn available(&self) -> i32 {
        self.set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
    }

    /// Available pods that stay when it is scaled as planned.
    pub fn lasting(&self) -> i32 {
        self.available().min(self.replicas)
    }

    /// Pods on their way out.
    pub fn terminating(&self) -> i32 {
        self.set.status.as_ref().and_then(|status| status.terminating_replicas).unwrap_or(0)
    }

    /// A number that an annotation holds.
    pub fn number(&self, annotation: &str) -> Option<i32> {
        self.annotations.get(annotation)?.parse().ok()
    }

    /// Asks for that many replicas and notes what the Deployment's size was then.
    pub fn scale(&mut self, replicas: i32, limits: &Limits) {
        self.replicas = replicas;
        self.annotations.insert(DESIRED_REPLICAS.into(), limits.replicas.to_string());
        self.annotations.insert(MAX_REPLICAS.into(), limits.most().to_string());
    }

    /// Like [`Plot::scale`], but nothing where it has that many already.
    pub fn scale_unless(&mut self, replicas: i32, limits: &Limits) {
        if self.replicas != replicas {
            self.scale(replicas, limits);
        }
    }

    /// The merge patch that makes it so, if anything is to change. It applies only to the version that
    /// was looked at.
    pub fn patch(&self) -> Option<Value> {
        let stored = Self::of(self.set.clone());
        let mut spec = Map::new();
        if stored.replicas != self.replicas {
            spec.insert("replicas".into(), self.replicas.into());
        }
        if stored.min_ready != self.min_ready {
            spec.insert("minReadySeconds".into(), self.min_ready.into());
        }
        let changed = |(key, value): &(&String, &String)| stored.annotations.get(*key) != Some(value);
        let annotations: BTreeMap<_, _> = self.annotations.iter().filter(changed).collect();
        if spec.is_empty() && annotations.is_empty() {
            return None;
        }
        let mut patch = json!({"metadata": {"resourceVersion": self.set.metadata.resource_version}});
        if !annotations.is_empty() {
            patch["metadata"]["annotations"] = json!(annotations);
        }
        if !spec.is_empty() {
            patch["spec"] = spec.into();
        }
        Some(patch)
    }

    /// The ReplicaSet as it is to be.
    pub fn object(&self) -> ReplicaSet {
        let mut set = ReplicaSet::clone(&self.set);
        set.metadata.annotations = Some(self.annotations.clone()).filter(|all| !all.is_empty());
        let spec = set.spec.get_or_insert_default();
        spec.replicas = Some(self.replicas);
        spec.min_ready_seconds = Some(self.min_ready).filter(|seconds| *seconds > 0);
        set
    }
}

/// A Deployment and its ReplicaSets.
#[derive(Debug)]
pub struct Rollout<'a> {
    /// The Deployment as it is stored.
    pub deployment: &'a Deployment,
    /// Its limits.
    pub limits: Limits,
    /// The ReplicaSet with the Deployment's template, if there is one.
    pub new: Option<Plot>,
    /// Whether `new` does not exist yet.
    pub creates: bool,
    /// The others, oldest first.
    pub old: Vec<Plot>,
}

impl Rollout<'_> {
    /// All ReplicaSets.
    pub fn all(&self) -> impl Iterator<Item = &Plot> {
        self.old.iter().chain(&self.new)
    }

    /// Those that ask for pods, to be changed.
    pub fn active_mut(&mut self) -> impl Iterator<Item = &mut Plot> {
        self.old.iter_mut().chain(&mut self.new).filter(|plot| plot.replicas > 0)
    }

    /// How many pods all ReplicaSets ask for.
    pub fn asked(&self) -> i32 {
        self.all().map(|plot| plot.replicas).sum()
    }

    /// How many pods are available.
    pub fn available(&self) -> i32 {
        self.all().map(Plot::available).sum()
    }
}
