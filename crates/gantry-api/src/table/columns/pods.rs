//! The columns of pods.

use gantry_json::{Value, json};
use k8s_openapi::api::core;

use super::super::about::{field, words};
use super::super::age;
use super::{AGE, Column, NAME, column, count, list, text};

fn is_sidecar(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

/// The statuses of the containers that run for the pod's whole life.
fn statuses(pod: &Value) -> impl Iterator<Item = &Value> {
    let sidecars = list(&pod["status"]["initContainerStatuses"]).filter(move |status| {
        list(&pod["spec"]["initContainers"]).any(|each| is_sidecar(each) && each["name"] == status["name"])
    });
    list(&pod["status"]["containerStatuses"]).chain(sidecars)
}

/// Whether an init container has not done its part yet.
fn is_initializing(pod: &Value) -> bool {
    list(&pod["status"]["initContainerStatuses"]).any(|each| {
        let ended = &each["state"]["terminated"];
        let done = ended.is_object() && count(&ended["exitCode"]) == 0;
        let started = each["started"] == true && each["state"]["running"].is_object();
        !done && !started
    })
}

pub(super) const POD: &[Column] = &[
    NAME,
    column("Ready", "string", 0, words("How many containers are ready, of how many."), |object, _| {
        let ready = statuses(object).filter(|each| each["ready"] == true).count();
        let sidecars = list(&object["spec"]["initContainers"]).filter(|each| is_sidecar(each)).count();
        json!(format!("{ready}/{}", list(&object["spec"]["containers"]).count() + sidecars))
    }),
    column(
        "Status",
        "string",
        0,
        words("How the pod is, in a word: its phase, or what its containers say."),
        |object, _| json!(pod_status(object)),
    ),
    column(
        "Restarts",
        "string",
        0,
        words("How often containers were restarted, and when that was last."),
        |object, now| {
            let shown: Vec<&Value> = match is_initializing(object) {
                true => list(&object["status"]["initContainerStatuses"]).collect(),
                false => statuses(object).collect(),
            };
            let restarts: i64 = shown.iter().map(|each| count(&each["restartCount"])).sum();
            let ended =
                shown.iter().filter_map(|each| each["lastState"]["terminated"]["finishedAt"].as_str()).max();
            match ended {
                Some(ended) if restarts > 0 => json!(format!("{restarts} ({} ago)", age(&json!(ended), now))),
                _ => json!(restarts.to_string()),
            }
        },
    ),
    AGE,
    column("IP", "string", 1, field::<core::v1::PodStatus>("podIP"), |object, _| {
        text(&object["status"]["podIP"], "<none>")
    }),
    column("Node", "string", 1, field::<core::v1::PodSpec>("nodeName"), |object, _| {
        text(&object["spec"]["nodeName"], "<none>")
    }),
    column("Nominated Node", "string", 1, field::<core::v1::PodStatus>("nominatedNodeName"), |object, _| {
        text(&object["status"]["nominatedNodeName"], "<none>")
    }),
    column("Readiness Gates", "string", 1, field::<core::v1::PodSpec>("readinessGates"), |object, _| {
        let gates: Vec<&Value> = list(&object["spec"]["readinessGates"]).collect();
        if gates.is_empty() {
            return json!("<none>");
        }
        let open = gates.iter().filter(|gate| {
            let kind = &gate["conditionType"];
            list(&object["status"]["conditions"])
                .any(|each| each["type"] == *kind && each["status"] == "True")
        });
        json!(format!("{}/{}", open.count(), gates.len()))
    }),
];

/// One word for how a pod is: the phase, unless its containers say something more telling.
fn pod_status(pod: &Value) -> String {
    let status = &pod["status"];
    let mut reason = [&status["reason"], &status["phase"]]
        .into_iter()
        .find_map(|value| value.as_str().filter(|text| !text.is_empty()))
        .unwrap_or_default()
        .to_owned();
    if list(&status["conditions"])
        .any(|each| each["type"] == "PodScheduled" && each["reason"] == "SchedulingGated")
    {
        reason = "SchedulingGated".to_owned();
    }
    let total = list(&pod["spec"]["initContainers"]).count();
    let is_sidecar = |name: &Value| {
        list(&pod["spec"]["initContainers"])
            .any(|each| each["name"] == *name && each["restartPolicy"] == "Always")
    };
    let initialized =
        list(&status["conditions"]).any(|each| each["type"] == "Initialized" && each["status"] == "True");
    let mut initializing = false;
    for (index, container) in list(&status["initContainerStatuses"]).enumerate() {
        let state = &container["state"];
        if state["terminated"].is_object() && count(&state["terminated"]["exitCode"]) == 0 {
            continue;
        }
        if container["started"] == true && is_sidecar(&container["name"]) {
            continue;
        }
        let waiting =
            state["waiting"]["reason"].as_str().filter(|text| !text.is_empty() && *text != "PodInitializing");
        reason = match (state["terminated"].is_object(), waiting) {
            (true, _) => format!("Init:{}", ended(&state["terminated"])),
            (false, Some(waiting)) => format!("Init:{waiting}"),
            (false, None) => format!("Init:{index}/{total}"),
        };
        initializing = true;
        break;
    }
    if !initializing || initialized {
        let mut running = false;
        for container in list(&status["containerStatuses"]).collect::<Vec<_>>().into_iter().rev() {
            let state = &container["state"];
            if let Some(waiting) = state["waiting"]["reason"].as_str().filter(|text| !text.is_empty()) {
                reason = waiting.to_owned();
            } else if state["terminated"].is_object() {
                reason = ended(&state["terminated"]);
            } else if container["ready"] == true && state["running"].is_object() {
                running = true;
            }
        }
        if reason == "Completed" && running {
            let ready =
                list(&status["conditions"]).any(|each| each["type"] == "Ready" && each["status"] == "True");
            reason = if ready { "Running" } else { "NotReady" }.to_owned();
        }
    }
    if pod["metadata"]["deletionTimestamp"].is_string() {
        let lost = status["reason"] == "NodeLost";
        let over = matches!(status["phase"].as_str(), Some("Succeeded" | "Failed"));
        if lost {
            return "Unknown".to_owned();
        }
        if !over {
            return "Terminating".to_owned();
        }
    }
    reason
}

fn ended(terminated: &Value) -> String {
    if let Some(reason) = terminated["reason"].as_str().filter(|text| !text.is_empty()) {
        return reason.to_owned();
    }
    match count(&terminated["signal"]) {
        0 => format!("ExitCode:{}", count(&terminated["exitCode"])),
        signal => format!("Signal:{signal}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::cells;
    use super::*;

    #[test]
    fn pods() {
        let pod = json!({"metadata": {"name": "p", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"containers": [{"name": "c"}], "initContainers": [{"name": "i"}]},
            "status": {"phase": "Pending", "initContainerStatuses": [
                {"name": "i", "started": true, "state": {"running": {}}}]}});
        assert_eq!(
            cells(POD, &pod)[..5],
            [json!("p"), json!("0/1"), json!("Init:0/1"), json!("0"), json!("60m")]
        );
        // A sidecar that was stopped in the end says nothing of how the pod ended.
        let mut over = pod.clone();
        over["spec"]["initContainers"][0]["restartPolicy"] = "Always".into();
        over["status"] = json!({"phase": "Succeeded", "conditions": [{"type": "Initialized", "status": "True"}],
            "initContainerStatuses": [
                {"name": "i", "started": false, "state": {"terminated": {"exitCode": 7, "reason": "Error"}}}],
            "containerStatuses": [
                {"name": "c", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}]});
        assert_eq!(cells(POD, &over)[2], json!("Completed"));
        let mut crashed = pod.clone();
        crashed["status"] = json!({"phase": "Running", "containerStatuses": [{"name": "c", "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"finishedAt": "2026-01-01T00:50:00Z"}}}]});
        assert_eq!(cells(POD, &crashed)[2..4], [json!("CrashLoopBackOff"), json!("3 (10m ago)")]);
        crashed["metadata"]["deletionTimestamp"] = "2026-01-01T00:59:00Z".into();
        assert_eq!(cells(POD, &crashed)[2], json!("Terminating"));
    }
}
