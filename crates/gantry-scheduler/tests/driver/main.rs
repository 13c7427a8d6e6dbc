//! The scheduler against an API server, over its own identity and rights.

mod fixture;

use anyhow::Result;
use fixture::{Fixture, node, pod};
use gantry_json::json;

#[tokio::test]
async fn pods_get_nodes_and_it_is_said() -> Result<()> {
    let fixture = Fixture::start().await?;
    fixture.node(node("a", "4")).await?;
    fixture.pod(pod("p", "100m")).await?;
    let bound = fixture.bound("p").await?;
    assert_eq!(bound.spec.and_then(|spec| spec.node_name).as_deref(), Some("a"));
    let conditions = bound.status.and_then(|status| status.conditions).unwrap_or_default();
    assert!(conditions.iter().any(|each| each.type_ == "PodScheduled" && each.status == "True"));
    let event = fixture.event("Scheduled").await?;
    assert_eq!(event.message.as_deref(), Some("Successfully assigned default/p to a"));
    assert_eq!(event.action.as_deref(), Some("Binding"));
    assert_eq!(event.reporting_component.as_deref(), Some("default-scheduler"));
    Ok(())
}

#[tokio::test]
async fn a_pod_waits_with_a_condition_until_there_is_room() -> Result<()> {
    let fixture = Fixture::start().await?;
    fixture.pod(pod("p", "3")).await?;
    fixture.waits("p", "no nodes available to schedule pods").await?;
    fixture.node(node("small", "1")).await?;
    let why = "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes \
               are available: 1 Preemption is not helpful for scheduling.";
    fixture.waits("p", why).await?;
    let event = fixture.event("FailedScheduling").await?;
    assert_eq!(event.type_.as_deref(), Some("Warning"));
    assert_eq!(event.action.as_deref(), Some("Scheduling"));
    fixture.node(node("large", "4")).await?;
    assert_eq!(fixture.bound("p").await?.spec.and_then(|spec| spec.node_name).as_deref(), Some("large"));
    Ok(())
}

#[tokio::test]
async fn room_comes_from_pods_that_go_and_taints_that_are_removed() -> Result<()> {
    let fixture = Fixture::start().await?;
    let mut tainted = node("a", "1");
    tainted["spec"] = json!({"taints": [{"key": "k", "effect": "NoSchedule"}]});
    fixture.node(tainted).await?;
    fixture.pod(pod("first", "800m")).await?;
    let why = "0/1 nodes are available: 1 node(s) had untolerated taint(s). no new claims to deallocate, \
               preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.";
    fixture.waits("first", why).await?;
    fixture.patch_node("a", json!({"spec": {"taints": null}})).await?;
    fixture.bound("first").await?;
    fixture.pod(pod("second", "800m")).await?;
    let why = "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes \
               are available: 1 No preemption victims found for incoming pod.";
    fixture.waits("second", why).await?;
    fixture.delete("first").await?;
    fixture.bound("second").await?;
    Ok(())
}

#[tokio::test]
async fn many_pods_at_once_never_overcommit() -> Result<()> {
    let fixture = Fixture::start().await?;
    for name in ["a", "b", "c"] {
        fixture.node(node(name, "1")).await?;
    }
    let pods = (0..20).map(|number| fixture.pod(pod(&format!("p{number}"), "400m")));
    futures::future::try_join_all(pods).await?;
    let mut nodes: Vec<_> = fixture.bound_pods(6).await?;
    nodes.sort();
    assert_eq!(nodes, ["a", "a", "b", "b", "c", "c"]);
    // All others are refused before anything is counted again.
    let waiting = fixture.waiting(14).await?;
    assert_eq!(waiting, 14);
    assert_eq!(fixture.bound_pods(6).await?.len(), 6);
    Ok(())
}

#[tokio::test]
async fn important_pods_push_others_out() -> Result<()> {
    let fixture = Fixture::start().await?;
    fixture.node(node("a", "1")).await?;
    fixture.pod(pod("low", "800m")).await?;
    fixture.bound("low").await?;
    let mut important = pod("high", "800m");
    important["spec"]["priorityClassName"] = json!("system-node-critical");
    fixture.pod(important).await?;
    let low = fixture.terminating("low").await?;
    let conditions = low.status.and_then(|status| status.conditions).unwrap_or_default();
    let disrupted = conditions.iter().find(|each| each.type_ == "DisruptionTarget").expect("a condition");
    assert_eq!(disrupted.reason.as_deref(), Some("PreemptionByScheduler"));
    assert_eq!(
        disrupted.message.as_deref(),
        Some("default-scheduler: preempting to accommodate a higher priority pod")
    );
    fixture.waits("high", "0/1 nodes are available: 1 Insufficient cpu.").await?;
    assert_eq!(fixture.nominated("high").await?.as_deref(), Some("a"));
    let event = fixture.event("Preempted").await?;
    assert!(event.message.is_some_and(|note| note.ends_with(" on node a")));
    // The node agent lets it go.
    fixture.delete("low").await?;
    let bound = fixture.bound("high").await?;
    assert_eq!(bound.status.and_then(|status| status.nominated_node_name), None);
    Ok(())
}

#[tokio::test]
async fn gated_pods_and_those_of_other_schedulers_stay() -> Result<()> {
    let fixture = Fixture::start().await?;
    fixture.node(node("a", "4")).await?;
    let mut gated = pod("gated", "100m");
    gated["spec"]["schedulingGates"] = json!([{"name": "example.com/gate"}]);
    fixture.pod(gated).await?;
    let mut other = pod("other", "100m");
    other["spec"]["schedulerName"] = json!("mine");
    fixture.pod(other).await?;
    fixture.pod(pod("p", "100m")).await?;
    fixture.bound("p").await?;
    assert_eq!(fixture.bound_pods(1).await?.len(), 1);
    assert_eq!(fixture.reason("gated").await?.as_deref(), Some("SchedulingGated"));
    assert_eq!(fixture.reason("other").await?, None);
    fixture.patch("gated", json!({"spec": {"schedulingGates": null}})).await?;
    fixture.bound("gated").await?;
    Ok(())
}
