//! How clients find custom kinds.

use anyhow::{Context, Result};
use bytes::Bytes;
use gantry_json::{Value, json};
use gantry_testing::TestServer;
use http::Request;

use crate::fixture::{define, definition, version};

fn wide() -> Value {
    let mut definition = definition(json!({}));
    definition["spec"]["versions"] =
        json!([version("v1beta1", false, json!({})), version("v1", true, json!({}))]);
    definition["spec"]["versions"][1]["subresources"] = json!({"status": {},
        "scale": {"specReplicasPath": ".spec.r", "statusReplicasPath": ".status.r"}});
    definition
}

#[tokio::test]
async fn groups_versions_and_resources() -> Result<()> {
    let server = TestServer::start().await?;
    assert_eq!(server.get("/apis/example.com").await?.code, 404);
    define(&server, &wide()).await?;
    let group = server.get("/apis/example.com").await?.json();
    assert_eq!(group["preferredVersion"]["groupVersion"], "example.com/v1");
    let versions: Vec<_> =
        group["versions"].as_array().into_iter().flatten().map(|each| &each["version"]).collect();
    assert_eq!(versions, ["v1", "v1beta1"]);
    let verbs = json!(["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"]);
    let list = server.get("/apis/example.com/v1").await?.json();
    let part = json!(["get", "patch", "update"]);
    assert_eq!(
        list["resources"],
        json!([
            {"name": "things", "singularName": "thing", "namespaced": true, "kind": "Thing", "verbs": verbs,
                "shortNames": ["th"], "categories": ["all"], "storageVersionHash": "MkkTy7bNlnM="},
            {"name": "things/status", "singularName": "", "namespaced": true, "kind": "Thing", "verbs": part},
            {"name": "things/scale", "singularName": "", "namespaced": true, "kind": "Scale", "verbs": part,
                "group": "autoscaling", "version": "v1"},
        ])
    );
    let request = Request::get("/apis")
        .header("host", "x")
        .header("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    let all = server.send(Some(&server.admin), request.body(Bytes::new())?).await?.json();
    let mut groups = all["items"].as_array().into_iter().flatten();
    let own = groups.find(|group| group["metadata"]["name"] == "example.com").context("discovered")?;
    let resource = &own["versions"][0]["resources"][0];
    assert_eq!((&resource["resource"], &resource["singularResource"]), (&json!("things"), &json!("thing")));
    assert_eq!(resource["subresources"][1]["responseKind"]["kind"], "Scale");
    Ok(())
}
