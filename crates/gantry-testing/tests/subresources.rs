//! Subresources write what the object's own update leaves alone, and nothing else.

use anyhow::Result;
use gantry_api::features::FeatureGates;
use gantry_api::runtime_config::RuntimeConfig;
use gantry_json::{Value, json};
use gantry_testing::TestServer;
use http::Method;

const PODS: &str = "/api/v1/namespaces/default/pods";

async fn pod(server: &TestServer) -> Result<Value> {
    let account = json!({"metadata": {"name": "default"}});
    server.json(Method::POST, "/api/v1/namespaces/default/serviceaccounts", &account).await?;
    let pod = json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let made = server.json(Method::POST, PODS, &pod).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    Ok(made.json())
}

#[tokio::test]
async fn status_changes_through_its_subresource_only() -> Result<()> {
    let server = TestServer::start().await?;
    let mut pod = pod(&server).await?;
    pod["status"] = json!({"phase": "Running", "podIP": "10.42.0.7", "podIPs": [{"ip": "10.42.0.7"}]});
    let ignored = server.json(Method::PUT, &format!("{PODS}/a"), &pod).await?.json();
    assert_eq!(ignored["status"]["phase"], "Pending", "{ignored}");
    pod["metadata"]["resourceVersion"] = ignored["metadata"]["resourceVersion"].clone();
    let set = server.json(Method::PUT, &format!("{PODS}/a/status"), &pod).await?.json();
    assert_eq!(set["status"]["phase"], "Running", "{set}");
    let patch = json!({"status": {"phase": "Failed"}, "spec": {"priority": 7}}).to_string();
    let patched = server
        .request(Method::PATCH, &format!("{PODS}/a/status"), "application/merge-patch+json", patch)
        .await?
        .json();
    assert_eq!(patched["status"]["phase"], "Failed", "{patched}");
    assert_eq!(patched["spec"], set["spec"]);
    Ok(())
}

#[tokio::test]
async fn the_status_of_a_migration_is_its_controllers() -> Result<()> {
    let runtime_config = RuntimeConfig::parse(["storagemigration.k8s.io/v1beta1"])?;
    let feature_gates = FeatureGates::parse(["StorageVersionMigrator=true"])?;
    let server = TestServer::with_config(|config| {
        config.runtime_config = runtime_config;
        config.feature_gates = feature_gates;
    })
    .await?;
    let migrations = "/apis/storagemigration.k8s.io/v1beta1/storageversionmigrations";
    let object = json!({"metadata": {"name": "m"}, "spec": {"resource": {"group": "apps", "resource": "deployments"}},
        "status": {"resourceVersion": "7"}});
    let made = server.json(Method::POST, migrations, &object).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    let mut made = made.json();
    assert!(made["status"]["resourceVersion"].is_null(), "{made}");
    made["status"] = json!({"resourceVersion": "12"});
    made["spec"]["resource"]["resource"] = "pods".into();
    let path = format!("{migrations}/m/status");
    let set = server.json(Method::PUT, &path, &made).await?.json();
    assert_eq!(
        (&set["status"]["resourceVersion"], &set["spec"]["resource"]["resource"]),
        (&json!("12"), &json!("deployments"))
    );
    assert_eq!(server.get(&path).await?.json(), set);
    let patch = json!({"status": {"resourceVersion": "13"}}).to_string();
    let refused = server.request(Method::PATCH, &path, "application/merge-patch+json", patch).await?;
    assert_eq!(refused.code, 422, "{}", refused.text());
    Ok(())
}

#[tokio::test]
async fn a_binding_sets_the_node_and_the_condition() -> Result<()> {
    let server = TestServer::start().await?;
    pod(&server).await?;
    let before = server.get(&format!("{PODS}/a")).await?.json()["metadata"].take();
    let target = json!({"kind": "Node", "name": "n1"});
    for (field, wrong) in [("uid", "other"), ("resourceVersion", "1")] {
        let binding = json!({"metadata": {"name": "a", field: wrong}, "target": target});
        let refused = server.json(Method::POST, &format!("{PODS}/a/binding"), &binding).await?;
        assert_eq!(refused.code, 409, "{field}: {}", refused.text());
    }
    let binding = json!({"metadata": {"name": "a", "uid": before["uid"]}, "target": target});
    let bound = server.json(Method::POST, &format!("{PODS}/a/binding"), &binding).await?;
    assert_eq!(bound.code, 201, "{}", bound.text());
    let pod = server.get(&format!("{PODS}/a")).await?.json();
    assert_eq!(pod["spec"]["nodeName"], "n1");
    assert_eq!(pod["metadata"]["managedFields"], before["managedFields"], "the node is nobody's field");
    let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let scheduled = conditions.iter().find(|each| each["type"] == "PodScheduled");
    assert_eq!(scheduled.map(|each| &each["status"]), Some(&json!("True")), "{pod}");
    Ok(())
}

#[tokio::test]
async fn a_deleted_namespace_goes_when_it_is_finalized() -> Result<()> {
    let server = TestServer::start().await?;
    server.json(Method::POST, "/api/v1/namespaces", &json!({"metadata": {"name": "shop"}})).await?;
    let path = "/api/v1/namespaces/shop";
    let mut leaving = server.json(Method::DELETE, path, &Value::Null).await?.json();
    assert_eq!(leaving["status"]["phase"], "Terminating", "{leaving}");
    let map = json!({"metadata": {"name": "late"}});
    let refused = server.json(Method::POST, &format!("{path}/configmaps"), &map).await?;
    assert_eq!(refused.code, 403);
    assert_eq!(refused.json()["details"]["causes"][0]["reason"], "NamespaceTerminating");
    leaving["status"]["conditions"] = json!([{"type": "NamespaceContentRemaining", "status": "False"}]);
    let told = server.json(Method::PUT, &format!("{path}/status"), &leaving).await?.json();
    assert_eq!(told["status"]["conditions"][0]["type"], "NamespaceContentRemaining", "{told}");
    leaving["metadata"]["resourceVersion"] = told["metadata"]["resourceVersion"].clone();
    leaving["spec"]["finalizers"] = json!([]);
    let done = server.json(Method::PUT, &format!("{path}/finalize"), &leaving).await?;
    assert_eq!(done.code, 200, "{}", done.text());
    assert_eq!(server.get(path).await?.code, 404);
    Ok(())
}

/// Makes an object, and tries to note something beside its status: what becomes of the label and the
/// annotation.
async fn noted(server: &TestServer, path: &str, object: &Value) -> Result<(Value, Value)> {
    let made = server.json(Method::POST, path, object).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    let status = format!("{path}/{}/status", object["metadata"]["name"].as_str().unwrap_or_default());
    let patch = json!({"metadata": {"labels": {"l": "1"}, "annotations": {"a": "1"}}}).to_string();
    let patched = server.request(Method::PATCH, &status, "application/merge-patch+json", patch).await?;
    assert_eq!(patched.code, 200, "{}", patched.text());
    let mut metadata = patched.json()["metadata"].take();
    Ok((metadata["labels"]["l"].take(), metadata["annotations"]["a"].take()))
}

#[tokio::test]
async fn what_is_noted_beside_a_status() -> Result<()> {
    let server = TestServer::start().await?;
    let template = json!({"metadata": {"labels": {"a": "b"}},
        "spec": {"restartPolicy": "Always", "containers": [{"name": "c", "image": "i"}]}});
    let mut ends = template.clone();
    ends["spec"]["restartPolicy"] = "Never".into();
    let job = json!({"metadata": {"name": "j"}, "spec": {"template": ends}});
    let (one, none) = (json!("1"), Value::Null);
    let both = noted(&server, "/apis/batch/v1/namespaces/default/jobs", &job).await?;
    assert_eq!(both, (one.clone(), one.clone()), "a Job keeps nothing apart");
    let set = json!({"metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let deployment = noted(&server, "/apis/apps/v1/namespaces/default/deployments", &set).await?;
    assert_eq!(deployment, (none.clone(), one), "a Deployment keeps its labels");
    let level = json!({"metadata": {"name": "f"}, "spec": {"type": "Limited",
        "limited": {"nominalConcurrencyShares": 2, "limitResponse": {"type": "Reject"}}}});
    let path = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations";
    assert_eq!(noted(&server, path, &level).await?, (none.clone(), none), "a level keeps all its metadata");
    Ok(())
}

#[tokio::test]
async fn an_applied_status_owns_what_it_changes() -> Result<()> {
    let server = TestServer::start().await?;
    let path = "/apis/apps/v1/namespaces/default/deployments/d";
    let set = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    server.json(Method::POST, "/apis/apps/v1/namespaces/default/deployments", &set).await?;
    let wanted = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "d", "labels": {"l": "1"}, "annotations": {"a": "1"}},
        "spec": {"replicas": 7}, "status": {"conditions": [{"type": "Mine", "status": "True"}]}});
    let status = format!("{path}/status?fieldManager=me");
    let applied =
        server.request(Method::PATCH, &status, "application/apply-patch+yaml", wanted.to_string()).await?;
    assert_eq!(applied.code, 200, "{}", applied.text());
    let object = applied.json();
    assert_eq!((&object["spec"]["replicas"], &object["metadata"]["labels"]), (&json!(1), &Value::Null));
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let mine = entries.iter().find(|entry| entry["manager"] == "me").expect("the manager");
    assert_eq!(
        mine["fieldsV1"],
        json!({"f:metadata": {"f:annotations": {"f:a": {}}},
            "f:status": {"f:conditions": {"k:{\"type\":\"Mine\"}": {".": {}, "f:status": {}, "f:type": {}}}}})
    );
    Ok(())
}

#[tokio::test]
async fn who_applies_a_scale_owns_the_replicas() -> Result<()> {
    let server = TestServer::start().await?;
    let sets = "/apis/apps/v1/namespaces/default/replicasets";
    let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "r"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    server.json(Method::POST, &format!("{sets}?fieldManager=maker"), &set).await?;
    let apply = async |query: &str, replicas: i32| {
        let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "r"},
            "spec": {"replicas": replicas}});
        let path = format!("{sets}/r/scale?fieldManager=scaler{query}");
        server.request(Method::PATCH, &path, "application/apply-patch+yaml", scale.to_string()).await
    };
    assert_eq!(apply("", 1).await?.code, 200, "what is so already is no conflict");
    let refused = apply("", 2).await?;
    assert_eq!(
        (refused.code.as_u16(), refused.json()["message"].as_str()),
        (409, Some("Apply failed with 1 conflict: conflict with \"maker\" using apps/v1: .spec.replicas")),
    );
    for replicas in [2, 0] {
        assert_eq!(apply("&force=true", replicas).await?.code, 200);
    }
    let object = server.get(&format!("{sets}/r")).await?.json();
    assert_eq!(object["spec"]["replicas"], 0);
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let scaler = entries.iter().find(|entry| entry["manager"] == "scaler").expect("the manager");
    assert_eq!(
        (&scaler["operation"], &scaler["subresource"], &scaler["apiVersion"], &scaler["fieldsV1"]),
        (&json!("Apply"), &json!("scale"), &json!("apps/v1"), &json!({"f:spec": {"f:replicas": {}}})),
        "{object}"
    );
    let maker = entries.iter().find(|entry| entry["manager"] == "maker").expect("the manager");
    assert_eq!(maker["fieldsV1"]["f:spec"]["f:replicas"], Value::Null);
    Ok(())
}
