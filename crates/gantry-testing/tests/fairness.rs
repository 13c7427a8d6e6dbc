//! Priority and fairness: each request belongs to a flow, one flow does not crowd out another, and what
//! there is no room for is sent away.

use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use gantry_apiserver::Limits;
use gantry_json::{Value, json};
use gantry_testing::{Pair, TestServer};
use http::{Method, Request};
use kube::Api;
use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::runtime::wait::await_condition;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const FLOWS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Lets everybody do everything.
async fn open(server: &TestServer) -> Result<()> {
    let binding = json!({
        "metadata": {"name": "everybody"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:authenticated"}],
    });
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    assert_eq!(server.json(Method::POST, path, &binding).await?.code, 201);
    Ok(())
}

fn read(path: &str) -> http::Result<Request<Bytes>> {
    Request::builder().uri(path).header("host", "x").body(Bytes::new())
}

async fn uid(server: &TestServer, path: &str) -> Result<String> {
    let object = server.get(&format!("{FLOWS}/{path}")).await?.json();
    Ok(object["metadata"]["uid"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn answers_say_which_flow_a_request_was_of() -> Result<()> {
    let server = TestServer::start().await?;
    open(&server).await?;
    let jane = server.authority.issue("jane", &[])?;
    let node = server.authority.issue("system:node:n1", &["system:nodes"])?;
    for (pair, path, schema, level) in [
        (&server.admin, MAPS, "exempt", "exempt"),
        (&jane, MAPS, "global-default", "global-default"),
        (&jane, "/readyz", "probes", "exempt"),
        (&node, "/api/v1/nodes/n1", "system-node-high", "node-high"),
        (&node, "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1", "system-nodes", "system"),
    ] {
        let reply = server.send(Some(pair), read(path)?).await?;
        let header = |name: &str| {
            reply.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        assert_eq!(
            header("x-kubernetes-pf-flowschema-uid"),
            uid(&server, &format!("flowschemas/{schema}")).await?,
            "{path}"
        );
        let level = uid(&server, &format!("prioritylevelconfigurations/{level}")).await?;
        assert_eq!(header("x-kubernetes-pf-prioritylevel-uid"), level, "{path}");
    }
    let metrics = server.get("/metrics").await?.text();
    for start in [
        "apiserver_flowcontrol_dispatched_requests_total{priority_level=\"system\",flow_schema=\"system-nodes\"} 1",
        "apiserver_flowcontrol_nominal_limit_seats{priority_level=\"workload-low\"} 245",
        "apiserver_flowcontrol_current_executing_requests{priority_level=\"system\",flow_schema=\"system-nodes\"} 0",
        "apiserver_flowcontrol_current_inqueue_requests{priority_level=\"system\",flow_schema=\"system-nodes\"} 0",
        "apiserver_flowcontrol_request_wait_duration_seconds_count{priority_level=\"system\",flow_schema=\"system-nodes\",execute=\"true\"} 1",
        "apiserver_flowcontrol_request_execution_seconds_count{priority_level=\"system\",flow_schema=\"system-nodes\",type=\"regular\"} 1",
    ] {
        assert!(metrics.contains(start), "{start} is not in\n{metrics}");
    }
    let dump = server.get("/debug/api_priority_and_fairness/dump_priority_levels").await?.text();
    let system = dump.lines().find(|line| line.starts_with("system, ")).unwrap_or_default();
    let system: Vec<&str> = system.split(", ").map(str::trim).collect();
    assert_eq!(system, ["system", "0", "true", "false", "0", "0", "1", "0", "0", "0"], "{dump}");
    let queues = server.get("/debug/api_priority_and_fairness/dump_queues").await?.text();
    assert!(queues.lines().any(|line| line.starts_with("workload-low,")), "{queues}");
    let requests = "/debug/api_priority_and_fairness/dump_requests?includeRequestDetails=1";
    let requests = server.get(requests).await?.text();
    assert!(requests.starts_with("PriorityLevelName, FlowSchemaName, QueueIndex,"), "{requests}");
    assert!(requests.trim_end().ends_with("Resource, SubResource"), "{requests}");
    assert!(server.get("/debug/pprof/").await?.text().contains("cmdline"));
    assert!(!server.get("/debug/pprof/cmdline").await?.bytes.is_empty());
    assert_eq!(server.get("/debug/pprof/heap").await?.code, 404);
    server.get("/livez?verbose&exclude=ping&exclude=nothing").await?;
    let slis = server.get("/metrics/slis").await?.text();
    assert!(slis.contains("kubernetes_healthcheck{name=\"log\",type=\"livez\"} 1"), "{slis}");
    Ok(())
}

/// Starts a write that does not end while the connection lives.
async fn occupy(server: &TestServer, pair: &Pair) -> Result<impl Sized + use<>> {
    let mut slow = server.connect(Some(pair)).await?;
    let head =
        format!("POST {MAPS} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\nexpect: 100-continue\r\n\r\n");
    slow.write_all(head.as_bytes()).await?;
    let mut started = [0; 25];
    slow.read_exact(&mut started).await?;
    assert!(started.starts_with(b"HTTP/1.1 100"));
    Ok(slow)
}

#[tokio::test]
async fn a_level_that_is_full_refuses_its_own_alone() -> Result<()> {
    let server = TestServer::with_limits(Limits { reads: 6, writes: 4, ..Limits::default() }).await?;
    open(&server).await?;
    // A level of one seat without a queue, for one user.
    let level = json!({"metadata": {"name": "narrow"}, "spec": {"type": "Limited", "limited": {
        "nominalConcurrencyShares": 1, "borrowingLimitPercent": 0, "limitResponse": {"type": "Reject"}}}});
    let made = server.json(Method::POST, &format!("{FLOWS}/prioritylevelconfigurations"), &level).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    let rule = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true});
    let schema = json!({"metadata": {"name": "jane"}, "spec": {
        "matchingPrecedence": 50, "priorityLevelConfiguration": {"name": "narrow"},
        "rules": [{"subjects": [{"kind": "User", "user": {"name": "jane"}}], "resourceRules": [rule]}]}});
    let made = server.json(Method::POST, &format!("{FLOWS}/flowschemas"), &schema).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    let (jane, bob) = (server.authority.issue("jane", &[])?, server.authority.issue("bob", &[])?);
    let slow = occupy(&server, &jane).await?;
    let refused = server.send(Some(&jane), read(MAPS)?).await?;
    assert_eq!((refused.code.as_u16(), refused.headers["retry-after"].to_str()?), (429, "1"));
    assert_eq!(refused.json()["reason"], "TooManyRequests");
    assert_eq!(server.send(Some(&jane), read(&format!("{MAPS}?watch=1&timeoutSeconds=1"))?).await?.code, 200);
    assert_eq!(server.send(Some(&bob), read(MAPS)?).await?.code, 200);
    let metrics = server.get("/metrics").await?.text();
    let rejected = "apiserver_flowcontrol_rejected_requests_total{priority_level=\"narrow\",flow_schema=\"jane\",reason=\"concurrency-limit\"} 1";
    let executing =
        "apiserver_flowcontrol_current_executing_requests{priority_level=\"narrow\",flow_schema=\"jane\"} 1";
    let seats =
        "apiserver_flowcontrol_current_executing_seats{priority_level=\"narrow\",flow_schema=\"jane\"} 1";
    let limit = "apiserver_flowcontrol_current_limit_seats{priority_level=\"narrow\"} ";
    for line in [rejected, executing, seats, limit] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    // Without its schema she is like everybody else.
    server.json(Method::DELETE, &format!("{FLOWS}/flowschemas/jane"), &Value::Null).await?;
    assert_eq!(server.send(Some(&jane), read(MAPS)?).await?.code, 200);
    drop(slow);
    Ok(())
}

/// The object of a kind of fairness, when it is as `wanted`.
async fn becomes(
    server: &TestServer,
    kind: &str,
    name: &str,
    wanted: impl Fn(Option<&DynamicObject>) -> bool,
) -> Result<Option<DynamicObject>> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("flowcontrol.apiserver.k8s.io", "v1", kind));
    let api: Api<DynamicObject> = Api::all_with(server.client(), &resource);
    Ok(tokio::time::timeout(PATIENCE, await_condition(api, name, wanted)).await.context("in time")??)
}

#[tokio::test]
async fn defaults_come_back() -> Result<()> {
    let server = TestServer::start().await?;
    let shares = |object: &DynamicObject| object.data["spec"]["limited"]["nominalConcurrencyShares"].clone();
    let delete = async |kind: &str, plural: &str, name: &str| -> Result<()> {
        let path = format!("{plural}/{name}");
        let before = uid(&server, &path).await?;
        let gone = server.json(Method::DELETE, &format!("{FLOWS}/{path}"), &Value::Null).await?;
        assert_eq!(gone.code, 200, "{}", gone.text());
        becomes(&server, kind, name, |object| {
            object.is_some_and(|each| each.metadata.uid != Some(before.clone()))
        })
        .await?;
        Ok(())
    };
    delete("FlowSchema", "flowschemas", "catch-all").await?;
    delete("FlowSchema", "flowschemas", "service-accounts").await?;
    delete("PriorityLevelConfiguration", "prioritylevelconfigurations", "workload-high").await?;

    let patch = async |name: &str, patch: Value| -> Result<()> {
        let path = format!("{FLOWS}/prioritylevelconfigurations/{name}");
        let reply =
            server.request(Method::PATCH, &path, "application/merge-patch+json", patch.to_string()).await?;
        assert_eq!(reply.code, 200, "{}", reply.text());
        Ok(())
    };
    let spec = json!({"limited": {"nominalConcurrencyShares": 7}});
    patch("workload-low", json!({"spec": spec})).await?;
    let back = |object: Option<&DynamicObject>| object.is_some_and(|each| shares(each) == 100);
    becomes(&server, "PriorityLevelConfiguration", "workload-low", back).await?;
    let mine = json!({"annotations": {"apf.kubernetes.io/autoupdate-spec": "false"}});
    patch("workload-low", json!({"spec": spec, "metadata": mine})).await?;
    // What was once a default goes, when everything else has been looked at.
    let old = json!({
        "metadata": {"name": "old", "annotations": {"apf.kubernetes.io/autoupdate-spec": "true"}},
        "spec": {"matchingPrecedence": 50, "priorityLevelConfiguration": {"name": "exempt"}},
    });
    assert_eq!(server.json(Method::POST, &format!("{FLOWS}/flowschemas"), &old).await?.code, 201);
    becomes(&server, "FlowSchema", "old", |object| object.is_none()).await?;
    let level = server.get(&format!("{FLOWS}/prioritylevelconfigurations/workload-low")).await?.json();
    assert_eq!(level["spec"]["limited"]["nominalConcurrencyShares"], 7, "an administrator said so");
    Ok(())
}

/// The condition `Dangling` of the schema `jane`, when it says `status`.
async fn dangling(server: &TestServer, status: &str) -> Result<Value> {
    let resource =
        ApiResource::from_gvk(&GroupVersionKind::gvk("flowcontrol.apiserver.k8s.io", "v1", "FlowSchema"));
    let api: Api<DynamicObject> = Api::all_with(server.client(), &resource);
    let condition = |object: &DynamicObject| object.data["status"]["conditions"][0].clone();
    let says =
        |object: Option<&DynamicObject>| object.is_some_and(|each| condition(each)["status"] == status);
    let found = tokio::time::timeout(PATIENCE, await_condition(api, "jane", says)).await;
    Ok(condition(&found.context("in time")??.context("it is there")?).into())
}

#[tokio::test]
async fn a_schema_whose_level_there_is_not_dangles() -> Result<()> {
    let server = TestServer::start().await?;
    open(&server).await?;
    let own = server.get(&format!("{FLOWS}/flowschemas")).await?.json();
    for schema in own["items"].as_array().into_iter().flatten() {
        let condition = &schema["status"]["conditions"][0];
        assert_eq!(
            (&condition["type"], &condition["reason"]),
            (&json!("Dangling"), &json!("Found")),
            "{schema}"
        );
    }
    let rule = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true});
    let schema = json!({"metadata": {"name": "jane"}, "spec": {
        "matchingPrecedence": 50, "priorityLevelConfiguration": {"name": "late"},
        "rules": [{"subjects": [{"kind": "User", "user": {"name": "jane"}}], "resourceRules": [rule]}]}});
    let made = server.json(Method::POST, &format!("{FLOWS}/flowschemas"), &schema).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    let refers = "This FlowSchema references the PriorityLevelConfiguration object named \"late\"";
    let lost = dangling(&server, "True").await?;
    let expect = (&json!("NotFound"), &json!(format!("{refers} but there is no such object")));
    assert_eq!((&lost["reason"], &lost["message"]), expect);
    assert!(lost["lastTransitionTime"].is_string(), "{lost}");
    // It says nothing as long as that is so.
    let jane = server.authority.issue("jane", &[])?;
    let flow = |reply: &gantry_testing::Reply| {
        let uid = reply.headers.get("x-kubernetes-pf-flowschema-uid").and_then(|uid| uid.to_str().ok());
        uid.unwrap_or_default().to_owned()
    };
    let reply = server.send(Some(&jane), read(MAPS)?).await?;
    assert_eq!(flow(&reply), uid(&server, "flowschemas/global-default").await?);

    let level = json!({"metadata": {"name": "late"}, "spec": {"type": "Limited", "limited": {
        "nominalConcurrencyShares": 5, "limitResponse": {"type": "Reject"}}}});
    let made = server.json(Method::POST, &format!("{FLOWS}/prioritylevelconfigurations"), &level).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    let found = dangling(&server, "False").await?;
    let expect = (&json!("Found"), &json!(format!("{refers} and it exists")));
    assert_eq!((&found["reason"], &found["message"]), expect);
    let reply = server.send(Some(&jane), read(MAPS)?).await?;
    assert_eq!(flow(&reply), uid(&server, "flowschemas/jane").await?);
    let shown = server.get(&format!("{FLOWS}/flowschemas/jane")).await?.json();
    let managers = shown["metadata"]["managedFields"].as_array().into_iter().flatten();
    let applied = |each: &&Value| each["manager"] == "api-priority-and-fairness-config-consumer-v1";
    let applied = managers.filter(applied).collect::<Vec<_>>();
    assert_eq!((&applied[0]["operation"], &applied[0]["subresource"]), (&json!("Apply"), &json!("status")));
    Ok(())
}
