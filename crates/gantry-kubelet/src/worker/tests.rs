//! Workers against a runtime and an API in memory, with paused time.

mod fake;

use std::time::Duration;

use gantry_json::json;

use super::*;
use fake::World;

fn pod(policy: &str) -> Pod {
    gantry_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "n", "uid": "u1", "resourceVersion": "1"},
        "spec": {"nodeName": "node", "restartPolicy": policy, "terminationGracePeriodSeconds": 5,
            "containers": [{"name": "a", "image": "x:1", "env": [{"name": "A", "value": "1"}]}]}}))
    .unwrap()
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default()
}

fn waiting_reason(pod: &Pod) -> &str {
    let status = pod.status.as_ref().and_then(|s| s.container_statuses.as_ref()?.first());
    status.and_then(|s| s.state.as_ref()?.waiting.as_ref()?.reason.as_deref()).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_pod_comes_up() {
    let world = World::new(pod("Always"));
    let _tx = world.spawn();
    let pod = world.wait(|p| phase(p) == "Running").await;
    let conditions = pod.status.unwrap().conditions.unwrap();
    assert!(conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True"));
    assert_eq!(world.calls(), ["run sandbox 0", "create a 0", "start a 0"]);
    world.wait_event("Started").await;
    let events = world.events();
    assert_eq!(
        events,
        [
            ("Pulled", "Container image \"x:1\" already present on machine and can be accessed by the pod"),
            ("Created", "Container created"),
            ("Started", "Container started"),
        ]
        .map(|(r, m)| (r.to_string(), m.to_string()))
    );
}

#[tokio::test(start_paused = true)]
async fn crashes_back_off() {
    let world = World::new(pod("Always"));
    world.exit_with(1);
    let _tx = world.spawn();
    let crashed = world.wait(|p| waiting_reason(p) == "CrashLoopBackOff").await;
    let status = &crashed.status.unwrap().container_statuses.unwrap()[0];
    let message = status.state.as_ref().unwrap().waiting.as_ref().unwrap().message.clone().unwrap();
    assert_eq!(message, "back-off 10s restarting failed container=a pod=p_n(u1)");
    assert_eq!(status.restart_count, 1);
    let begun = tokio::time::Instant::now();
    world
        .wait(|p| p.status.as_ref().unwrap().container_statuses.as_ref().unwrap()[0].restart_count == 3)
        .await;
    let took = begun.elapsed();
    assert!((Duration::from_secs(25)..Duration::from_secs(45)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_finished_pod_succeeds() {
    let world = World::new(pod("Never"));
    world.exit_with(0);
    let _tx = world.spawn();
    world.wait(|p| phase(p) == "Succeeded").await;
}

#[tokio::test(start_paused = true)]
async fn deletion_stops_and_removes_everything() {
    let world = World::new(pod("Always"));
    let tx = world.spawn();
    let mut running = world.wait(|p| phase(p) == "Running").await;
    running.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH));
    running.metadata.deletion_grace_period_seconds = Some(5);
    world.put(&running);
    tx.send(Message::Update(Arc::new(running))).unwrap();
    world.deleted().await;
    let calls = world.calls();
    assert_eq!(calls[3..], ["stop a 5", "stop sandbox", "remove container", "remove sandbox"], "{calls:?}");
    assert_eq!(world.delete_options(), json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "u1"}}));
    assert!(world.agent().pods.read().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_evicted_pod_fails_at_once() {
    let world = World::new(pod("Always"));
    let tx = world.spawn();
    world.wait(|p| phase(p) == "Running").await;
    tx.send(Message::Evict("The node was low on resource: memory. ".into())).unwrap();
    let pod = world.wait(|p| phase(p) == "Failed").await;
    let status = pod.status.unwrap();
    assert_eq!(status.reason.as_deref(), Some("Evicted"));
    assert_eq!(status.message.as_deref(), Some("The node was low on resource: memory. "));
    let conditions = status.conditions.unwrap();
    let target = conditions.iter().find(|c| c.type_ == "DisruptionTarget").unwrap();
    assert_eq!((target.status.as_str(), target.reason.as_deref()), ("True", Some("TerminationByKubelet")));
    assert_eq!(world.calls()[3..], ["stop a 1", "stop sandbox"]);
}

#[tokio::test(start_paused = true)]
async fn running_pods_are_taken_over() {
    let world = World::new(pod("Always"));
    let first = world.spawn();
    world.wait(|p| phase(p) == "Running").await;
    let before = world.calls();
    drop(first);
    world.restart();
    let _second = world.spawn();
    world.settle().await;
    assert_eq!(world.calls(), before);
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_resized_while_it_runs() {
    let with = |cpu: &str, memory: &str| {
        let mut pod = pod("Always");
        let container = &mut pod.spec.as_mut().unwrap().containers[0];
        let asked = json!({"requests": {"cpu": cpu, "memory": memory}});
        container.resources = Some(gantry_json::from_value(asked).unwrap());
        let policy = json!([{"resourceName": "memory", "restartPolicy": "RestartContainer"}]);
        container.resize_policy = Some(gantry_json::from_value(policy).unwrap());
        pod
    };
    let world = World::new(with("1", "1Mi"));
    let tx = world.spawn();
    let mut running = world.wait(|p| phase(p) == "Running").await;
    let given = |pod: &Pod, cpu: &str, restarts: i32| {
        let status = &pod.status.as_ref().unwrap().container_statuses.as_ref().unwrap()[0];
        let requests = status.resources.as_ref().and_then(|r| r.requests.clone()).unwrap_or_default();
        let waits = pod
            .status
            .as_ref()
            .unwrap()
            .conditions
            .iter()
            .flatten()
            .any(|c| c.type_.starts_with("PodResize"));
        status.allocated_resources.as_ref() == Some(&requests)
            && requests.get("cpu").is_some_and(|q| q.0 == cpu)
            && status.restart_count == restarts
            && !waits
    };
    assert!(given(&running, "1", 0));
    let mut ask = |cpu: &str, memory: &str| {
        running.spec = with(cpu, memory).spec;
        running.metadata.resource_version = None;
        world.put(&running);
        tx.send(Message::Update(Arc::new(running.clone()))).unwrap();
    };
    ask("2", "1Mi");
    world.wait_event("ResizeCompleted").await;
    assert_eq!(world.calls()[3..], ["resize pod", "resize a-0 to 2048", "resize pod"]);
    ask("2", "2Mi");
    world.wait_event("Killing").await;
    world.settle().await;
    assert_eq!(world.calls()[6..9], ["stop a 5", "create a 1", "start a 1"]);
}
