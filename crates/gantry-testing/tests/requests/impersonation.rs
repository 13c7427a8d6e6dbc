//! Acting as somebody else: whoever may, and as whom.

use anyhow::Result;
use bytes::Bytes;
use gantry_json::{Value, json};
use gantry_testing::{Pair, Reply, TestServer};
use http::{Method, Request};

const REVIEWS: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

async fn ask(server: &TestServer, pair: &Pair, headers: &[(&str, &str)]) -> Result<Reply> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(REVIEWS)
        .header("host", "x")
        .header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}).to_string();
    server.send(Some(pair), request.body(Bytes::from(body))?).await
}

/// Gives `user` a right on the whole cluster.
async fn grant(server: &TestServer, user: &str, rule: Value) -> Result<()> {
    let api = "/apis/rbac.authorization.k8s.io/v1";
    let name = format!("{user}-{}", rule["resources"][0].as_str().unwrap_or_default().replace('/', "-"));
    let role = json!({"metadata": {"name": name}, "rules": [rule]});
    let binding = json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]});
    for (path, object) in [("clusterroles", role), ("clusterrolebindings", binding)] {
        let made = server.json(Method::POST, &format!("{api}/{path}"), &object).await?;
        assert_eq!(made.code, 201, "{}", made.text());
    }
    Ok(())
}

#[tokio::test]
async fn an_administrator_may_be_anybody() -> Result<()> {
    let server = TestServer::start().await?;
    let check = async |headers: &[(&str, &str)], expect: Value| -> Result<()> {
        let reply = ask(&server, &server.admin, headers).await?;
        assert_eq!(reply.code, 201, "{}", reply.text());
        assert_eq!(reply.json()["status"]["userInfo"], expect);
        Ok(())
    };
    let jane = json!({"username": "jane", "groups": ["system:authenticated"]});
    check(&[("impersonate-user", "jane")], jane).await?;
    let whole = [
        ("impersonate-user", "jane"),
        ("impersonate-group", "dev"),
        ("impersonate-group", "ops"),
        ("impersonate-uid", "17"),
        ("impersonate-extra-scopes", "read"),
        ("impersonate-extra-scopes", "write"),
        ("impersonate-extra-example.com%2fproject", "one"),
    ];
    let expect = json!({
        "username": "jane", "uid": "17", "groups": ["dev", "ops", "system:authenticated"],
        "extra": {"scopes": ["read", "write"], "example.com/project": ["one"]}});
    check(&whole, expect).await?;
    let account = json!({"username": "system:serviceaccount:shop:cart",
        "groups": ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"]});
    check(&[("impersonate-user", "system:serviceaccount:shop:cart")], account).await?;
    let nobody = json!({"username": "system:anonymous", "groups": ["system:unauthenticated"]});
    let reply = ask(&server, &server.admin, &[("impersonate-user", "system:anonymous")]).await?;
    // Who is nobody may not even ask who it is.
    assert_eq!(reply.code, 403, "{nobody}");
    for alone in [("impersonate-group", "dev"), ("impersonate-uid", "17"), ("impersonate-extra-a", "b")] {
        let reply = ask(&server, &server.admin, &[alone]).await?;
        assert_eq!(reply.code, 500, "{}", reply.text());
        assert!(reply.text().contains("without impersonating a user"), "{}", reply.text());
    }
    Ok(())
}

#[tokio::test]
async fn each_part_is_a_right_of_its_own() -> Result<()> {
    let server = TestServer::start().await?;
    let eve = server.authority.issue("eve", &[])?;
    let check = async |headers: &[(&str, &str)], expect: &str| -> Result<()> {
        let reply = ask(&server, &eve, headers).await?;
        let answer = reply.json();
        let got = answer["message"].as_str().unwrap_or_default();
        assert_eq!(got, expect, "{headers:?}: {answer}");
        Ok(())
    };
    let user = ("impersonate-user", "jane");
    check(&[user], "users \"jane\" is forbidden: User \"eve\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope").await?;
    let rule = |group: &str, resource: &str, names: Value| json!({"apiGroups": [group], "resources": [resource], "verbs": ["impersonate"], "resourceNames": names});
    grant(&server, "eve", rule("", "users", json!(["jane"]))).await?;
    check(&[user], "").await?;
    check(&[("impersonate-user", "admin")], "users \"admin\" is forbidden: User \"eve\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope").await?;
    check(&[user, ("impersonate-group", "dev")], "groups \"dev\" is forbidden: User \"eve\" cannot impersonate resource \"groups\" in API group \"\" at the cluster scope").await?;
    grant(&server, "eve", rule("", "groups", json!(["dev"]))).await?;
    check(&[user, ("impersonate-group", "dev")], "").await?;
    check(&[user, ("impersonate-uid", "17")], "uids.authentication.k8s.io \"17\" is forbidden: User \"eve\" cannot impersonate resource \"uids\" in API group \"authentication.k8s.io\" at the cluster scope").await?;
    grant(&server, "eve", rule("authentication.k8s.io", "uids", json!(["17"]))).await?;
    check(&[user, ("impersonate-uid", "17")], "").await?;
    let extra = ("impersonate-extra-scopes", "read");
    check(&[user, extra], "userextras.authentication.k8s.io \"read\" is forbidden: User \"eve\" cannot impersonate resource \"userextras/scopes\" in API group \"authentication.k8s.io\" at the cluster scope").await?;
    grant(&server, "eve", rule("authentication.k8s.io", "userextras/scopes", json!(["read"]))).await?;
    check(&[user, extra], "").await?;
    let account = ("impersonate-user", "system:serviceaccount:shop:cart");
    check(&[account], "serviceaccounts \"cart\" is forbidden: User \"eve\" cannot impersonate resource \"serviceaccounts\" in API group \"\" in the namespace \"shop\"").await?;
    Ok(())
}

#[tokio::test]
async fn rights_are_those_of_whom_one_acts_as() -> Result<()> {
    let server = TestServer::start().await?;
    let request = Request::builder()
        .uri("/api/v1/namespaces/default/secrets")
        .header("host", "x")
        .header("impersonate-user", "jane")
        .body(Bytes::new())?;
    let reply = server.send(Some(&server.admin), request).await?;
    assert_eq!(reply.code, 403);
    let expect = "secrets is forbidden: User \"jane\" cannot list resource \"secrets\" in API group \"\" in the \
                  namespace \"default\"";
    assert_eq!(reply.json()["message"], expect);
    Ok(())
}
