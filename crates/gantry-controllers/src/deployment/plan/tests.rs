//! A Deployment over several decisions, with ReplicaSets that pods come up in or do not.

use std::collections::BTreeMap;

use gantry_json::{Value, json};
use k8s_openapi::api::apps::v1::ReplicaSetStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;

use super::*;

/// A Deployment, its ReplicaSets and how many pods of each are there and available.
struct World {
    deployment: Deployment,
    sets: BTreeMap<String, ReplicaSet>,
    now: Timestamp,
    generation: i64,
}

impl World {
    fn new(spec: Value) -> Self {
        let mut whole = json!({
            "replicas": 3, "progressDeadlineSeconds": 600, "revisionHistoryLimit": 10,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "v1"}]}},
        });
        for (key, value) in spec.as_object().expect("fields") {
            whole[key] = value.clone();
        }
        let deployment = json!({"metadata": {"name": "web", "namespace": "n", "uid": "d", "generation": 1}, "spec": whole});
        Self {
            deployment: gantry_json::from_value(deployment).expect("a Deployment"),
            sets: BTreeMap::new(),
            now: "2026-01-01T00:00:00Z".parse().expect("a time"),
            generation: 1,
        }
    }

    fn edit(&mut self, pointer: &str, value: Value) {
        let mut all = gantry_json::to_value(&self.deployment).expect("JSON");
        *all.pointer_mut(pointer).expect("a field") = value;
        self.generation += 1;
        all["metadata"]["generation"] = self.generation.into();
        self.deployment = gantry_json::from_value(all).expect("a Deployment");
    }

    fn image(&mut self, image: &str) {
        self.edit("/spec/template/spec/containers/0/image", image.into());
    }

    fn decide(&self, running: &[&str]) -> Plan {
        let sets = self.sets.values().cloned().map(Arc::new).collect();
        let running = running.iter().map(|uid| (*uid).to_owned()).collect();
        plan(Snapshot { deployment: &self.deployment, sets, running, now: self.now })
    }

    /// Decides and carries it out; how many ReplicaSets changed.
    fn step(&mut self) -> usize {
        let plan = self.decide(&[]);
        let changes = usize::from(plan.create.is_some()) + plan.updates.len() + plan.delete.len();
        self.carry_out(plan);
        changes
    }

    fn carry_out(&mut self, plan: Plan) {
        self.now += std::time::Duration::from_secs(1);
        if let Some(mut set) = plan.create {
            let name = set.metadata.name.clone().expect("a name");
            set.metadata.uid = Some(format!("uid-{name}"));
            set.metadata.generation = Some(1);
            set.metadata.creation_timestamp = Some(Time(self.now));
            assert!(self.sets.insert(name, set).is_none(), "created twice");
        }
        for update in plan.updates {
            let set = self.sets.get_mut(update.set.metadata.name.as_deref().expect("a name")).expect("known");
            let spec = set.spec.as_mut().expect("a spec");
            if let Some(replicas) = update.patch.pointer("/spec/replicas").and_then(Value::as_i64) {
                spec.replicas = i32::try_from(replicas).ok();
            }
            if let Some(annotations) =
                update.patch.pointer("/metadata/annotations").and_then(Value::as_object)
            {
                let all = set.metadata.annotations.get_or_insert_default();
                all.extend(
                    annotations.iter().map(|(k, v)| (k.to_string(), v.as_str().expect("text").to_owned())),
                );
            }
            set.metadata.generation = set.metadata.generation.map(|generation| generation + 1);
        }
        for set in plan.delete {
            self.sets.remove(set.metadata.name.as_deref().expect("a name"));
        }
        self.deployment.status = Some(plan.status);
        if let Some(revision) = plan.revision {
            self.deployment
                .metadata
                .annotations
                .get_or_insert_default()
                .insert(revision::REVISION.into(), revision);
        }
    }

    /// The ReplicaSet controller: as many pods as asked for; of those, unavailable ones go first, and
    /// up to `more` become available.
    fn pods(&mut self, name: &str, more: i32) {
        let set = self.sets.get_mut(name).expect("known");
        let asked = desired(set);
        let before = set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0);
        let available = (before.min(asked) + more).clamp(0, asked);
        set.status = Some(ReplicaSetStatus {
            replicas: asked,
            ready_replicas: Some(available),
            available_replicas: Some(available),
            observed_generation: set.metadata.generation,
            ..Default::default()
        });
    }

    /// All pods come up, until nothing changes any more.
    fn settle(&mut self) {
        for _ in 0..50 {
            let names: Vec<_> = self.sets.keys().cloned().collect();
            for name in names {
                self.pods(&name, i32::MAX / 2);
            }
            let before = self.deployment.status.clone();
            if self.step() == 0 && self.deployment.status == before {
                return;
            }
        }
        panic!("does not settle");
    }

    fn sizes(&self) -> Vec<i32> {
        let mut all: Vec<_> = self.sets.values().collect();
        all.sort_by_key(|set| set.metadata.creation_timestamp.clone());
        all.into_iter().map(desired).collect()
    }

    fn condition(&self, type_: &str) -> (String, String, String) {
        let status = self.deployment.status.as_ref().expect("a status");
        let found = status::condition(status, type_).expect("a condition").clone();
        (found.status, found.reason.unwrap_or_default(), found.message.unwrap_or_default())
    }

    fn set(&self, at: usize) -> &ReplicaSet {
        let mut all: Vec<_> = self.sets.values().collect();
        all.sort_by_key(|set| set.metadata.creation_timestamp.clone());
        all[at]
    }

    fn annotation(&self, at: usize, key: &str) -> Option<&str> {
        self.set(at).metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }
}

fn reason(world: &World) -> String {
    world.condition(status::PROGRESSING).1
}

#[test]
fn a_new_deployment_gets_its_replica_set_and_completes() {
    let mut world = World::new(json!({}));
    assert_eq!(world.step(), 1);
    let set = world.set(0).clone();
    let hash = set.metadata.labels.as_ref().expect("labels")[HASH_LABEL].clone();
    assert_eq!(set.metadata.name, Some(format!("web-{hash}")));
    assert_eq!(
        set.spec.as_ref().expect("spec").selector.match_labels.as_ref().expect("labels")[HASH_LABEL],
        hash
    );
    assert_eq!((world.sizes(), world.annotation(0, revision::REVISION)), (vec![3], Some("1")));
    assert_eq!(world.annotation(0, revision::DESIRED_REPLICAS), Some("3"));
    assert_eq!(world.annotation(0, revision::MAX_REPLICAS), Some("4"));
    assert_eq!(reason(&world), "NewReplicaSetCreated");
    assert_eq!(world.condition("Available").1, "MinimumReplicasUnavailable");
    assert_eq!(world.deployment.metadata.annotations.as_ref().expect("annotations")[revision::REVISION], "1");
    let name = world.set(0).metadata.name.clone().expect("a name");
    world.pods(&name, 1);
    assert_eq!(world.step(), 0);
    assert_eq!(reason(&world), "ReplicaSetUpdated");
    assert_eq!(world.deployment.status.as_ref().and_then(|status| status.unavailable_replicas), Some(2));
    world.settle();
    let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
    assert_eq!(world.condition("Progressing"), ("True".into(), "NewReplicaSetAvailable".into(), message));
    assert_eq!(
        world.condition("Available"),
        ("True".into(), "MinimumReplicasAvailable".into(), "Deployment has minimum availability.".into())
    );
    // Nothing is left to do or to write.
    let plan = world.decide(&[]);
    assert!(!status::differs(world.deployment.status.as_ref(), &plan.status) && plan.again.is_none());
}

#[test]
fn a_rolling_update_goes_step_by_step() {
    let mut world = World::new(json!({"replicas": 4}));
    world.settle();
    world.image("v2");
    world.step();
    // One more than asked for, one fewer available.
    assert_eq!(world.sizes(), [3, 1]);
    world.step();
    assert_eq!(world.sizes(), [3, 2], "the old pod's place is taken once it is asked to go");
    assert_eq!(world.step(), 0, "it waits for pods");
    world.settle();
    assert_eq!(world.sizes(), [0, 4]);
    assert_eq!(world.annotation(1, revision::REVISION), Some("2"));
}

#[test]
fn a_roll_back_gives_the_old_replica_set_a_new_revision() {
    let mut world = World::new(json!({}));
    world.settle();
    world.image("v2");
    world.settle();
    world.image("v1");
    world.settle();
    assert_eq!(world.sizes(), [3, 0]);
    assert_eq!(world.annotation(0, revision::REVISION), Some("3"));
    assert_eq!(world.annotation(0, revision::HISTORY), Some("1"));
    assert_eq!(world.deployment.metadata.annotations.as_ref().expect("annotations")[revision::REVISION], "3");
}

#[test]
fn a_broken_template_stops_the_rollout_and_times_out() {
    let mut world = World::new(json!({"replicas": 10}));
    world.settle();
    world.image("broken");
    for _ in 0..5 {
        world.step();
        let names: Vec<_> = world.sets.keys().cloned().collect();
        names.iter().for_each(|name| world.pods(name, 0));
    }
    // 25 % of 10: three more, two fewer.
    assert_eq!(world.sizes(), [8, 5]);
    let plan = world.decide(&[]);
    assert!(plan.again.is_some_and(|again| again.as_secs() > 500), "{:?}", plan.again);
    world.now += std::time::Duration::from_secs(700);
    world.step();
    let name = world.set(1).metadata.name.clone().expect("a name");
    let message = format!("ReplicaSet \"{name}\" has timed out progressing.");
    assert_eq!(world.condition("Progressing"), ("False".into(), "ProgressDeadlineExceeded".into(), message));
    assert!(world.decide(&[]).again.is_none());
    world.image("v1");
    world.settle();
    assert_eq!((world.sizes(), reason(&world).as_str()), (vec![10, 0], "NewReplicaSetAvailable"));
}

#[test]
fn recreation_waits_for_the_old_pods_to_end() {
    let mut world = World::new(json!({"strategy": {"type": "Recreate"}}));
    world.settle();
    world.image("v2");
    world.step();
    assert_eq!(world.sizes(), [0]);
    assert_eq!(world.step(), 0, "its status still counts pods");
    let (name, uid) = (world.set(0).metadata.name.clone(), world.set(0).metadata.uid.clone());
    world.pods(&name.expect("a name"), 0);
    assert!(world.decide(&[&uid.expect("a uid")]).create.is_none(), "a pod is still on its way out");
    world.step();
    assert_eq!(world.sizes(), [0, 3]);
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut world = World::new(json!({"replicas": 4, "paused": false}));
    world.settle();
    world.image("v2");
    world.step();
    world.edit("/spec/paused", true.into());
    world.step();
    assert_eq!(
        world.condition("Progressing"),
        ("Unknown".into(), "DeploymentPaused".into(), "Deployment is paused".into())
    );
    world.image("v3");
    assert_eq!(world.step(), 0);
    let before = world.sizes();
    world.edit("/spec/replicas", 8.into());
    world.step();
    assert!(world.sizes().iter().zip(&before).all(|(now, then)| now > then), "{:?}", world.sizes());
    assert_eq!(world.sizes().iter().sum::<i32>(), 10);
    world.edit("/spec/paused", false.into());
    world.step();
    assert_ne!(reason(&world), "DeploymentPaused");
    world.settle();
    assert_eq!(world.sizes(), [0, 0, 8]);
}

#[test]
fn old_history_goes_beyond_its_limit() {
    let mut world = World::new(json!({"revisionHistoryLimit": 2}));
    for version in ["v1", "v2", "v3", "v4", "v5"] {
        world.image(version);
        world.settle();
    }
    assert_eq!(world.sizes(), [0, 0, 3]);
    let revisions: Vec<_> = (0..3).map(|at| world.annotation(at, revision::REVISION)).collect();
    assert_eq!(revisions, [Some("3"), Some("4"), Some("5")]);
}

#[test]
fn without_a_deadline_nothing_is_said_about_progress() {
    let mut world = World::new(json!({"progressDeadlineSeconds": i32::MAX}));
    world.settle();
    assert!(status::condition(world.deployment.status.as_ref().expect("a status"), "Progressing").is_none());
}

#[test]
fn the_new_replica_set_gets_the_annotations_and_the_ready_time() {
    let mut world = World::new(json!({}));
    world.settle();
    world.deployment.metadata.annotations.get_or_insert_default().insert("team".into(), "a".into());
    world.edit("/spec/template/spec/containers/0/image", "v1".into());
    world.deployment.spec.as_mut().expect("spec").min_ready_seconds = Some(5);
    let plan = world.decide(&[]);
    assert_eq!(plan.updates.len(), 1);
    assert_eq!(plan.updates[0].patch["spec"], json!({"minReadySeconds": 5}));
    assert_eq!(plan.updates[0].patch["metadata"]["annotations"], json!({"team": "a"}));
    assert!(plan.updates[0].scaled.is_none() && plan.create.is_none());
}

#[test]
fn a_deployment_that_is_being_deleted_only_reports() {
    let mut world = World::new(json!({}));
    world.settle();
    world.image("v2");
    world.deployment.metadata.deletion_timestamp = Some(Time(world.now));
    assert_eq!(world.step(), 0);
}

proptest! {
    /// Whatever pods do and in whatever order the controllers come to their turn: never more pods asked
    /// for than replicas and surge, no available pod given up below the minimum, and an end.
    #[test]
    fn a_rollout_stays_within_its_limits(
        replicas in 0..20_i32,
        surge in 0..120_i32,
        unavailable in 0..101_i32,
        turns in prop::collection::vec((0..10_usize, 0..4_i32, 0..60_u8), 1..120),
    ) {
        let mut world = World::new(json!({
            "replicas": replicas,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {
                "maxSurge": format!("{surge}%"), "maxUnavailable": format!("{unavailable}%"),
            }},
        }));
        world.settle();
        let limits = Limits::of(&world.deployment);
        let mut version = 0;
        let available = |world: &World| -> i32 {
            // Pods that are available and that their ReplicaSet still asks for.
            world.sets.values().map(|set| {
                let available = set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0);
                available.min(desired(set))
            }).sum()
        };
        for (which, more, change) in turns {
            if change == 0 {
                version += 1;
                world.image(&format!("r{version}"));
            }
            let before = available(&world);
            world.step();
            prop_assert!(world.sizes().iter().sum::<i32>() <= limits.most());
            prop_assert!(available(&world) >= before.min(limits.fewest_available()));
            if let Some(name) = world.sets.keys().nth(which).cloned() {
                world.pods(&name, more);
            }
        }
        world.settle();
        prop_assert_eq!(world.sizes().into_iter().filter(|size| *size > 0).collect::<Vec<_>>(),
            if replicas > 0 { vec![replicas] } else { vec![] });
        prop_assert!(status::is_complete(&world.deployment, world.deployment.status.as_ref().expect("a status")));
    }
}
