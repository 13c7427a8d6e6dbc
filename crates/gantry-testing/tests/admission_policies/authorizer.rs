//! What expressions and plugins ask of authorization is asked of an authorization webhook too.

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use gantry_json::{Value, json};
use gantry_testing::{Answer, Authority, Pair, Reply, TestServer, WebhookServer};
use http::{Method, Request};

use crate::{MAPS, bind, policy, refused};

/// An authorization webhook: jane writes ConfigMaps and approves what is good, robots praise it, and nodes get
/// tokens for the vault.
fn decide(review: &Value) -> bool {
    let asked = &review["spec"]["resourceAttributes"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let [user, verb, resource, name] =
        [&review["spec"]["user"], &asked["verb"], &asked["resource"], &asked["name"]].map(text);
    match (user.as_str(), verb.as_str()) {
        ("jane", "create") => resource == "configmaps",
        ("jane", "approve") => name == "good",
        ("system:serviceaccount:shop:robot", "praise") => name == "good",
        ("system:node:n1", "request-serviceaccounts-token-audience") => resource == "vault",
        _ => false,
    }
}

/// A server that asks the webhook last, and the webhook.
async fn start() -> Result<(TestServer, WebhookServer)> {
    let answer =
        |_: &str, review: &Value| Answer::Json(json!({"status": {"allowed": decide(review), "reason": "r"}}));
    let webhook = WebhookServer::start(&Authority::new()?, &[], answer).await?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("webhook.yaml");
    let cluster =
        json!({"server": webhook.url("/"), "certificate-authority-data": STANDARD.encode(&webhook.ca)});
    std::fs::write(&file, json!({"clusters": [{"cluster": cluster}]}).to_string())?;
    let server = TestServer::with_config(|config| {
        config.authorization.modes = ["Node", "RBAC", "Webhook"].map(str::to_owned).into();
        config.authorization.webhook_config_file = Some(file);
    })
    .await?;
    Ok((server, webhook))
}

async fn post(server: &TestServer, pair: &Pair, path: &str, body: &Value) -> Result<Reply> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("host", "x")
        .header("content-type", "application/json")
        .body(Bytes::from(body.to_string()))?;
    server.send(Some(pair), request).await
}

/// The verbs that the webhook was asked about since the last time.
fn verbs(webhook: &WebhookServer) -> Vec<String> {
    let calls = webhook.calls().into_iter();
    calls
        .map(|(_, review)| review["spec"]["resourceAttributes"]["verb"].as_str().unwrap_or("").to_owned())
        .collect()
}

#[tokio::test]
async fn a_policy_asks_one_question_after_another() -> Result<()> {
    let (server, webhook) = start().await?;
    let idea = "authorizer.group('').resource('ideas').name(object.metadata.name)";
    let robot =
        "authorizer.serviceAccount('shop', 'robot').group('').resource('ideas').name(object.metadata.name)";
    let validations = json!([
        {"expression": format!("{idea}.check('approve').allowed() || {idea}.check('beg').allowed()")},
        {"expression": format!("{robot}.check('praise').reason() == 'r' && {robot}.check('praise').allowed()")},
    ]);
    policy(&server, "ideas", "", "configmaps", json!({"validations": validations})).await?;
    bind(&server, "ideas", json!({})).await?;
    let jane = server.authority.issue("jane", &[])?;
    let made = post(&server, &jane, MAPS, &json!({"metadata": {"name": "good"}})).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    assert_eq!(verbs(&webhook), ["create", "approve", "praise"]);
    let reply = post(&server, &jane, MAPS, &json!({"metadata": {"name": "bad"}})).await?;
    let message = format!(
        "configmaps \"bad\" is forbidden: ValidatingAdmissionPolicy 'ideas' with binding 'ideas-binding' denied \
         request: failed expression: {idea}.check('approve').allowed() || {idea}.check('beg').allowed()"
    );
    refused(&reply, 422, "Invalid", &message);
    assert_eq!(verbs(&webhook), ["approve", "beg", "praise"], "the right to create is remembered");
    Ok(())
}

#[tokio::test]
async fn a_webhooks_condition_asks() -> Result<()> {
    let (server, _authorization) = start().await?;
    let denying = |_: &str, review: &Value| {
        let uid = &review["request"]["uid"];
        Answer::Json(json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "response": {"uid": uid, "allowed": false, "status": {"message": "no"}}}))
    };
    let admission = WebhookServer::start(&Authority::new()?, &[], denying).await?;
    let condition = "!authorizer.requestResource.check('approve').allowed()";
    let configuration = json!({"metadata": {"name": "guard"}, "webhooks": [{
        "name": "guard.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": admission.url("/"), "caBundle": STANDARD.encode(&admission.ca)},
        "matchConditions": [{"name": "unless-approved", "expression": condition}],
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}],
    }]});
    let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    let made = server.json(Method::POST, path, &configuration).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    let jane = server.authority.issue("jane", &[])?;
    let made = post(&server, &jane, MAPS, &json!({"metadata": {"name": "good"}})).await?;
    assert_eq!((made.code.as_u16(), admission.calls().len()), (201, 0), "{}", made.text());
    let reply = post(&server, &jane, MAPS, &json!({"metadata": {"name": "bad"}})).await?;
    assert_eq!((reply.code.as_u16(), admission.calls().len()), (400, 1), "{}", reply.text());
    Ok(())
}

#[tokio::test]
async fn a_nodes_audience_is_asked_for() -> Result<()> {
    let (server, webhook) = start().await?;
    let pod = json!({"metadata": {"name": "web"}, "spec": {"nodeName": "n1",
        "containers": [{"name": "c", "image": "i"}]}});
    let account = json!({"metadata": {"name": "default"}});
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    server.json(Method::POST, accounts, &account).await?;
    let pod = server.json(Method::POST, "/api/v1/namespaces/default/pods", &pod).await?.json();
    let node = server.authority.issue("system:node:n1", &["system:nodes"])?;
    let ask = async |audience: &str| {
        let bound = json!({"kind": "Pod", "apiVersion": "v1", "name": "web", "uid": pod["metadata"]["uid"]});
        let request = json!({"spec": {"audiences": [audience], "boundObjectRef": bound}});
        post(&server, &node, &format!("{accounts}/default/token"), &request).await
    };
    let given = ask("vault").await?;
    assert_eq!(given.code, 201, "{}", given.text());
    assert_eq!(verbs(&webhook), ["request-serviceaccounts-token-audience"]);
    let refused = ask("other").await?;
    assert_eq!(refused.code, 403, "{}", refused.text());
    assert_eq!(verbs(&webhook), ["request-serviceaccounts-token-audience"]);
    Ok(())
}
