//! Tables of plans.

use gantry_json::json;
use jiff::Timestamp;

use super::*;
use crate::observed::Sandbox;

fn sandbox(ready: bool) -> Sandbox {
    Sandbox {
        id: "s0".into(),
        attempt: 0,
        ready,
        created_at: Timestamp::UNIX_EPOCH,
        ips: vec!["10.42.0.2".into()],
    }
}

fn instance(name: &str, state: State, exit_code: i32) -> Instance {
    Instance {
        id: format!("{name}-0"),
        name: name.into(),
        sandbox_id: "s0".into(),
        state,
        created_at: Timestamp::UNIX_EPOCH,
        started_at: Timestamp::UNIX_EPOCH,
        finished_at: Timestamp::UNIX_EPOCH,
        exit_code,
        restart_count: 0,
        hash: String::new(),
        image: String::new(),
        image_ref: String::new(),
        reason: String::new(),
        message: String::new(),
        log_path: String::new(),
        user: None,
        resources: None,
    }
}

fn check(pod: gantry_json::Value, observed: Observed, probes: ProbeView) -> Plan {
    let pod: Pod = gantry_json::from_value(pod).unwrap();
    plan(&Input { pod: &pod, observed: &observed, probes: &|_| probes, hash: &|_| String::new() })
}

fn simple(policy: &str) -> gantry_json::Value {
    json!({"metadata": {"name": "p"}, "spec": {"restartPolicy": policy, "containers": [{"name": "a"}, {"name": "b"}]}})
}

fn with_init() -> gantry_json::Value {
    json!({"metadata": {"name": "p"}, "spec": {"restartPolicy": "Never",
        "initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}],
        "containers": [{"name": "a"}]}})
}

const STARTED: ProbeView = ProbeView { started: true, liveness_failed: false, startup_failed: false };

fn regular(names: &[&str]) -> Vec<(Sort, String)> {
    names.iter().map(|n| (Sort::Regular, n.to_string())).collect()
}

#[test]
fn a_new_pod_gets_a_sandbox_and_all_containers() {
    let plan = check(simple("Always"), Observed::default(), STARTED);
    assert_eq!(plan, Plan { create_sandbox: Some(0), start: regular(&["a", "b"]), ..Plan::default() });
}

#[test]
fn a_pod_as_it_should_be_needs_nothing() {
    let observed = Observed {
        sandboxes: vec![sandbox(true)],
        instances: vec![instance("a", State::Running, 0), instance("b", State::Running, 0)],
    };
    assert_eq!(check(simple("Always"), observed, STARTED), Plan::default());
}

#[test]
fn exited_containers_follow_the_restart_policy() {
    for (policy, code, expect) in [
        ("Always", 0, regular(&["a"])),
        ("Always", 1, regular(&["a"])),
        ("OnFailure", 0, vec![]),
        ("OnFailure", 1, regular(&["a"])),
        ("Never", 1, vec![]),
    ] {
        let observed = Observed {
            sandboxes: vec![sandbox(true)],
            instances: vec![instance("a", State::Exited, code), instance("b", State::Running, 0)],
        };
        assert_eq!(check(simple(policy), observed, STARTED).start, expect, "{policy} {code}");
    }
}

#[test]
fn a_finished_pod_is_stopped_and_not_made_again() {
    let instances = vec![instance("a", State::Exited, 0), instance("b", State::Exited, 1)];
    let observed = Observed { sandboxes: vec![sandbox(true)], instances: instances.clone() };
    assert_eq!(check(simple("Never"), observed, STARTED), Plan { kill_pod: true, ..Plan::default() });
    let observed = Observed { sandboxes: vec![sandbox(false)], instances };
    assert_eq!(check(simple("Never"), observed, STARTED), Plan::default());
}

#[test]
fn a_lost_sandbox_is_replaced() {
    let observed = Observed {
        sandboxes: vec![sandbox(false)],
        instances: vec![instance("a", State::Exited, 137), instance("b", State::Exited, 137)],
    };
    let plan = check(simple("Always"), observed, STARTED);
    assert_eq!(plan, Plan { create_sandbox: Some(1), start: regular(&["a", "b"]), ..Plan::default() });
}

#[test]
fn failed_liveness_kills() {
    let observed = Observed {
        sandboxes: vec![sandbox(true)],
        instances: vec![instance("a", State::Running, 0), instance("b", State::Running, 0)],
    };
    let plan = check(simple("Always"), observed, ProbeView { liveness_failed: true, ..STARTED });
    assert_eq!(plan.kill.iter().map(|k| k.reason).collect::<Vec<_>>(), vec![KillReason::Liveness; 2]);
    assert!(plan.start.is_empty() && !plan.kill_pod);
}

#[test]
fn init_containers_run_in_order() {
    let init = |n: &str| vec![(Sort::Init, n.to_string())];
    let steps = [
        (vec![], STARTED, init("i")),
        (vec![instance("i", State::Running, 0)], STARTED, vec![]),
        (vec![instance("i", State::Exited, 0)], STARTED, init("s")),
        (
            vec![instance("i", State::Exited, 0), instance("s", State::Running, 0)],
            ProbeView::default(),
            vec![],
        ),
        (vec![instance("i", State::Exited, 0), instance("s", State::Running, 0)], STARTED, regular(&["a"])),
        (
            vec![
                instance("i", State::Exited, 0),
                instance("s", State::Exited, 1),
                instance("a", State::Running, 0),
            ],
            STARTED,
            init("s"),
        ),
    ];
    for (instances, probes, expect) in steps {
        let observed = Observed { sandboxes: vec![sandbox(true)], instances };
        assert_eq!(check(with_init(), observed.clone(), probes).start, expect, "{observed:?}");
    }
}

#[test]
fn a_failed_init_container_fails_the_pod() {
    let observed =
        Observed { sandboxes: vec![sandbox(true)], instances: vec![instance("i", State::Exited, 3)] };
    assert_eq!(check(with_init(), observed, STARTED), Plan { kill_pod: true, ..Plan::default() });
}

#[test]
fn sidecars_end_with_the_last_container() {
    let observed = Observed {
        sandboxes: vec![sandbox(true)],
        instances: vec![
            instance("i", State::Exited, 0),
            instance("s", State::Running, 0),
            instance("a", State::Exited, 0),
        ],
    };
    assert_eq!(check(with_init(), observed, STARTED), Plan { kill_pod: true, ..Plan::default() });
}
