//! Front proxies: who shows their certificate says in headers who asks, and nobody else does.

use anyhow::Result;
use bytes::Bytes;
use gantry_json::json;
use gantry_testing::{Pair, Reply, TestServer};
use http::{Method, Request};

async fn who(server: &TestServer, pair: &Pair, headers: &[(&str, &str)]) -> Result<Reply> {
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let mut request = Request::builder()
        .method(Method::POST)
        .uri("/apis/authentication.k8s.io/v1/selfsubjectreviews")
        .header("host", "api.example")
        .header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.send(Some(pair), request.body(Bytes::from(review.to_string()))?).await
}

#[tokio::test]
async fn a_front_proxy_says_who_asks() -> Result<()> {
    let server = TestServer::start().await?;
    let proxy = server.front_proxy.issue("front-proxy-client", &["system:masters"])?;
    let headers = [
        ("x-remote-user", "jane"),
        ("x-remote-uid", "42"),
        ("x-remote-group", "dev"),
        ("x-remote-group", "ops"),
        ("x-remote-extra-acme.com%2fproject", "some"),
    ];
    let reply = who(&server, &proxy, &headers).await?;
    assert_eq!(reply.code, 201, "{}", reply.text());
    assert_eq!(
        reply.json()["status"]["userInfo"],
        json!({"username": "jane", "uid": "42", "groups": ["dev", "ops", "system:authenticated"],
            "extra": {"acme.com/project": ["some"]}})
    );

    // Its own certificate stands for nobody.
    assert_eq!(who(&server, &proxy, &[]).await?.code, 401);
    // Another name is not allowed.
    let other = server.front_proxy.issue("other", &["system:masters"])?;
    assert_eq!(who(&server, &other, &headers).await?.code, 401);
    // A client is itself, whatever it says.
    let bob = server.authority.issue("bob", &[])?;
    let reply = who(&server, &bob, &headers).await?;
    assert_eq!(reply.json()["status"]["userInfo"]["username"], "bob", "{}", reply.text());
    Ok(())
}
