//! Admission webhooks, with a real one over HTTPS.

mod conversion;
mod failing;
mod mutating;
mod validating;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gantry_json::{Value, json};
use gantry_testing::{Answer, TestServer, WebhookServer};
use http::Method;

const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// What a webhook answers: a function of its path and the review's request, to the fields of the response.
fn review(path: &str, review: &Value, respond: impl Fn(&str, &Value) -> Value) -> Answer {
    let request = &review["request"];
    let mut response = respond(path.split('?').next().unwrap_or_default(), request);
    response["uid"] = request["uid"].clone();
    Answer::Json(json!({"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response}))
}

/// A webhook whose response is made by `respond` of the path and the review's request.
async fn webhook(
    server: &TestServer,
    respond: impl Fn(&str, &Value) -> Value + Send + Sync + 'static,
) -> Result<WebhookServer> {
    WebhookServer::start(&server.authority, &["hook.default.svc"], move |path, body| {
        review(path, body, &respond)
    })
    .await
}

/// A JSON patch as responses carry it.
fn patch(operations: &Value) -> Value {
    json!({"allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(operations.to_string())})
}

/// The entry of a configuration for ConfigMaps, changed by `change`.
fn entry(hook: &WebhookServer, name: &str, path: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut entry = json!({
        "name": format!("{name}.example.com"), "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": hook.url(path), "caBundle": STANDARD.encode(&hook.ca)},
        "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
    });
    change(&mut entry);
    entry
}

/// Writes a configuration of `kind`, `Mutating` or `Validating`.
async fn configure(server: &TestServer, kind: &str, name: &str, entries: Vec<Value>) -> Result<()> {
    let object = json!({"metadata": {"name": name}, "webhooks": entries});
    let path = format!("{CONFIGURATIONS}/{}webhookconfigurations", kind.to_lowercase());
    let reply = server.json(Method::POST, &path, &object).await?;
    assert_eq!(reply.code, 201, "{}", reply.text());
    Ok(())
}

/// Creates a ConfigMap with these data.
async fn create(server: &TestServer, name: &str, data: Value) -> Result<gantry_testing::Reply> {
    server.json(Method::POST, MAPS, &json!({"metadata": {"name": name}, "data": data})).await
}
