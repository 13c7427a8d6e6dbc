//! Finalizers and owner references: what may stand there, and when.

use anyhow::Result;
use gantry_json::{Value, json};
use gantry_testing::TestServer;
use http::Method;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn nothing_is_added_to_what_is_leaving() -> Result<()> {
    let server = TestServer::start().await?;
    let object = json!({"metadata": {"name": "a", "finalizers": ["example.com/a", "example.com/b"]}});
    server.json(Method::POST, MAPS, &object).await?;
    let path = format!("{MAPS}/a");
    server.json(Method::DELETE, &path, &Value::Null).await?;
    let set = async |finalizers: Value| {
        let patch = json!({"metadata": {"finalizers": finalizers}}).to_string();
        server.request(Method::PATCH, &path, "application/merge-patch+json", patch).await
    };
    let refused = set(json!(["example.com/a", "example.com/c"])).await?;
    assert_eq!(refused.code, 422);
    let message = refused.json()["message"].as_str().unwrap_or_default().to_owned();
    assert!(
        message.contains(
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, \
             found new finalizers []string{\"example.com/c\"}"
        ),
        "{message}"
    );
    assert_eq!(
        set(json!(["example.com/b"])).await?.json()["metadata"]["finalizers"],
        json!(["example.com/b"])
    );
    assert_eq!(set(Value::Null).await?.code, 200);
    assert_eq!(server.get(&path).await?.code, 404);
    Ok(())
}

#[tokio::test]
async fn names_and_owners_are_checked() -> Result<()> {
    let server = TestServer::start().await?;
    let check = async |metadata: Value, expect: &str| -> Result<()> {
        let mut object = json!({"metadata": metadata});
        object["metadata"]["name"] = "a".into();
        let reply = server.json(Method::POST, MAPS, &object).await?;
        let message = reply.json()["message"].as_str().unwrap_or_default().to_owned();
        assert!(reply.code == 422 && message.contains(expect), "{message}");
        Ok(())
    };
    check(
        json!({"finalizers": ["hold"]}),
        "metadata.finalizers[0]: Invalid value: \"hold\": name is neither a standard finalizer name nor is it \
         fully qualified",
    )
    .await?;
    check(
        json!({"finalizers": ["orphan", "foregroundDeletion"]}),
        "finalizer orphan and foregroundDeletion cannot be both set",
    )
    .await?;
    let owner = |name: &str, kind: &str| json!({"apiVersion": "v1", "kind": kind, "name": name, "uid": name, "controller": true});
    check(
        json!({"ownerReferences": [owner("one", "Pod"), owner("two", "Pod")]}),
        "Only one reference can have Controller set to true. Found \"true\" in references for Pod/one and Pod/two",
    )
    .await?;
    check(
        json!({"ownerReferences": [owner("one", "Event")]}),
        "/v1, Kind=Event is disallowed from being an owner",
    )
    .await?;
    check(
        json!({"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": ""}]}),
        "metadata.ownerReferences.uid: Invalid value: \"\": must not be empty",
    )
    .await?;
    Ok(())
}
