//! The default roles: there from the start, and put right at every start.

use anyhow::{Context, Result};
use gantry_json::{Value, json};
use gantry_testing::TestServer;
use http::Method;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

async fn put(server: &TestServer, path: &str, object: &Value) -> Result<Value> {
    let reply = server.json(Method::PUT, path, object).await?;
    assert_eq!(reply.code, 200, "{}", reply.text());
    Ok(reply.json())
}

#[tokio::test]
async fn a_start_puts_right_what_was_taken_away_and_keeps_what_was_added() -> Result<()> {
    let server = TestServer::start().await?;
    let version = async |path: &str| -> Result<Value> {
        Ok(server.get(&format!("{RBAC}/{path}")).await?.json()["metadata"]["resourceVersion"].clone())
    };
    let before = version("clusterroles/system:node").await?;
    TestServer::with_store(server.store.clone()).await?;
    assert_eq!(version("clusterroles/system:node").await?, before, "nothing to put right");

    let role = format!("{RBAC}/clusterroles/system:kube-dns");
    let mut object = server.get(&role).await?.json();
    assert_eq!(object["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"], "true");
    assert_eq!(object["metadata"]["labels"]["kubernetes.io/bootstrapping"], "rbac-defaults");
    let default = object["rules"].clone();
    object["rules"] = json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]);
    put(&server, &role, &object).await?;
    let left = format!("{RBAC}/clusterroles/system:node-problem-detector");
    let mut opted_out = server.get(&left).await?.json();
    opted_out["rules"] = json!([]);
    opted_out["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] = json!("false");
    put(&server, &left, &opted_out).await?;
    let binding = format!("{RBAC}/clusterrolebindings/system:basic-user");
    let mut subjects = server.get(&binding).await?.json();
    let added = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"});
    subjects["subjects"] = json!([added]);
    put(&server, &binding, &subjects).await?;
    server.json(Method::DELETE, &format!("{RBAC}/clusterroles/view"), &Value::Null).await?;

    TestServer::with_store(server.store.clone()).await?;
    let rules = server.get(&role).await?.json()["rules"].clone();
    assert_eq!(rules, json!([object["rules"][0], default[0]]));
    assert_eq!(server.get(&left).await?.json()["rules"], json!(null));
    let subjects = server.get(&binding).await?.json()["subjects"].clone();
    let names: Vec<_> =
        subjects.as_array().context("no subjects")?.iter().map(|each| &each["name"]).collect();
    assert_eq!(names, ["jane", "system:authenticated"]);
    assert_eq!(server.get(&format!("{RBAC}/clusterroles/view")).await?.code, 200);
    Ok(())
}

#[tokio::test]
async fn a_default_binding_to_another_role_is_made_anew() -> Result<()> {
    let server = TestServer::start().await?;
    let path = format!("{RBAC}/clusterrolebindings/system:basic-user");
    let mut binding = server.get(&path).await?.json();
    server.json(Method::DELETE, &path, &Value::Null).await?;
    binding["roleRef"]["name"] = json!("view");
    binding["metadata"].as_object_mut().context("no metadata")?.remove("resourceVersion");
    let made = server.json(Method::POST, &format!("{RBAC}/clusterrolebindings"), &binding).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    TestServer::with_store(server.store.clone()).await?;
    assert_eq!(server.get(&path).await?.json()["roleRef"]["name"], "system:basic-user");
    Ok(())
}
