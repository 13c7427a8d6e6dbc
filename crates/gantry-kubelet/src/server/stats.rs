//! `/metrics`, `/metrics/resource` and `/stats/summary`.

use std::{collections::BTreeMap, fmt::Write as _};

use gantry_cri::v1 as cri;
use gantry_json::{Value, json};
use hyper::Response;
use jiff::Timestamp;

use super::{Body, json as json_response, text};
use crate::{agent::Agent, machine, observed::label, pod};

/// Counts of the agent itself.
pub fn metrics(agent: &Agent) -> Response<Body> {
    let pods = agent.all_pods();
    let running = pods.iter().filter(|p| !pod::is_terminal_phase(p)).count();
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ =
        writeln!(out, "# HELP kubelet_running_pods [ALPHA] Number of pods that have a running pod sandbox");
    let _ = writeln!(out, "# TYPE kubelet_running_pods gauge\nkubelet_running_pods {running}");
    let _ = writeln!(out, "# HELP kubelet_node_name [ALPHA] The node's name. The count is always 1.");
    let _ = writeln!(out, "# TYPE kubelet_node_name gauge");
    let _ = writeln!(out, "kubelet_node_name{{node={:?}}} 1", agent.config.node_name);
    text(200, out)
}

/// CPU seconds used by the machine since it started.
fn node_cpu_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<u64> = fields.filter_map(|f| f.parse().ok()).collect();
    let busy: u64 =
        ticks.iter().take(8).sum::<u64>() - ticks.get(3).unwrap_or(&0) - ticks.get(4).unwrap_or(&0);
    busy * 10_000_000
}

fn node_memory() -> i64 {
    machine::meminfo("MemTotal") - machine::meminfo("MemAvailable")
}

async fn containers(agent: &Agent) -> Vec<(BTreeMap<String, String>, cri::ContainerStats)> {
    let list = agent.runtime.list_container_stats(cri::ListContainerStatsRequest::default()).await;
    let stats = list.unwrap_or_default().stats;
    stats
        .into_iter()
        .map(|s| (s.attributes.as_ref().map_or_else(Default::default, |a| a.labels.clone()), s))
        .collect()
}

fn number(value: &Option<cri::UInt64Value>) -> u64 {
    value.as_ref().map_or(0, |v| v.value)
}

/// What `kubectl top` is made from.
pub async fn resource(agent: &Agent) -> Response<Body> {
    let now = Timestamp::now().as_millisecond();
    let mut cpu = String::new();
    let mut memory = String::new();
    for (labels, stats) in containers(agent).await {
        let get = |key: &str| labels.get(key).map_or("", String::as_str);
        let tags = format!(
            "{{container={:?},namespace={:?},pod={:?}}}",
            get(label::CONTAINER_NAME),
            get(label::POD_NAMESPACE),
            get(label::POD_NAME)
        );
        let used = stats.cpu.as_ref().map_or(0, |c| number(&c.usage_core_nano_seconds));
        let set = stats.memory.as_ref().map_or(0, |m| number(&m.working_set_bytes));
        // Writing to a string does not fail.
        let _ = writeln!(cpu, "container_cpu_usage_seconds_total{tags} {} {now}", used as f64 / 1e9);
        let _ = writeln!(memory, "container_memory_working_set_bytes{tags} {set} {now}");
    }
    let out = format!(
        "# TYPE container_cpu_usage_seconds_total counter\n{cpu}\
         # TYPE container_memory_working_set_bytes gauge\n{memory}\
         # TYPE node_cpu_usage_seconds_total counter\nnode_cpu_usage_seconds_total {} {now}\n\
         # TYPE node_memory_working_set_bytes gauge\nnode_memory_working_set_bytes {} {now}\n\
         # TYPE resource_scrape_error gauge\nresource_scrape_error 0\n",
        node_cpu_nanos() as f64 / 1e9,
        node_memory()
    );
    text(200, out)
}

/// The summary API.
pub async fn summary(agent: &Agent) -> Response<Body> {
    let now = Timestamp::now().to_string();
    let mut pods: BTreeMap<String, (Value, Vec<Value>)> = BTreeMap::new();
    for (labels, stats) in containers(agent).await {
        let get = |key: &str| labels.get(key).cloned().unwrap_or_default();
        let uid = get(label::POD_UID);
        let reference =
            json!({"name": get(label::POD_NAME), "namespace": get(label::POD_NAMESPACE), "uid": uid});
        let cpu = stats.cpu.unwrap_or_default();
        let memory = stats.memory.unwrap_or_default();
        let entry = pods.entry(uid).or_insert_with(|| (reference, Vec::new()));
        entry.1.push(json!({
            "name": get(label::CONTAINER_NAME),
            "cpu": {"time": now, "usageCoreNanoSeconds": number(&cpu.usage_core_nano_seconds),
                "usageNanoCores": number(&cpu.usage_nano_cores)},
            "memory": {"time": now, "workingSetBytes": number(&memory.working_set_bytes),
                "usageBytes": number(&memory.usage_bytes), "rssBytes": number(&memory.rss_bytes)},
        }));
    }
    let pods: Vec<Value> = pods
        .into_values()
        .map(|(reference, containers)| json!({"podRef": reference, "containers": containers}))
        .collect();
    let fs = machine::file_system(&agent.config.root_dir).unwrap_or_default();
    json_response(&json!({
        "node": {
            "nodeName": agent.config.node_name,
            "cpu": {"time": now, "usageCoreNanoSeconds": node_cpu_nanos()},
            "memory": {"time": now, "workingSetBytes": node_memory(),
                "availableBytes": machine::meminfo("MemAvailable")},
            "fs": {"time": now, "capacityBytes": fs.0, "availableBytes": fs.1, "usedBytes": fs.0.saturating_sub(fs.1)},
        },
        "pods": pods,
    }))
}
