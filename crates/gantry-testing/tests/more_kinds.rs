//! Kinds that others act on, by requests: two versions of one object, statuses that stay apart, scales,
//! bindings and component statuses.

use anyhow::Result;
use bytes::Bytes;
use gantry_json::{Value, json};
use gantry_testing::TestServer;
use http::{Method, Request};

const PODS: &str = "/api/v1/namespaces/default/pods";

fn template() -> Value {
    json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}})
}

async fn table(server: &TestServer, path: &str) -> Result<Value> {
    let request = Request::builder()
        .uri(path)
        .header("host", "x")
        .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")
        .body(Bytes::new())?;
    Ok(server.send(Some(&server.admin), request).await?.json())
}

#[tokio::test]
async fn an_autoscaler_is_one_object_in_two_versions() -> Result<()> {
    const V1: &str = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
    const V2: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    let server = TestServer::start().await?;
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"});
    let old = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": target, "targetCPUUtilizationPercentage": 60}});
    let made = server.json(Method::POST, V1, &old).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    assert_eq!(made.json()["spec"]["targetCPUUtilizationPercentage"], 60);
    let shown = server.get(&format!("{V2}/a")).await?.json();
    assert_eq!(shown["apiVersion"], "autoscaling/v2");
    assert_eq!(shown["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 60);

    let new = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "b"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": target, "metrics": [{"type": "Pods",
            "pods": {"metric": {"name": "q"}, "target": {"type": "AverageValue", "averageValue": "5"}}}]}});
    assert_eq!(server.json(Method::POST, V2, &new).await?.code, 201);
    let mut shown = server.get(&format!("{V1}/b")).await?.json();
    assert!(
        shown["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/metrics"].is_string(),
        "{shown}"
    );
    shown["spec"]["maxReplicas"] = 5.into();
    let put = server.json(Method::PUT, &format!("{V1}/b"), &shown).await?;
    assert_eq!(put.code, 200, "{}", put.text());
    let after = server.get(&format!("{V2}/b")).await?.json();
    assert_eq!(
        (&after["spec"]["maxReplicas"], &after["spec"]["metrics"]),
        (&json!(5), &new["spec"]["metrics"])
    );
    for path in [V1, V2] {
        let shown = table(&server, path).await?;
        assert_eq!(shown["rows"][0]["cells"][2], "cpu: <unknown>/60%", "{shown}");
        assert_eq!(server.get(path).await?.json()["items"].as_array().map(Vec::len), Some(2));
    }
    let group = server.get("/apis/autoscaling").await?.json();
    assert_eq!(group["preferredVersion"]["version"], "v2");
    assert_eq!(group["versions"].as_array().map(Vec::len), Some(2));
    Ok(())
}

#[tokio::test]
async fn a_status_and_a_spec_stay_apart_and_the_spec_is_counted() -> Result<()> {
    const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";
    let server = TestServer::start().await?;
    let mut job =
        json!({"metadata": {"name": "j"}, "spec": {"template": template()}, "status": {"active": 7}});
    job["spec"]["template"]["spec"]["restartPolicy"] = "Never".into();
    let made = server.json(Method::POST, JOBS, &job).await?.json();
    assert_eq!(
        (&made["status"]["active"], &made["metadata"]["generation"]),
        (&Value::Null, &json!(1)),
        "{made}"
    );
    let mut sent = made.clone();
    sent["status"] = json!({"active": 1, "succeeded": 2});
    sent["spec"]["parallelism"] = 9.into();
    let reported = server.json(Method::PUT, &format!("{JOBS}/j/status"), &sent).await?.json();
    assert_eq!((&reported["status"]["succeeded"], &reported["spec"]["parallelism"]), (&json!(2), &json!(1)));
    assert_eq!(reported["metadata"]["generation"], 1);
    let mut sent = reported.clone();
    sent["status"]["succeeded"] = 9.into();
    sent["spec"]["parallelism"] = 3.into();
    let changed = server.json(Method::PUT, &format!("{JOBS}/j"), &sent).await?.json();
    assert_eq!((&changed["status"]["succeeded"], &changed["metadata"]["generation"]), (&json!(2), &json!(2)));
    let found = server.get(&format!("{JOBS}?fieldSelector=status.successful%3D2")).await?.json();
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1));
    let shown = table(&server, JOBS).await?;
    assert_eq!(
        (&shown["rows"][0]["cells"][1], &shown["rows"][0]["cells"][2]),
        (&json!("Running"), &json!("2/1"))
    );
    sent["spec"]["completions"] = 4.into();
    let refused = server.json(Method::PUT, &format!("{JOBS}/j"), &sent).await?;
    assert_eq!(refused.code, 409, "the version is old: {}", refused.text());
    sent["metadata"]["resourceVersion"] = Value::Null;
    let refused = server.json(Method::PUT, &format!("{JOBS}/j"), &sent).await?;
    assert_eq!(
        (refused.code.as_u16(), &refused.json()["details"]["causes"][0]),
        (
            422,
            &json!({"reason": "FieldValueInvalid", "field": "spec.completions", "message": "Invalid value: 4: field is immutable"})
        )
    );
    Ok(())
}

#[tokio::test]
async fn replication_controllers_scale() -> Result<()> {
    const CONTROLLERS: &str = "/api/v1/namespaces/default/replicationcontrollers";
    let server = TestServer::start().await?;
    let made = json!({"metadata": {"name": "r"}, "spec": {"template": template()}});
    assert_eq!(server.json(Method::POST, CONTROLLERS, &made).await?.code, 201);
    let mut scale = server.get(&format!("{CONTROLLERS}/r/scale")).await?.json();
    assert_eq!((&scale["spec"]["replicas"], &scale["status"]["selector"]), (&json!(1), &json!("a=b")));
    scale["spec"]["replicas"] = 4.into();
    assert_eq!(server.json(Method::PUT, &format!("{CONTROLLERS}/r/scale"), &scale).await?.code, 200);
    assert_eq!(server.get(&format!("{CONTROLLERS}/r")).await?.json()["spec"]["replicas"], 4);
    Ok(())
}

#[tokio::test]
async fn a_binding_of_its_own_assigns_the_pod_it_names() -> Result<()> {
    let server = TestServer::start().await?;
    let account = json!({"metadata": {"name": "default"}});
    server.json(Method::POST, "/api/v1/namespaces/default/serviceaccounts", &account).await?;
    let pod = json!({"metadata": {"name": "p"}, "spec": template()["spec"]});
    assert_eq!(server.json(Method::POST, PODS, &pod).await?.code, 201);
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"},
        "target": {"kind": "Node", "name": "n"}});
    // What is wrong with its target is a fault of the server's, as upstream has it.
    let mut bad = binding.clone();
    bad["target"] = json!({"kind": "Pod", "name": ""});
    let refused = server.json(Method::POST, "/api/v1/namespaces/default/bindings", &bad).await?;
    let words = "[target.kind: Unsupported value: \"Pod\": supported values: \"Node\", \"<empty>\", target.name: Required value]";
    assert_eq!((refused.code.as_u16(), refused.json()["message"].as_str()), (500, Some(words)));
    let bound = server.json(Method::POST, "/api/v1/namespaces/default/bindings", &binding).await?;
    assert_eq!(bound.code, 201, "{}", bound.text());
    assert_eq!(server.get(&format!("{PODS}/p")).await?.json()["spec"]["nodeName"], "n");
    assert_eq!(server.get("/api/v1/namespaces/default/bindings").await?.code, 405);
    Ok(())
}

#[tokio::test]
async fn component_statuses_are_made_when_they_are_asked_for() -> Result<()> {
    const STATUSES: &str = "/api/v1/componentstatuses";
    let server = TestServer::start().await?;
    let list = server.get(STATUSES).await?;
    assert_eq!(list.headers["warning"], "299 - \"v1 ComponentStatus is deprecated in v1.19+\"");
    let list = list.json();
    let names: Vec<&Value> =
        list["items"].as_array().unwrap().iter().map(|item| &item["metadata"]["name"]).collect();
    assert_eq!(names, ["controller-manager", "etcd-0", "scheduler"]);
    assert_eq!(server.get(&format!("{STATUSES}/etcd-0")).await?.json()["conditions"][0]["status"], "True");
    assert_eq!(server.get(&format!("{STATUSES}/other")).await?.code, 404);
    let shown = table(&server, STATUSES).await?;
    assert_eq!(shown["rows"][1]["cells"], json!(["etcd-0", "Healthy", "ok", ""]));
    // Here nobody schedules.
    let nobody = "nobody holds the lease kube-system/kube-scheduler";
    assert_eq!(shown["rows"][2]["cells"], json!(["scheduler", "Unhealthy", nobody, ""]));
    assert_eq!(server.json(Method::POST, STATUSES, &json!({"metadata": {"name": "x"}})).await?.code, 405);
    Ok(())
}

#[tokio::test]
async fn a_volumes_phase_is_timed() -> Result<()> {
    const VOLUMES: &str = "/api/v1/persistentvolumes";
    let server = TestServer::start().await?;
    let volume = json!({"metadata": {"name": "v"}, "spec": {"capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/v"}}});
    let mut made = server.json(Method::POST, VOLUMES, &volume).await?.json();
    assert!(made["status"]["lastPhaseTransitionTime"].is_string(), "{made}");
    made["status"] = json!({"phase": "Available"});
    let changed = server.json(Method::PUT, &format!("{VOLUMES}/v/status"), &made).await?.json();
    assert_eq!(changed["status"]["phase"], "Available");
    let claim = json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}});
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    assert_eq!(server.json(Method::POST, claims, &claim).await?.code, 201);
    let shown = table(&server, claims).await?;
    assert_eq!(
        (&shown["rows"][0]["cells"][1], &shown["rows"][0]["cells"][8]),
        (&json!("Pending"), &json!("Filesystem"))
    );
    Ok(())
}
