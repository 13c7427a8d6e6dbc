//! The core: what it knows after events in any order, and what it decides.

use gantry_json::json;
use proptest::prelude::*;

use super::*;
use crate::watched::Pod;

fn node(name: &str, cpu: u32, zone: &str) -> Node {
    let value = json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name,
            "topology.kubernetes.io/zone": zone, "rack": format!("r-{zone}")}},
        "status": {"allocatable": {"cpu": cpu.to_string(), "memory": "4Gi", "pods": "10"},
            "images": [{"names": [format!("image-{zone}:1")], "sizeBytes": 100_000_000}]}});
    gantry_json::from_value(value).expect("a node")
}

/// A pod of one of a few kinds.
fn pod(uid: usize, kind: usize, node: Option<&str>, terminating: bool) -> PodInfo {
    let affinity = match kind % 3 {
        0 => json!(null),
        1 => json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "rack", "labelSelector": {"matchLabels": {"kind": "1"}}}]}}),
        _ => json!({"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 5,
            "podAffinityTerm": {"topologyKey": "rack", "labelSelector": {"matchLabels": {"kind": "2"}}}}]}}),
    };
    let value = json!({"metadata": {"name": format!("p{uid}"), "namespace": format!("ns{}", kind % 2),
            "uid": format!("u{uid}"), "labels": {"kind": kind.to_string()},
            "deletionTimestamp": terminating.then_some("2030-01-01T00:00:00Z")},
        "spec": {"nodeName": node, "schedulerName": "default-scheduler", "affinity": affinity, "priority": kind,
            "containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 8000 + kind}],
                "resources": {"requests": {"cpu": format!("{}m", 100 * kind), "example.com/thing": kind.to_string()}}}]}});
    PodInfo::new(&gantry_json::from_value::<Pod>(value).expect("a pod"))
}

fn now() -> Instant {
    Instant::now()
}

/// Something that happens to one of a few nodes or pods.
#[derive(Debug, Clone)]
enum Step {
    Node { name: usize, cpu: u32, zone: usize },
    NodeGone(usize),
    Pod { uid: usize, kind: usize },
    Bound { uid: usize, kind: usize, node: usize, terminating: bool },
    PodGone(usize),
    Decide,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..4usize, 1..8u32, 0..3usize).prop_map(|(name, cpu, zone)| Step::Node { name, cpu, zone }),
        1 => (0..4usize).prop_map(Step::NodeGone),
        3 => (0..12usize, 0..5usize).prop_map(|(uid, kind)| Step::Pod { uid, kind }),
        4 => (0..12usize, 0..5usize, 0..4usize, any::<bool>())
            .prop_map(|(uid, kind, node, terminating)| Step::Bound { uid, kind, node, terminating }),
        2 => (0..12usize).prop_map(Step::PodGone),
        3 => Just(Step::Decide),
    ]
}

proptest! {
    /// Events in any order leave what a scheduler knows that saw only their result.
    #[test]
    fn the_model_forgets_nothing_and_keeps_nothing(steps in proptest::collection::vec(step(), 1..120)) {
        let mut scheduler = Scheduler::new("default-scheduler");
        let mut nodes = HashMap::new();
        let mut pods: HashMap<usize, (usize, Option<String>, bool)> = HashMap::new();
        for step in steps {
            match step {
                Step::Node { name, cpu, zone } => {
                    let node = node(&format!("n{name}"), cpu, &format!("z{zone}"));
                    scheduler.node_changed(&node, now());
                    nodes.insert(name, node);
                }
                Step::NodeGone(name) => {
                    scheduler.node_gone(&format!("n{name}"), now());
                    nodes.remove(&name);
                }
                // A bound pod stays on its node.
                Step::Pod { uid, .. } if pods.get(&uid).is_some_and(|(_, node, _)| node.is_some()) => {}
                Step::Pod { uid, kind } => {
                    scheduler.pod_changed(pod(uid, kind, None, false), now());
                    pods.insert(uid, (kind, None, false));
                }
                Step::Bound { uid, kind, node, terminating } => {
                    let before = pods.get(&uid).and_then(|(_, node, _)| node.clone());
                    let node = before.unwrap_or_else(|| format!("n{node}"));
                    scheduler.pod_changed(pod(uid, kind, Some(&node), terminating), now());
                    pods.insert(uid, (kind, Some(node), terminating));
                }
                Step::PodGone(uid) => {
                    scheduler.pod_gone(&format!("u{uid}"), now());
                    pods.remove(&uid);
                }
                Step::Decide => {
                    match scheduler.next(now()) {
                        // The API server binds at once.
                        Some(Outcome::Bind(binding)) => {
                            let uid: usize = binding.pod.uid[1..].parse().expect("a number");
                            let kind = pods[&uid].0;
                            scheduler.pod_changed(pod(uid, kind, Some(&binding.node), false), now());
                            pods.insert(uid, (kind, Some(binding.node), false));
                        }
                        Some(Outcome::Wait(wait)) => {
                            // Victims that are to be ended stay.
                            for victim in &wait.victims {
                                scheduler.victim_stays(&victim.uid, &wait.pod.uid, now());
                            }
                        }
                        None => {}
                    }
                }
            }
        }
        let mut fresh = Scheduler::new("default-scheduler");
        fresh.nodes_listed(&nodes.into_values().collect::<Vec<_>>(), now());
        let listed = pods.iter().map(|(uid, (kind, node, going))| pod(*uid, *kind, node.as_deref(), *going));
        fresh.pods_listed(listed.collect(), now());
        prop_assert_eq!(scheduler.cluster().summary(), fresh.cluster().summary());
        let waiting = |scheduler: &Scheduler| {
            let mut uids: Vec<_> = scheduler.queue.uids().cloned().collect();
            uids.sort();
            uids
        };
        prop_assert_eq!(waiting(&scheduler), waiting(&fresh));
    }
}

/// A scheduler with these nodes and pods on them.
fn scheduler(nodes: &[Node], placed: &[(usize, usize, &str)]) -> Scheduler {
    let mut scheduler = Scheduler::new("default-scheduler");
    scheduler.nodes_listed(nodes, now());
    let pods = placed.iter().map(|(uid, kind, node)| pod(*uid, *kind, Some(node), false));
    scheduler.pods_listed(pods.collect(), now());
    scheduler
}

fn bound(scheduler: &mut Scheduler) -> Option<String> {
    match scheduler.next(now()) {
        Some(Outcome::Bind(binding)) => Some(format!("{} to {}", binding.pod.name, binding.node)),
        _ => None,
    }
}

fn waits(scheduler: &mut Scheduler) -> Option<Wait> {
    match scheduler.next(now()) {
        Some(Outcome::Wait(wait)) => Some(wait),
        _ => None,
    }
}

/// A pod that asks for millicores.
fn asking(uid: &str, priority: i32, milli: u32) -> PodInfo {
    let value = json!({"metadata": {"name": uid, "namespace": "ns", "uid": uid},
        "spec": {"priority": priority, "schedulerName": "default-scheduler",
            "containers": [{"name": "c", "resources": {"requests": {"cpu": format!("{milli}m")}}}]}});
    PodInfo::new(&gantry_json::from_value::<Pod>(value).expect("a pod"))
}

fn on(pod: &PodInfo, node: &str) -> PodInfo {
    PodInfo { node_name: Some(node.into()), ..pod.clone() }
}

#[test]
fn the_last_cpu_is_given_once() {
    let mut scheduler = scheduler(&[node("a", 1, "z")], &[]);
    scheduler.pod_changed(asking("p1", 0, 600), now());
    scheduler.pod_changed(asking("p2", 0, 600), now());
    assert_eq!(bound(&mut scheduler).as_deref(), Some("p1 to a"));
    let wait = waits(&mut scheduler).expect("no room");
    assert_eq!(
        &*wait.message,
        "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are \
         available: 1 No preemption victims found for incoming pod."
    );
    assert!(wait.condition && wait.victims.is_empty());
    // The binding failed after all: the other takes the room.
    assert!(scheduler.not_bound("p1", now()));
    assert_eq!(bound(&mut scheduler).as_deref(), Some("p2 to a"));
}

#[test]
fn too_large_a_pod_is_not_helped_by_preemption() {
    let mut scheduler = scheduler(&[node("a", 1, "z")], &[]);
    scheduler.pod_changed(asking("p", 0, 1600), now());
    assert!(
        waits(&mut scheduler)
            .expect("no room")
            .message
            .ends_with("preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.")
    );
}

#[test]
fn no_nodes() {
    let mut scheduler = scheduler(&[], &[]);
    scheduler.pod_changed(asking("p", 0, 100), now());
    assert_eq!(&*waits(&mut scheduler).expect("no room").message, "no nodes available to schedule pods");
    scheduler.node_changed(&node("a", 1, "z"), now());
    assert_eq!(bound(&mut scheduler).as_deref(), Some("p to a"));
}

#[test]
fn only_a_helpful_event_brings_a_pod_back() {
    let mut scheduler = scheduler(&[node("a", 2, "z")], &[]);
    let (small, large) = (asking("small", 0, 300), asking("large", 0, 1500));
    scheduler.pod_changed(on(&small, "a"), now());
    scheduler.pod_changed(on(&large, "a"), now());
    scheduler.pod_changed(asking("p", 0, 1000), now());
    assert!(waits(&mut scheduler).is_some());
    scheduler.pod_gone("small", now());
    assert!(scheduler.next(now()).is_none(), "not enough room");
    scheduler.pod_gone("large", now());
    assert_eq!(bound(&mut scheduler).as_deref(), Some("p to a"));
}

#[test]
fn a_condition_is_reported_once() {
    let mut scheduler = scheduler(&[node("a", 1, "z")], &[]);
    let pod = asking("p", 0, 1600);
    scheduler.pod_changed(pod.clone(), now());
    let first = waits(&mut scheduler).expect("no room");
    scheduler.pod_changed(PodInfo { unscheduled: Some((&*first.message).into()), ..pod }, now());
    assert!(scheduler.next(now()).is_none(), "its own condition is no news");
    scheduler.node_changed(&node("a", 1, "y"), now());
    scheduler.pod_gone("nobody", now());
    assert!(scheduler.next(now()).is_none());
}

#[test]
fn the_least_important_pods_make_room() {
    let mut scheduler = scheduler(&[node("a", 2, "z"), node("b", 2, "z")], &[]);
    for (uid, priority, milli, node) in
        [("a1", 5, 1000, "a"), ("a2", 1, 1000, "a"), ("b1", 3, 1500, "b"), ("b2", 3, 500, "b")]
    {
        scheduler.pod_changed(on(&asking(uid, priority, milli), node), now());
    }
    scheduler.pod_changed(asking("p", 10, 900), now());
    let wait = waits(&mut scheduler).expect("no room");
    assert_eq!(&*wait.message, "0/2 nodes are available: 2 Insufficient cpu.");
    assert_eq!(wait.nominated.as_deref(), Some("a"));
    assert_eq!(wait.victims.iter().map(|pod| &*pod.name).collect::<Vec<_>>(), ["a2"]);
    // The room is kept from others of less importance.
    scheduler.pod_gone("a2", now());
    scheduler.pod_changed(asking("late", 2, 900), now());
    assert!(waits(&mut scheduler).is_some_and(|wait| &*wait.pod.name == "late"));
    assert_eq!(bound(&mut scheduler).as_deref(), Some("p to a"));
}

#[test]
fn disruption_budgets_are_kept_where_possible() {
    let mut scheduler = scheduler(&[node("a", 1, "z"), node("b", 1, "z")], &[]);
    let labelled = |uid: &str, priority, app: &str| {
        let pod = asking(uid, priority, 900);
        let labels = Labels::from([("app".to_owned(), app.to_owned())]);
        PodInfo { shape: Arc::new(crate::shape::Shape { labels, ..(*pod.shape).clone() }), ..pod }
    };
    scheduler.pod_changed(on(&labelled("guarded", 1, "db"), "a"), now());
    scheduler.pod_changed(on(&labelled("free", 5, "web"), "b"), now());
    let budget = json!({"metadata": {}, "spec": {"selector": {"matchLabels": {"app": "db"}}}});
    let budget = Budget::new(&gantry_json::from_value(budget).expect("a budget"));
    scheduler.budgets_listed(vec![("ns".into(), "db".into(), budget)]);
    scheduler.pod_changed(asking("p", 10, 900), now());
    let victims =
        |wait: Option<Wait>| wait.map(|wait| wait.victims.iter().map(|pod| pod.name.to_string()).collect());
    assert_eq!(victims(waits(&mut scheduler)), Some(vec!["free".to_owned()]));
    // Where nothing else helps they are not kept.
    scheduler.pod_changed(asking("q", 3, 900), now());
    assert_eq!(victims(waits(&mut scheduler)), Some(vec!["guarded".to_owned()]));
}

#[test]
fn nobody_is_ended_twice_for_one_pod() {
    let mut scheduler = scheduler(&[node("a", 1, "z")], &[]);
    scheduler.pod_changed(on(&asking("low", 0, 900), "a"), now());
    scheduler.pod_changed(asking("p", 10, 900), now());
    assert_eq!(waits(&mut scheduler).map(|wait| wait.victims.len()), Some(1));
    // Something else changes while the victim takes its time.
    scheduler.node_changed(&node("a", 1, "y"), now());
    let again = waits(&mut scheduler).expect("still no room");
    assert!(again.victims.is_empty() && again.nominated.is_none(), "{again:?}");
    assert!(again.message.ends_with("not eligible due to a terminating pod on the nominated node."));
}

#[test]
fn pods_of_others_and_on_their_way_out_are_left_alone() {
    let mut scheduler = scheduler(&[node("a", 1, "z")], &[]);
    scheduler.pod_changed(PodInfo { scheduler: "mine".into(), ..asking("other", 0, 1) }, now());
    scheduler.pod_changed(PodInfo { terminating: true, ..asking("going", 0, 1) }, now());
    scheduler.pod_changed(PodInfo { gated: true, ..asking("gated", 0, 1) }, now());
    assert!(scheduler.next(now()).is_none());
    scheduler.pod_changed(asking("gated", 0, 1), now());
    assert_eq!(bound(&mut scheduler).as_deref(), Some("gated to a"));
}
