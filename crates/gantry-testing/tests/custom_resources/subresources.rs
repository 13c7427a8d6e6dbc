//! The status and scale subresources of custom kinds.

use anyhow::Result;
use bytes::Bytes;
use gantry_json::{Value, json};
use gantry_testing::TestServer;
use http::{Method, Request};

use crate::fixture::{THINGS, define, definition, expect, thing};

async fn server() -> Result<TestServer> {
    let server = TestServer::start().await?;
    let mut definition = definition(json!({"size": {"type": "integer"}, "a": {"type": "string"}}));
    definition["spec"]["versions"][0]["subresources"] = json!({"status": {}, "scale": {
        "specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size", "labelSelectorPath": ".status.selector",
    }});
    define(&server, &definition).await?;
    Ok(server)
}

#[tokio::test]
async fn status_and_spec_are_apart() -> Result<()> {
    let server = server().await?;
    let mut sent = thing("t", json!({"size": 2}));
    sent["status"] = json!({"size": 9});
    let created = expect(&server.json(Method::POST, THINGS, &sent).await?, 201)?;
    assert_eq!(created["status"], Value::Null);
    let mut changed = created.clone();
    changed["status"] = json!({"size": 1, "selector": "a=b"});
    changed["spec"]["size"] = json!(5);
    changed["metadata"]["labels"] = json!({"l": "1"});
    let status = expect(&server.json(Method::PUT, &format!("{THINGS}/t/status"), &changed).await?, 200)?;
    assert_eq!((&status["spec"]["size"], &status["status"]["size"]), (&json!(2), &json!(1)));
    assert_eq!((&status["metadata"]["generation"], &status["metadata"]["labels"]), (&json!(1), &Value::Null));
    let managers = status["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    assert_eq!(managers[1]["subresource"], "status");
    let mut next = status.clone();
    next["spec"]["size"] = json!(3);
    next["status"] = json!({"size": 7});
    let spec = expect(&server.json(Method::PUT, &format!("{THINGS}/t"), &next).await?, 200)?;
    assert_eq!((&spec["status"]["size"], &spec["metadata"]["generation"]), (&json!(1), &json!(2)));
    let read = expect(&server.get(&format!("{THINGS}/t/status")).await?, 200)?;
    assert_eq!(read, spec);
    let patch = json!({"status": {"size": 4}}).to_string();
    let path = format!("{THINGS}/t/status");
    let patched = server.request(Method::PATCH, &path, "application/merge-patch+json", patch).await?;
    assert_eq!(expect(&patched, 200)?["status"]["size"], 4);
    Ok(())
}

#[tokio::test]
async fn scale_reads_and_writes_where_the_definition_says() -> Result<()> {
    let server = server().await?;
    let created = expect(&server.json(Method::POST, THINGS, &thing("t", json!({"size": 2}))).await?, 201)?;
    let mut status = created.clone();
    status["status"] = json!({"size": 1, "selector": "a=b"});
    expect(&server.json(Method::PUT, &format!("{THINGS}/t/status"), &status).await?, 200)?;
    let path = format!("{THINGS}/t/scale");
    let mut scale = expect(&server.get(&path).await?, 200)?;
    assert_eq!(
        (&scale["kind"], &scale["apiVersion"], &scale["spec"], &scale["status"]),
        (
            &json!("Scale"),
            &json!("autoscaling/v1"),
            &json!({"replicas": 2}),
            &json!({"replicas": 1, "selector": "a=b"})
        )
    );
    let request = Request::get(&path).header("accept", "application/json;as=Table;g=meta.k8s.io;v=v1");
    let table = server.send(Some(&server.admin), request.body(Bytes::new())?).await?;
    let table = expect(&table, 200)?;
    let names = table["columnDefinitions"].as_array().into_iter().flatten().map(|each| each["name"].clone());
    assert_eq!(names.collect::<Vec<_>>(), ["Name", "Desired", "Available", "Age"]);
    assert_eq!(
        table["rows"][0]["cells"].as_array().map(|cells| &cells[..3]),
        Some(&[json!("t"), json!(2), json!(1)][..])
    );
    scale["spec"]["replicas"] = json!(6);
    let scaled = expect(&server.json(Method::PUT, &path, &scale).await?, 200)?;
    assert_eq!(scaled["spec"]["replicas"], 6);
    let object = expect(&server.get(&format!("{THINGS}/t")).await?, 200)?;
    assert_eq!((&object["spec"]["size"], &object["metadata"]["generation"]), (&json!(6), &json!(2)));
    let patch = json!({"spec": {"replicas": 8}}).to_string();
    let patched = server.request(Method::PATCH, &path, "application/merge-patch+json", patch).await?;
    assert_eq!(expect(&patched, 200)?["spec"]["replicas"], 8);
    scale["metadata"]["resourceVersion"] = Value::Null;
    scale["spec"]["replicas"] = json!(-1);
    assert_eq!(server.json(Method::PUT, &path, &scale).await?.code, 422);
    let none = expect(&server.get(&format!("{THINGS}/t/log")).await?, 404)?;
    assert_eq!(none["message"], "things.example.com \"t\" not found");
    Ok(())
}
