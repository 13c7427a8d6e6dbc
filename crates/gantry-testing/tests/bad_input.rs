//! Bad input gets the right code, reason and field, and the server stays up.

use anyhow::Result;
use bytes::Bytes;
use gantry_json::{Value, json};
use gantry_testing::TestServer;
use http::{Method, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}})
}

async fn check(
    server: &TestServer,
    content_type: &str,
    query: &str,
    body: &str,
    code: u16,
    expect: &str,
) -> Result<()> {
    let path = format!("{MAPS}?{query}");
    let reply = server.request(Method::POST, &path, content_type, body.to_owned()).await?;
    assert_eq!(reply.code.as_u16(), code, "{body}: {}", reply.text());
    assert!(reply.text().contains(expect), "{body}: {}", reply.text());
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_read_is_refused() -> Result<()> {
    let server = TestServer::start().await?;
    let json = "application/json";
    check(&server, json, "", "{\"kind\": ", 400, "BadRequest").await?;
    check(&server, "application/yaml", "", "a: [", 400, "BadRequest").await?;
    check(
        &server,
        json,
        "",
        "{\"data\":{\"a\":7},\"metadata\":{\"name\":\"a\"}}",
        400,
        "field ConfigMap.data of",
    )
    .await?;
    check(&server, "text/plain", "", "x", 415, "UnsupportedMediaType").await?;
    check(&server, "application/octet-stream", "", "x", 415, "UnsupportedMediaType").await?;
    check(&server, json, "fieldValidation=Sometimes", &json!({"x": 1}).to_string(), 422, "fieldValidation")
        .await?;
    let other = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}).to_string();
    check(&server, json, "", &other, 400, "ConfigMap").await?;
    let elsewhere = json!({"metadata": {"name": "a", "namespace": "other"}}).to_string();
    check(&server, json, "", &elsewhere, 400, "does not match the namespace").await?;
    assert_eq!(server.get("/readyz").await?.text(), "ok");
    Ok(())
}

#[tokio::test]
async fn unknown_and_duplicate_fields_follow_field_validation() -> Result<()> {
    let server = TestServer::start().await?;
    let body = |name: &str| {
        format!(
            "{{\"metadata\":{{\"name\":\"{name}\"}},\"extra\":1,\"data\":{{\"a\":\"1\"}},\"data\":{{\"a\":\"2\"}}}}"
        )
    };
    let json = "application/json";
    let strict = "strict decoding error: unknown field \\\"extra\\\", duplicate field \\\"data\\\"";
    check(&server, json, "fieldValidation=Strict", &body("a"), 400, strict).await?;
    for (query, warnings) in [("", 2), ("fieldValidation=Warn", 2), ("fieldValidation=Ignore", 0)] {
        let name = format!("n{}", query.len());
        let reply = server.request(Method::POST, &format!("{MAPS}?{query}"), json, body(&name)).await?;
        assert_eq!(reply.code, 201, "{}", reply.text());
        assert_eq!(reply.headers.get_all("warning").iter().count(), warnings, "{query}");
        assert_eq!(reply.json()["extra"], Value::Null);
    }
    Ok(())
}

#[tokio::test]
async fn writes_that_lost_a_race_conflict() -> Result<()> {
    let server = TestServer::start().await?;
    let made = server.json(Method::POST, MAPS, &map("a")).await?.json();
    let again = server.json(Method::POST, MAPS, &map("a")).await?;
    assert_eq!((again.code.as_u16(), &again.json()["reason"]), (409, &json!("AlreadyExists")));
    let path = format!("{MAPS}/a");
    let mut newer = made.clone();
    newer["data"]["a"] = json!("c");
    let second = server.json(Method::PUT, &path, &newer).await?;
    assert_eq!(second.code, 200, "{}", second.text());
    newer["data"]["a"] = json!("d");
    let stale = server.json(Method::PUT, &path, &newer).await?;
    assert_eq!((stale.code.as_u16(), &stale.json()["reason"]), (409, &json!("Conflict")));
    assert_eq!(
        stale.json()["message"],
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your \
         changes to the latest version and try again"
    );
    let body = json!({"preconditions": {"uid": "other"}});
    let refused = server.json(Method::DELETE, &path, &body).await?;
    assert_eq!(refused.code, 409);
    Ok(())
}

#[tokio::test]
async fn unknown_things_are_not_found() -> Result<()> {
    let server = TestServer::start().await?;
    for path in ["/api/v1/namespaces/default/gadgets", "/apis/nothing.io/v1/things", "/nothing"] {
        let reply = server.get(path).await?;
        assert_eq!((reply.code.as_u16(), &reply.json()["reason"]), (404, &json!("NotFound")), "{path}");
    }
    let reply = server.get(&format!("{MAPS}/absent")).await?;
    assert_eq!(reply.json()["message"], "configmaps \"absent\" not found");
    Ok(())
}

#[tokio::test]
async fn who_has_no_rights_or_a_wrong_token_is_turned_away() -> Result<()> {
    let server = TestServer::start().await?;
    let jane = server.authority.issue("jane", &[])?;
    let request = |token: Option<&str>, path: &str| {
        let mut request = Request::builder().uri(path).header("host", "x");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        request.body(Bytes::new())
    };
    let reply = server.send(Some(&jane), request(None, MAPS)?).await?;
    assert_eq!(reply.code, 403);
    assert_eq!(
        reply.json()["message"],
        "configmaps is forbidden: User \"jane\" cannot list resource \"configmaps\" in API group \"\" in the \
         namespace \"default\""
    );
    assert_eq!(server.send(None, request(Some("wrong"), MAPS)?).await?.code, 401);
    assert_eq!(server.send(None, request(None, MAPS)?).await?.code, 401);
    assert_eq!(server.send(None, request(None, "/healthz")?).await?.code, 200);
    assert_eq!(server.send(None, request(None, "/version")?).await?.code, 200);
    Ok(())
}

#[tokio::test]
async fn an_oversized_body_is_refused_and_a_slow_client_holds_nobody_up() -> Result<()> {
    let server = TestServer::start().await?;
    let mut slow = server.connect(Some(&server.admin)).await?;
    slow.write_all(b"GET /api/v1/pods HTTP/1.1\r\nhost: x\r\nx-slow: ").await?;
    let body = json!({"metadata": {"name": "a"}, "data": {"a": "x".repeat(4 << 20)}});
    let reply = server.json(Method::POST, MAPS, &body).await?;
    assert_eq!((reply.code.as_u16(), &reply.json()["reason"]), (413, &json!("RequestEntityTooLarge")));
    assert_eq!(server.get("/readyz").await?.code, 200);
    slow.write_all(b"now\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await?;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(())
}

#[tokio::test]
async fn an_expired_continue_token_says_how_to_go_on() -> Result<()> {
    let server = TestServer::start().await?;
    for name in ["a", "b", "c"] {
        server.json(Method::POST, MAPS, &map(name)).await?;
    }
    let page = server.get(&format!("{MAPS}?limit=1")).await?.json();
    let token = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
    server.json(Method::POST, MAPS, &map("d")).await?;
    server.store.compact(server.store.revision()).await?;
    let reply = server.get(&format!("{MAPS}?limit=1&continue={token}")).await?;
    assert_eq!((reply.code.as_u16(), &reply.json()["reason"]), (410, &json!("Expired")), "{}", reply.text());
    let fresh = reply.json()["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
    let rest = server.get(&format!("{MAPS}?continue={fresh}")).await?.json();
    let names: Vec<_> =
        rest["items"].as_array().into_iter().flatten().map(|each| &each["metadata"]["name"]).collect();
    assert_eq!(names, ["b", "c", "d"]);
    assert_eq!(server.get(&format!("{MAPS}?continue=rubbish")).await?.code, 400);
    Ok(())
}
