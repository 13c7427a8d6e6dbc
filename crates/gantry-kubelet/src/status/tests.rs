//! Tables of statuses.

use gantry_json::{Value, json};

use super::*;
use crate::observed::{Instance, Sandbox, State};

fn instance(name: &str, state: State, exit_code: i32, restarts: u32) -> Instance {
    let at = |s| Timestamp::from_second(s).unwrap();
    Instance {
        id: format!("{name}{restarts}"),
        name: name.into(),
        sandbox_id: "s".into(),
        state,
        created_at: at(100 + i64::from(restarts)),
        started_at: at(101),
        finished_at: at(102),
        exit_code,
        restart_count: restarts,
        hash: String::new(),
        image: "docker.io/library/x:1".into(),
        image_ref: "sha256:abc".into(),
        reason: String::new(),
        message: String::new(),
        log_path: String::new(),
        user: None,
        resources: None,
    }
}

fn observed(instances: Vec<Instance>) -> Observed {
    let mut o = Observed {
        sandboxes: vec![Sandbox {
            id: "s".into(),
            attempt: 0,
            ready: true,
            created_at: Timestamp::UNIX_EPOCH,
            ips: vec!["10.42.0.9".into()],
        }],
        instances,
    };
    o.sort();
    o
}

fn make(pod: &Value, observed: &Observed, reasons: &Reasons, ready: bool, terminated: bool) -> Value {
    let pod: Pod = gantry_json::from_value(pod.clone()).unwrap();
    let status = generate(&Input {
        pod: &pod,
        observed,
        reasons,
        probes: &|_| ContainerProbes { started: true, ready },
        host_ips: &["192.168.1.1".to_string()],
        sizes: &|container, _| {
            let resources = container.resources.clone().unwrap_or_default();
            (resources.clone(), resources)
        },
        refused: None,
        resizing: None,
        failed: None,
        terminated,
        now: Timestamp::from_second(1000).unwrap(),
    });
    gantry_json::to_value(status).unwrap()
}

fn condition<'a>(status: &'a Value, name: &str) -> &'a Value {
    status["conditions"].as_array().unwrap().iter().find(|c| c["type"] == name).unwrap()
}

fn pod(policy: &str) -> Value {
    json!({"metadata": {"name": "p", "generation": 3}, "spec": {"restartPolicy": policy, "containers": [{"name": "a", "image": "x"}]}})
}

fn failing(pod: &Value, observed: &Observed, terminated: bool) -> Value {
    let pod: Pod = gantry_json::from_value(pod.clone()).unwrap();
    let status = generate(&Input {
        pod: &pod,
        observed,
        reasons: &Reasons::new(),
        probes: &|_| ContainerProbes { started: true, ready: true },
        host_ips: &[],
        sizes: &|_, _| Default::default(),
        refused: None,
        resizing: None,
        failed: Some(("DeadlineExceeded", "too long")),
        terminated,
        now: Timestamp::from_second(1000).unwrap(),
    });
    gantry_json::to_value(status).unwrap()
}

#[test]
fn a_phase_is_final_when_nothing_runs() {
    let mut pod = pod("Always");
    pod["status"] = json!({"phase": "Running", "startTime": "1970-01-01T00:00:05Z"});
    let runs = failing(&pod, &observed(vec![instance("a", State::Running, 0, 0)]), false);
    assert_eq!((&runs["phase"], &runs["reason"]), (&json!("Running"), &Value::Null));
    let ended = failing(&pod, &observed(vec![instance("a", State::Exited, 137, 0)]), true);
    assert_eq!((&ended["phase"], &ended["reason"]), (&json!("Failed"), &json!("DeadlineExceeded")));
}

#[test]
fn a_pod_that_was_not_taken_has_no_containers() {
    let status = failing(&pod("Always"), &Observed::default(), false);
    assert_eq!((&status["phase"], &status["reason"]), (&json!("Failed"), &json!("DeadlineExceeded")));
    assert_eq!((&status["containerStatuses"], &status["startTime"]), (&Value::Null, &Value::Null));
    let types: Vec<_> = status["conditions"].as_array().unwrap().iter().map(|c| &c["type"]).collect();
    assert_eq!(types, ["Ready", "ContainersReady"]);
}

#[test]
fn phases() {
    let none = Reasons::new();
    for (policy, instances, expect) in [
        ("Always", vec![], "Pending"),
        ("Always", vec![instance("a", State::Running, 0, 0)], "Running"),
        ("Always", vec![instance("a", State::Exited, 1, 0)], "Running"),
        ("OnFailure", vec![instance("a", State::Exited, 1, 0)], "Running"),
        ("OnFailure", vec![instance("a", State::Exited, 0, 0)], "Succeeded"),
        ("Never", vec![instance("a", State::Exited, 0, 0)], "Succeeded"),
        ("Never", vec![instance("a", State::Exited, 2, 0)], "Failed"),
    ] {
        let status = make(&pod(policy), &observed(instances.clone()), &none, true, false);
        assert_eq!(status["phase"], expect, "{policy} {instances:?}");
    }
}

#[test]
fn a_running_ready_container() {
    let status = make(
        &pod("Always"),
        &observed(vec![instance("a", State::Running, 0, 0)]),
        &Reasons::new(),
        true,
        false,
    );
    let c = &status["containerStatuses"][0];
    assert_eq!(c["containerID"], "gantry://a0");
    assert_eq!(c["imageID"], "sha256:abc");
    assert_eq!((&c["ready"], &c["started"], &c["restartCount"]), (&json!(true), &json!(true), &json!(0)));
    assert_eq!(c["state"]["running"]["startedAt"], "1970-01-01T00:01:41Z");
    assert_eq!(status["podIPs"], json!([{"ip": "10.42.0.9"}]));
    assert_eq!(status["hostIP"], "192.168.1.1");
    assert_eq!(status["qosClass"], "BestEffort");
    assert_eq!(status["observedGeneration"], 3);
    for name in ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"] {
        assert_eq!(condition(&status, name)["status"], "True", "{name}");
    }
}

#[test]
fn an_unready_container_is_named() {
    let status = make(
        &pod("Always"),
        &observed(vec![instance("a", State::Running, 0, 0)]),
        &Reasons::new(),
        false,
        false,
    );
    let ready = condition(&status, "Ready");
    assert_eq!(ready["reason"], "ContainersNotReady");
    assert_eq!(ready["message"], "containers with unready status: [a]");
}

#[test]
fn crash_loops_show_the_last_end() {
    let reasons = Reasons::from([("a".into(), ("CrashLoopBackOff".into(), "back-off 10s".into()))]);
    let status =
        make(&pod("Always"), &observed(vec![instance("a", State::Exited, 1, 1)]), &reasons, true, false);
    let c = &status["containerStatuses"][0];
    assert_eq!(c["state"], json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}));
    assert_eq!(c["lastState"]["terminated"]["exitCode"], 1);
    assert_eq!(c["restartCount"], 1);
    assert_eq!(status["phase"], "Running");
}

#[test]
fn a_pod_that_was_stopped_is_final() {
    for (code, expect) in [(0, "Succeeded"), (137, "Failed")] {
        let status = make(
            &pod("Always"),
            &observed(vec![instance("a", State::Exited, code, 0)]),
            &Reasons::new(),
            true,
            true,
        );
        assert_eq!(status["phase"], expect);
    }
}

#[test]
fn init_containers_hold_the_pod_back() {
    let pod = json!({"metadata": {"name": "p"}, "spec": {"initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}});
    let status =
        make(&pod, &observed(vec![instance("i", State::Running, 0, 0)]), &Reasons::new(), true, false);
    assert_eq!(status["phase"], "Pending");
    assert_eq!(status["containerStatuses"][0]["state"]["waiting"]["reason"], "PodInitializing");
    let c = condition(&status, "Initialized");
    assert_eq!(c["message"], "containers with incomplete status: [i]");
}
