//! AuthenticationConfiguration and AuthorizationConfiguration: expressions, conditions, and changes while the
//! server runs.

use std::path::PathBuf;

use anyhow::Result;
use gantry_json::{Value, json};
use gantry_testing::{Authority, TestServer};
use http::Method;

use crate::support::{Key, Remote, claims, provider, send, who};

/// Writes a configuration, at once as a whole.
fn write(file: &PathBuf, kind: &str, fields: Value) -> Result<()> {
    let mut text = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": kind});
    for (name, value) in fields.as_object().cloned().unwrap_or_default() {
        text[name] = value;
    }
    let next = file.with_extension("next");
    std::fs::write(&next, text.to_string())?;
    Ok(std::fs::rename(next, file)?)
}

/// Waits for a counter in the metrics: the server tells when it has taken over a file.
async fn reloaded(server: &TestServer, part: &str, status: &str, times: u32) -> Result<()> {
    let line =
        format!("apiserver_{part}_config_controller_automatic_reloads_total{{status=\"{status}\"}} {times}");
    let there = async {
        while !server.get("/metrics").await?.text().contains(&line) {
            tokio::task::yield_now().await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), there).await?
}

#[tokio::test]
async fn expressions_map_claims() -> Result<()> {
    let authority = Authority::new()?;
    let (key, other) = (Key::new("one")?, Key::new("two")?);
    let (first, second) = (
        Remote::start(&authority, Box::new(|_, _| (404, Value::Null))).await?,
        Remote::start(&authority, Box::new(|_, _| (404, Value::Null))).await?,
    );
    first.answers(provider(first.url.clone(), &[&key]));
    second.answers(provider(second.url.clone(), &[&other]));
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("authentication.yaml");
    let issuer = |url: &str| {
        json!({"url": url, "audiences": ["kubernetes", "more"], "audienceMatchPolicy": "MatchAny",
               "certificateAuthority": authority.certificate()})
    };
    let mapped = json!({
        "issuer": issuer(&first.url),
        "claimValidationRules": [
            {"expression": "claims.level >= 3", "message": "the level is too low"}],
        "claimMappings": {
            "username": {"expression": "'x:' + claims.sub"},
            "groups": {"expression": "claims.roles.map(r, 'r:' + r)"},
            "uid": {"claim": "id"},
            "extra": [{"key": "example.com/team", "valueExpression": "claims.?team.orValue('')"}]},
        "userValidationRules": [
            {"expression": "!user.username.startsWith('x:system:')", "message": "reserved"}]});
    let plain = json!({
        "issuer": issuer(&second.url), "claimMappings": {"username": {"claim": "sub", "prefix": "second:"}}});
    write(
        &file,
        "AuthenticationConfiguration",
        json!({
        "jwt": [mapped, plain], "anonymous": {"enabled": true, "conditions": [{"path": "/version"}]}}),
    )?;
    let path = file.clone();
    let server =
        TestServer::with_config(|config| config.authentication.configuration_file = Some(path)).await?;
    let token = |more: Value| {
        let mut with = json!({"level": 3, "roles": ["a"], "id": "17", "team": "red"});
        for (field, value) in more.as_object().cloned().unwrap_or_default() {
            with[field] = value;
        }
        key.token(&claims(&first.url, with))
    };
    let jane = json!({
        "username": "x:jane", "uid": "17", "groups": ["r:a", "system:authenticated"],
        "extra": {"example.com/team": ["red"]}});
    assert_eq!(who(&server, &token(json!({}))).await?, Ok(jane));
    assert_eq!(who(&server, &token(json!({"level": 2}))).await?, Err(401));
    assert_eq!(who(&server, &token(json!({"sub": "system:admin"}))).await?, Err(401));
    assert_eq!(who(&server, &token(json!({"roles": "none"}))).await?, Err(401));
    let second_token = other.token(&claims(&second.url, json!({})));
    assert_eq!(
        who(&server, &second_token).await?.map(|user| user["username"].clone()),
        Ok(json!("second:jane"))
    );
    let open = async |path: &str| {
        anyhow::Ok(send(&server, Method::GET, path, "", &Value::Null).await?.code.as_u16())
    };
    assert_eq!((open("/version").await?, open("/livez").await?), (200, 401));
    // What is wrong changes nothing; what is right counts from then on.
    write(&file, "AuthenticationConfiguration", json!({"jwt": [{"issuer": {"url": "http://no"}}]}))?;
    reloaded(&server, "authentication", "failure", 1).await?;
    assert!(who(&server, &second_token).await?.is_ok());
    write(&file, "AuthenticationConfiguration", json!({"jwt": [mapped], "anonymous": {"enabled": false}}))?;
    reloaded(&server, "authentication", "success", 1).await?;
    assert_eq!(who(&server, &second_token).await?, Err(401));
    assert!(who(&server, &token(json!({}))).await?.is_ok());
    assert_eq!(open("/version").await?, 401);
    Ok(())
}

#[tokio::test]
async fn authorizers_in_order_with_conditions() -> Result<()> {
    let authority = Authority::new()?;
    let remote = Remote::start(
        &authority,
        Box::new(|_, review| {
            let denied = review["spec"]["resourceAttributes"]["resource"] == "secrets";
            let allowed = !denied && review["spec"]["user"] == "eve";
            (200, json!({"status": {"allowed": allowed, "denied": denied, "reason": "so says the webhook"}}))
        }),
    )
    .await?;
    let directory = tempfile::tempdir()?;
    let (file, webhook) =
        (directory.path().join("authorization.yaml"), directory.path().join("webhook.yaml"));
    remote.kubeconfig(&authority, &webhook)?;
    let configuration = |policy: &str| {
        json!({"authorizers": [
            {"type": "Webhook", "name": "policy", "webhook": {
                "timeout": "3s", "subjectAccessReviewVersion": "v1", "failurePolicy": policy,
                "matchConditionSubjectAccessReviewVersion": "v1",
                "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": webhook},
                "matchConditions": [
                    {"expression": "has(request.resourceAttributes)"},
                    {"expression": "request.resourceAttributes.namespace == 'shop'"}]}},
            {"type": "Node", "name": "node"}, {"type": "RBAC", "name": "rbac"}]})
    };
    write(&file, "AuthorizationConfiguration", configuration("NoOpinion"))?;
    let path = file.clone();
    let server =
        TestServer::with_config(|config| config.authorization.configuration_file = Some(path)).await?;
    let (eve, joe) = (server.authority.issue("eve", &[])?, server.authority.issue("joe", &[])?);
    let list = async |pair, path: &str| {
        let request = http::Request::builder().uri(path).header("host", "x").body(bytes::Bytes::new())?;
        let reply = server.send(Some(pair), request).await?;
        anyhow::Ok((reply.code.as_u16(), reply.json()["message"].as_str().unwrap_or_default().to_owned()))
    };
    let shop = |resource: &str| format!("/api/v1/namespaces/shop/{resource}");
    assert_eq!(list(&eve, &shop("pods")).await?.0, 200);
    let (code, message) = list(&eve, &shop("secrets")).await?;
    assert_eq!(code, 403);
    assert!(message.ends_with("in the namespace \"shop\": so says the webhook"), "{message}");
    let count = remote.count();
    assert_eq!(list(&eve, &shop("pods")).await?.0, 200);
    assert_eq!(list(&eve, "/api/v1/namespaces/default/pods").await?.0, 403);
    assert_eq!(remote.count(), count, "remembered, and not asked where the conditions do not hold");
    // What a user may do cannot be told when a webhook decides.
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": "shop"}});
    let rules =
        server.json(Method::POST, "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", &review).await?;
    assert_eq!(rules.json()["status"]["incomplete"], true);
    let why = "webhook authorizer does not support user rule resolution";
    assert_eq!(rules.json()["status"]["evaluationError"], why);
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
        "user": "joe", "resourceAttributes": {"namespace": "shop", "verb": "get", "resource": "secrets"}}});
    let status =
        server.json(Method::POST, "/apis/authorization.k8s.io/v1/subjectaccessreviews", &review).await?;
    let expect = json!({"allowed": false, "denied": true, "reason": "so says the webhook"});
    assert_eq!(status.json()["status"], expect);
    // Without an answer the failure is told, and the policy decides whether others are asked.
    remote.answers(Box::new(|_, _| (400, Value::Null)));
    let (code, message) = list(&joe, &shop("configmaps")).await?;
    assert_eq!(code, 500, "{message}");
    assert!(message.contains("the server answered 400"), "{message}");
    write(&file, "AuthorizationConfiguration", json!({"authorizers": [{"type": "RBAC", "name": "rbac"}]}))?;
    reloaded(&server, "authorization", "success", 1).await?;
    assert_eq!(list(&joe, &shop("configmaps")).await?.0, 403);
    assert_eq!(list(&eve, &shop("pods")).await?.0, 403);
    let metrics = server.get("/metrics").await?.text();
    for line in [
        "apiserver_authorization_decisions_total{type=\"Webhook\",name=\"policy\",decision=\"denied\"}",
        "apiserver_authorization_webhook_evaluations_total{name=\"policy\",result=\"success\"}",
        "apiserver_authorization_webhook_evaluations_fail_open_total{name=\"policy\",result=\"error\"}",
        "apiserver_authorization_match_condition_exclusions_total{type=\"Webhook\",name=\"policy\"}",
    ] {
        assert!(metrics.contains(line), "{line}");
    }
    Ok(())
}
