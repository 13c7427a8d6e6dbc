//! Policies that want to see what others change after them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gantry_testing::{Answer, WebhookServer};

use super::*;

/// Notes in the ConfigMap how many entries the policy found.
const COUNTS: &str = "Object{data: {'seen': string(size(object.data))}}";

#[tokio::test]
async fn a_later_policy_changes_what_an_earlier_one_saw() -> Result<()> {
    for (reinvocation, seen) in [("Never", "1"), ("IfNeeded", "3")] {
        let server = server().await?;
        let spec = json!({"mutations": [apply(COUNTS)], "reinvocationPolicy": reinvocation});
        policy(&server, "a-counts", ("", "configmaps"), spec).await?;
        let spec = json!({"mutations": [apply("Object{data: {'later': 'x'}}")]});
        policy(&server, "b-adds", ("", "configmaps"), spec).await?;
        let made = create(&server, "m", json!({"k": "v"})).await?.json();
        assert_eq!(made["data"], json!({"k": "v", "later": "x", "seen": seen}), "{reinvocation}");
    }
    Ok(())
}

#[tokio::test]
async fn a_webhook_changes_what_a_policy_saw() -> Result<()> {
    let server = server().await?;
    let hook = WebhookServer::start(&server.authority, &[], |_, review| {
        let operations = json!([{"op": "add", "path": "/data/hooked", "value": "yes"}]);
        Answer::Json(json!({"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": {
            "uid": review["request"]["uid"], "allowed": true, "patchType": "JSONPatch",
            "patch": STANDARD.encode(operations.to_string())}}))
    })
    .await?;
    let configuration = json!({"metadata": {"name": "hook"}, "webhooks": [{
        "name": "hook.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": hook.url("/"), "caBundle": STANDARD.encode(&hook.ca)},
        "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"],
            "resources": ["configmaps"]}]}]});
    let path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
    assert_eq!(server.json(Method::POST, path, &configuration).await?.code, 201);
    let spec = json!({"mutations": [apply(COUNTS)], "reinvocationPolicy": "IfNeeded"});
    policy(&server, "counts", ("", "configmaps"), spec).await?;
    let made = create(&server, "m", json!({"k": "v"})).await?.json();
    // The policy is first: it sees one entry, and three once the webhook has added its own.
    assert_eq!(made["data"], json!({"k": "v", "hooked": "yes", "seen": "3"}));
    assert_eq!(hook.calls().len(), 1, "the webhook does not ask to be called again");
    Ok(())
}
