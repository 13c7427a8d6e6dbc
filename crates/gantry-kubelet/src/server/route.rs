//! Routes of the node's API.

use std::{collections::BTreeMap, sync::Arc};

use hyper::{Request, Response, body::Incoming};
use k8s_openapi::api::core::v1::Pod;

use super::{Body, access, access::User, json, log, stats, stream, text};
use crate::{agent::Agent, config::Config, observed::label, pod};

/// Authenticates, authorizes and answers one request.
pub async fn handle(
    agent: Arc<Agent>,
    peer: Option<Arc<User>>,
    request: Request<Incoming>,
) -> Response<Body> {
    let path = request.uri().path().to_string();
    let bearer = request.headers().get("authorization").and_then(|v| v.to_str().ok());
    let token = bearer.and_then(|v| v.strip_prefix("Bearer "));
    let user = match (peer, token) {
        (Some(user), _) => Some(user),
        (None, Some(token)) => access::from_token(&agent, token).await.map(Arc::new),
        (None, None) => None,
    };
    let Some(user) = user else { return text(401, "Unauthorized") };
    if let Err(message) = access::authorize(&agent, &user, request.method(), &path).await {
        return text(403, message);
    }
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts.as_slice() {
        ["healthz"] | ["healthz", "ping" | "syncloop"] => text(200, "ok"),
        ["pods"] => json(&list(agent.all_pods().iter().map(|p| p.as_ref().clone()).collect())),
        ["runningpods"] => running(&agent).await,
        ["configz"] => json(&gantry_json::json!({"kubeletconfig": configuration(&agent.config)})),
        ["metrics"] => stats::metrics(&agent),
        ["metrics", "cadvisor" | "probes"] => text(200, ""),
        ["metrics", "resource"] => stats::resource(&agent).await,
        ["stats", "summary"] => stats::summary(&agent).await,
        ["containerLogs", namespace, name, container] => {
            let query = request.uri().query().unwrap_or_default();
            log::serve(&agent, namespace, name, container, query).await
        }
        ["exec", namespace, name, container] | ["exec", namespace, name, _, container] => {
            stream::exec(&agent, namespace, name, container, request).await
        }
        ["attach", namespace, name, container] | ["attach", namespace, name, _, container] => {
            stream::attach(&agent, namespace, name, container, request).await
        }
        ["portForward", namespace, name] | ["portForward", namespace, name, _] => {
            stream::port_forward(&agent, namespace, name, request).await
        }
        _ => text(404, "404 page not found\n"),
    }
}

fn list(items: Vec<Pod>) -> gantry_json::Value {
    gantry_json::json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})
}

/// The settings in the form of a KubeletConfiguration.
fn configuration(config: &Config) -> gantry_json::Value {
    let kept: BTreeMap<_, _> = config.eviction_hard.given().collect();
    gantry_json::json!({
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "address": config.address,
        "port": config.port,
        "authentication": {"anonymous": {"enabled": false}, "webhook": {"enabled": true}},
        "authorization": {"mode": "Webhook"},
        "clusterDNS": config.cluster_dns,
        "clusterDomain": config.cluster_domain,
        "cgroupRoot": config.cgroup_root,
        "cgroupDriver": "cgroupfs",
        "maxPods": config.max_pods,
        "resolvConf": config.resolv_conf,
        "containerLogMaxSize": config.log_max_bytes.to_string(),
        "containerLogMaxFiles": config.log_max_files,
        "seccompDefault": true,
        "evictionHard": kept,
        "imageGCHighThresholdPercent": config.image_gc_percent.0,
        "imageGCLowThresholdPercent": config.image_gc_percent.1,
    })
}

async fn running(agent: &Agent) -> Response<Body> {
    let request = gantry_cri::v1::ListPodSandboxRequest::default();
    match agent.runtime.list_pod_sandbox(request).await {
        Ok(response) => {
            let uids: Vec<String> =
                response.items.iter().filter_map(|s| s.labels.get(label::POD_UID).cloned()).collect();
            let pods = agent.all_pods();
            let known = pods.iter().filter(|p| uids.iter().any(|u| u == pod::uid(p)));
            json(&list(known.map(|p| p.as_ref().clone()).collect()))
        }
        Err(error) => text(500, error.message),
    }
}

/// The query's parameters in order.
pub(super) fn query(query: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}
