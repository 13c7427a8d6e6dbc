//! Requests for an aggregated API, from the client through the server to the other one and back.

use anyhow::{Context, Result};
use bytes::Bytes;
use gantry_json::{Value, json};
use gantry_testing::TestServer;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::extension::{Extension, GROUP, reason};

async fn start() -> Result<(TestServer, Extension)> {
    let server = TestServer::start().await?;
    let extension = Extension::start(&server, "api").await?;
    extension.register(&server, "api").await?;
    reason(&server, "Passed").await?;
    Ok((server, extension))
}

fn path(rest: &str) -> String {
    format!("/apis/{GROUP}/v1{rest}")
}

#[tokio::test]
async fn the_other_server_learns_who_asks() -> Result<()> {
    let (server, _extension) = start().await?;
    let jane = server.authority.issue("jane", &["system:masters"])?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(path("/namespaces/a/flunders?dryRun=All&x=%20y"))
        .header("host", "api.example")
        .header("content-type", "application/json")
        .header("authorization", "Bearer nobody")
        .header("x-remote-user", "root")
        .header("x-remote-extra-evil", "yes")
        .header("x-forwarded-for", "192.0.2.7")
        .header("audit-id", "one-two-three")
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        .body(Bytes::from_static(b"{\"a\":1}"))?;
    let reply = server.send(Some(&jane), request).await?;
    assert_eq!(reply.code, 200, "{}", reply.text());
    let said = reply.json();
    assert_eq!((&said["method"], &said["body"]), (&json!("POST"), &json!("{\"a\":1}")));
    assert_eq!(said["target"], path("/namespaces/a/flunders?dryRun=All&x=%20y"));
    let headers = &said["headers"];
    assert_eq!(headers["x-remote-user"], json!(["jane"]));
    assert_eq!(headers["x-remote-group"], json!(["system:masters", "system:authenticated"]));
    assert_eq!(headers["x-remote-extra-evil"], Value::Null);
    assert!(
        headers["x-remote-extra-authentication.kubernetes.io%2fcredential-id"][0].is_string(),
        "{headers}"
    );
    assert_eq!(headers["authorization"], Value::Null);
    assert_eq!(headers["x-forwarded-for"], json!(["192.0.2.7, 127.0.0.1"]));
    assert_eq!(headers["audit-id"], json!(["one-two-three"]));
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    assert_eq!(headers["traceparent"], json!([traceparent]));
    assert_eq!(said["http2"], true);
    assert_eq!(reply.headers["audit-id"], "one-two-three");
    assert_eq!(reply.headers["x-extension"], "yes");
    assert!(!reply.headers.contains_key("access-control-allow-origin"));

    let impersonating = Request::builder()
        .uri(path("/flunders"))
        .header("host", "api.example")
        .header("impersonate-user", "bob")
        .header("impersonate-group", "system:masters")
        .header("impersonate-uid", "77")
        .body(Bytes::new())?;
    let reply = server.send(Some(&server.admin), impersonating).await?;
    let said = reply.json();
    assert_eq!(reply.code, 200, "{}", reply.text());
    assert_eq!(said["headers"]["x-remote-user"], json!(["bob"]));
    assert_eq!(said["headers"]["x-remote-uid"], json!(["77"]));
    assert_eq!(said["headers"]["impersonate-user"], Value::Null);
    Ok(())
}

#[tokio::test]
async fn the_servers_own_rights_come_first() -> Result<()> {
    let (server, _extension) = start().await?;
    let jane = server.authority.issue("jane", &[])?;
    let get =
        |rest: &str| Request::builder().uri(path(rest)).header("host", "api.example").body(Bytes::new());
    let reply = server.send(Some(&jane), get("/namespaces/a/flunders/x")?).await?;
    assert_eq!(reply.code, 403);
    assert_eq!(reply.json()["reason"], "Forbidden");
    let reply = server.send(None, get("/flunders")?).await?;
    assert_eq!(reply.code, 401);
    // What it answers is its own to say.
    let reply = server.get(&path("/teapot")).await?;
    assert_eq!(reply.code, 418);
    // Discovery is open to everybody who is somebody.
    let reply = server.send(Some(&jane), get("")?).await?;
    assert_eq!((reply.code.as_u16(), &reply.json()["resources"][0]["name"]), (200, &json!("flunders")));
    Ok(())
}

#[tokio::test]
async fn clients_are_not_led_elsewhere() -> Result<()> {
    let (server, _extension) = start().await?;
    let reply = server.get(&path("/redirect")).await?;
    assert_eq!(reply.code, 502);
    assert!(!reply.headers.contains_key("location"));
    assert_eq!(reply.text(), "the backend attempted to redirect this request, which is not permitted");
    Ok(())
}

#[tokio::test]
async fn a_watch_comes_as_it_happens() -> Result<()> {
    let (server, _extension) = start().await?;
    let stream = TokioIo::new(server.connect(Some(&server.admin)).await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .uri(path("/watch?watch=true"))
        .header("host", "api.example")
        .body(Empty::<Bytes>::new())?;
    let mut body = sender.send_request(request).await?.into_body();
    let mut text = String::new();
    while text.lines().count() < 2 {
        let frame = body.frame().await.context("an event")??;
        text += std::str::from_utf8(frame.data_ref().context("data")?)?;
    }
    assert_eq!(text, "{\"type\":\"ADDED\",\"object\":1}\n{\"type\":\"ADDED\",\"object\":2}\n");
    connection.abort();
    Ok(())
}

#[tokio::test]
async fn connections_are_upgraded_through() -> Result<()> {
    let (server, _extension) = start().await?;
    let mut stream = server.connect(Some(&server.admin)).await?;
    let request = format!(
        "GET {} HTTP/1.1\r\nhost: api.example\r\nconnection: Upgrade\r\nupgrade: shout\r\nx-remote-user: root\r\n\r\n",
        path("/upgrade")
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head)?.to_lowercase();
    assert!(head.starts_with("http/1.1 101 ") && head.contains("upgrade: shout\r\n"), "{head}");
    let mut said = [0; 5];
    stream.read_exact(&mut said).await?;
    assert_eq!(&said, b"admin");
    stream.write_all(b"hello").await?;
    stream.read_exact(&mut said).await?;
    assert_eq!(&said, b"HELLO");
    Ok(())
}

#[tokio::test]
async fn who_it_is_must_be_proved() -> Result<()> {
    let server = TestServer::start().await?;
    let extension = Extension::start(&server, "api").await?;
    // The certificate is another Service's.
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "other"},
        "spec": {"type": "ExternalName", "externalName": "localhost"},
    });
    server.json(Method::POST, "/api/v1/namespaces/default/services", &service).await?;
    let port = extension.address.port();
    extension.register_as(&server, "other", port, json!({})).await?;
    reason(&server, "Passed").await?;
    let reply = server.get(&path("/flunders")).await?;
    assert_eq!(reply.code, 503, "{}", reply.text());
    assert!(reply.text().starts_with("error trying to reach service: "), "{}", reply.text());
    assert!(reply.text().contains("certificate"), "{}", reply.text());

    let own = "/apis/apiregistration.k8s.io/v1/apiservices/v1.wardle.example.com";
    let patch = json!({"spec": {"caBundle": null, "insecureSkipTLSVerify": true}}).to_string();
    let reply = server.request(Method::PATCH, own, "application/merge-patch+json", patch).await?;
    assert_eq!(reply.code, 200, "{}", reply.text());
    let reply = server.get(&path("/flunders")).await?;
    assert_eq!(reply.code, 200, "{}", reply.text());
    Ok(())
}
