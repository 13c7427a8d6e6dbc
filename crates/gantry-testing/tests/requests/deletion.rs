//! Deletion: its options and preconditions, and what is answered.

use anyhow::Result;
use gantry_json::{Value, json};
use gantry_testing::TestServer;
use http::Method;

use crate::pods::delete;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const SETS: &str = "/apis/apps/v1/namespaces/default/replicasets";

async fn map(server: &TestServer, name: &str) -> Result<Value> {
    let made = server.json(Method::POST, MAPS, &json!({"metadata": {"name": name}})).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    Ok(made.json())
}

#[tokio::test]
async fn the_propagation_policy_becomes_a_finalizer() -> Result<()> {
    let server = TestServer::start().await?;
    let check = async |query: &str, options: Value, code: u16, expect: Value| -> Result<()> {
        map(&server, "a").await?;
        let path = format!("{MAPS}/a");
        let (got, answer) = delete(&server, &format!("{path}?{query}"), &options).await?;
        assert_eq!(got, code, "{query} {options}");
        assert_eq!(answer["metadata"]["finalizers"], expect, "{query} {options}");
        if expect.is_null() {
            assert_eq!((&answer["kind"], &answer["status"]), (&json!("Status"), &json!("Success")));
        } else {
            let patch = json!({"metadata": {"finalizers": null}}).to_string();
            server.request(Method::PATCH, &path, "application/merge-patch+json", patch).await?;
        }
        assert_eq!(server.get(&path).await?.code, 404);
        Ok(())
    };
    check("", Value::Null, 200, Value::Null).await?;
    check("", json!({"propagationPolicy": "Background"}), 200, Value::Null).await?;
    check("", json!({"propagationPolicy": "Foreground"}), 200, json!(["foregroundDeletion"])).await?;
    check("propagationPolicy=Orphan", Value::Null, 200, json!(["orphan"])).await?;
    check("", json!({"orphanDependents": true}), 200, json!(["orphan"])).await?;
    check("orphanDependents=false", Value::Null, 200, Value::Null).await?;
    Ok(())
}

#[tokio::test]
async fn a_later_policy_takes_the_place_of_an_earlier_one() -> Result<()> {
    let server = TestServer::start().await?;
    map(&server, "a").await?;
    let path = format!("{MAPS}/a");
    let (_, first) = delete(&server, &path, &json!({"propagationPolicy": "Foreground"})).await?;
    let (_, same) = delete(&server, &path, &Value::Null).await?;
    assert_eq!(same["metadata"], first["metadata"]);
    let (_, orphan) = delete(&server, &path, &json!({"propagationPolicy": "Orphan"})).await?;
    assert_eq!(orphan["metadata"]["finalizers"], json!(["orphan"]));
    assert_eq!(orphan["metadata"]["deletionTimestamp"], first["metadata"]["deletionTimestamp"]);
    let (code, _) = delete(&server, &path, &json!({"propagationPolicy": "Background"})).await?;
    assert_eq!((code, server.get(&path).await?.code.as_u16()), (200, 404));
    Ok(())
}

#[tokio::test]
async fn options_that_make_no_sense_are_refused() -> Result<()> {
    let server = TestServer::start().await?;
    map(&server, "a").await?;
    let check = async |query: &str, options: Value, code: u16, expect: &str| -> Result<()> {
        let (got, answer) = delete(&server, &format!("{MAPS}/a?{query}"), &options).await?;
        assert_eq!(got, code, "{query} {options}: {answer}");
        let message = answer["message"].as_str().unwrap_or_default();
        assert!(message.contains(expect), "{message}");
        Ok(())
    };
    let both = json!({"propagationPolicy": "Orphan", "orphanDependents": true});
    let words = "propagationPolicy: Invalid value: \"Orphan\": orphanDependents and deletionPropagation cannot be both set";
    check("", both, 422, words).await?;
    let words = "propagationPolicy: Unsupported value: \"Sideways\": supported values: \"Background\", \"Foreground\", \"Orphan\", \"nil\"";
    check("", json!({"propagationPolicy": "Sideways"}), 422, words).await?;
    check("dryRun=Some", Value::Null, 422, "dryRun: Unsupported value").await?;
    check("gracePeriodSeconds=soon", Value::Null, 400, "soon").await?;
    check("", json!({"kind": "Pod", "apiVersion": "v1"}), 400, "DeleteOptions").await?;
    assert_eq!(server.get(&format!("{MAPS}/a")).await?.code, 200);
    Ok(())
}

#[tokio::test]
async fn preconditions_name_one_object_in_one_state() -> Result<()> {
    let server = TestServer::start().await?;
    let made = map(&server, "a").await?;
    let path = format!("{MAPS}/a");
    let (uid, version) = (&made["metadata"]["uid"], &made["metadata"]["resourceVersion"]);
    let check = async |preconditions: Value, code: u16, expect: &str| -> Result<()> {
        let (got, answer) = delete(&server, &path, &json!({"preconditions": preconditions})).await?;
        assert_eq!(got, code, "{answer}");
        let message = answer["message"].as_str().unwrap_or_default();
        assert!(message.contains(expect), "{message}");
        Ok(())
    };
    let words = format!(
        "Operation cannot be fulfilled on configmaps \"a\": the UID in the precondition (other) does not match \
         the UID in record ({}). The object might have been deleted and then recreated",
        uid.as_str().unwrap_or_default()
    );
    check(json!({"uid": "other"}), 409, &words).await?;
    let words = "the ResourceVersion in the precondition (1) does not match the ResourceVersion in record (";
    check(json!({"uid": uid, "resourceVersion": "1"}), 409, words).await?;
    check(json!({"uid": uid, "resourceVersion": version}), 200, "").await?;
    assert_eq!(server.get(&path).await?.code, 404);
    Ok(())
}

#[tokio::test]
async fn what_is_gone_is_shown_as_it_last_was() -> Result<()> {
    let server = TestServer::start().await?;
    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}});
    let services = "/api/v1/namespaces/default/services";
    server.json(Method::POST, services, &service).await?;
    let (code, gone) = delete(&server, &format!("{services}/s"), &Value::Null).await?;
    assert_eq!((code, &gone["kind"]), (200, &json!("Service")));
    let made = map(&server, "a").await?;
    let (_, status) = delete(&server, &format!("{MAPS}/a"), &Value::Null).await?;
    assert_eq!(status["details"], json!({"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]}));
    let (code, missing) = delete(&server, &format!("{MAPS}/a"), &Value::Null).await?;
    assert_eq!((code, &missing["reason"]), (404, &json!("NotFound")));
    // The last event of a watch shows the object, not its deletion.
    map(&server, "b").await?;
    let since = server.get(MAPS).await?.json()["metadata"]["resourceVersion"].clone();
    delete(&server, &format!("{MAPS}/b"), &Value::Null).await?;
    let query = format!("watch=true&timeoutSeconds=1&resourceVersion={}", since.as_str().unwrap_or_default());
    let events = server.get(&format!("{MAPS}?{query}")).await?;
    let event: Value = gantry_json::from_str(events.text().lines().next().unwrap_or_default())?;
    assert_eq!((&event["type"], &event["object"]["metadata"]["name"]), (&json!("DELETED"), &json!("b")));
    assert_eq!(event["object"]["metadata"]["deletionTimestamp"], Value::Null);
    Ok(())
}

#[tokio::test]
async fn some_namespaces_stay() -> Result<()> {
    let server = TestServer::start().await?;
    for name in ["default", "kube-system", "kube-public"] {
        let (code, answer) = delete(&server, &format!("/api/v1/namespaces/{name}"), &Value::Null).await?;
        assert_eq!((code, &answer["reason"]), (403, &json!("Forbidden")), "{answer}");
    }
    Ok(())
}

#[tokio::test]
async fn the_generation_counts_the_deletion() -> Result<()> {
    let server = TestServer::start().await?;
    let set = json!({"metadata": {"name": "a", "finalizers": ["example.com/hold"]}, "spec": {
        "selector": {"matchLabels": {"app": "a"}},
        "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    let made = server.json(Method::POST, SETS, &set).await?;
    assert_eq!((made.code.as_u16(), &made.json()["metadata"]["generation"]), (201, &json!(1)));
    let (_, leaving) = delete(&server, &format!("{SETS}/a"), &Value::Null).await?;
    assert_eq!(leaving["metadata"]["generation"], 2);
    assert_eq!(leaving["metadata"]["deletionGracePeriodSeconds"], 0);
    Ok(())
}
