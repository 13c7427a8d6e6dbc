//! Whose fields are: a client's own, as it sent them and as they are defaulted. What admission and the
//! server add to them is nobody's.

use anyhow::Result;
use gantry_json::{Value, json};
use gantry_testing::TestServer;
use http::Method;

const PODS: &str = "/api/v1/namespaces/default/pods";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn fields(object: &Value) -> &Value {
    &object["metadata"]["managedFields"][0]["fieldsV1"]
}

fn container() -> Value {
    json!({"name": "c", "image": "i"})
}

#[tokio::test]
async fn what_admission_adds_is_nobodys() -> Result<()> {
    let server = TestServer::start().await?;
    let account = json!({"metadata": {"name": "default"}});
    server.json(Method::POST, "/api/v1/namespaces/default/serviceaccounts", &account).await?;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [container()]}});
    let pod = server.json(Method::POST, PODS, &pod).await?.json();
    assert!(pod["spec"]["tolerations"].is_array() && pod["spec"]["volumes"].is_array(), "{pod}");
    let fields = fields(&pod);
    assert_eq!(
        *fields,
        json!({"f:spec": {
            "f:containers": {"k:{\"name\":\"c\"}": {
                ".": {}, "f:image": {}, "f:imagePullPolicy": {}, "f:name": {}, "f:resources": {},
                "f:terminationMessagePath": {}, "f:terminationMessagePolicy": {},
            }},
            "f:dnsPolicy": {}, "f:enableServiceLinks": {}, "f:restartPolicy": {}, "f:schedulerName": {},
            "f:securityContext": {}, "f:terminationGracePeriodSeconds": {},
        }})
    );
    Ok(())
}

#[tokio::test]
async fn a_status_is_its_writers_alone() -> Result<()> {
    let server = TestServer::start().await?;
    let set = json!({"metadata": {"name": "d"}, "status": {"numberReady": 3}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container()]}}}});
    let path = "/apis/apps/v1/namespaces/default/daemonsets";
    let set = server.json(Method::POST, path, &set).await?.json();
    let owned = fields(&set);
    assert!(owned["f:status"].is_null(), "{owned}");
    assert!(owned["f:metadata"]["f:annotations"]["f:deprecated.daemonset.template.generation"].is_object());
    let job = json!({"metadata": {"name": "j"}, "spec": {"template": {
        "spec": {"restartPolicy": "Never", "containers": [container()]}}}});
    let job = server.json(Method::POST, "/apis/batch/v1/namespaces/default/jobs", &job).await?.json();
    assert!(job["spec"]["selector"].is_object() && fields(&job)["f:spec"]["f:selector"].is_null(), "{job}");
    Ok(())
}

#[tokio::test]
async fn kubectl_takes_over_what_it_applied_itself_and_nothing_more() -> Result<()> {
    let server = TestServer::start().await?;
    let last = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"annotations": {}, "name": "m", "namespace": "default"}, "data": {"a": "1"}});
    let map = json!({"metadata": {"name": "m",
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": format!("{last}\n")}},
        "data": {"a": "1"}});
    server.json(Method::POST, &format!("{CONFIG_MAPS}?fieldManager=kubectl-client-side-apply"), &map).await?;
    let own = format!("{CONFIG_MAPS}/m");
    let edit = json!({"data": {"b": "1"}}).to_string();
    let path = format!("{own}?fieldManager=editor");
    server.request(Method::PATCH, &path, "application/merge-patch+json", edit).await?;
    let apply = async |data: Value| {
        let wanted =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data});
        let path = format!("{own}?fieldManager=kubectl");
        server.request(Method::PATCH, &path, "application/apply-patch+yaml", wanted.to_string()).await
    };
    let refused = apply(json!({"a": "2", "b": "2"})).await?;
    assert_eq!(
        refused.json()["message"],
        "Apply failed with 1 conflict: conflict with \"editor\" using v1: .data.b"
    );
    let applied = apply(json!({"a": "2"})).await?;
    assert_eq!(applied.json()["data"], json!({"a": "2", "b": "1"}), "{}", applied.json());
    Ok(())
}
