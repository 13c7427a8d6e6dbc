//! Admission policies: what does not hold is refused, told or noted.

mod authorizer;
mod params;
mod rights;
mod status;

use anyhow::Result;
use gantry_apiserver::audit::Settings;
use gantry_json::{Value, json};
use gantry_testing::{Reply, TestServer};
use http::Method;

const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

/// Writes a policy for `group` and `resource` with the rest of its spec.
async fn policy(server: &TestServer, name: &str, group: &str, resource: &str, spec: Value) -> Result<()> {
    let mut object = json!({"metadata": {"name": name}, "spec": {"matchConstraints": {"resourceRules": [{
        "apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE", "DELETE"],
        "resources": [resource]}]}}});
    for (field, value) in spec.as_object().into_iter().flatten() {
        object["spec"][field] = value.clone();
    }
    let made = server.json(Method::POST, POLICIES, &object).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    Ok(())
}

/// Binds a policy of the same name, with the rest of the binding's spec.
async fn bind(server: &TestServer, name: &str, spec: Value) -> Result<()> {
    let mut object = json!({"metadata": {"name": format!("{name}-binding")},
        "spec": {"policyName": name, "validationActions": ["Deny"]}});
    for (field, value) in spec.as_object().into_iter().flatten() {
        object["spec"][field] = value.clone();
    }
    let made = server.json(Method::POST, BINDINGS, &object).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    Ok(())
}

async fn create(server: &TestServer, name: &str, data: Value) -> Result<Reply> {
    server.json(Method::POST, MAPS, &json!({"metadata": {"name": name}, "data": data})).await
}

fn deployment(name: &str, replicas: u32) -> Value {
    json!({"metadata": {"name": name}, "spec": {"replicas": replicas, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
}

#[track_caller]
fn refused(reply: &Reply, code: u16, reason: &str, message: &str) {
    let status = reply.json();
    assert_eq!(
        (reply.code.as_u16(), status["reason"].as_str(), status["message"].as_str()),
        (code, Some(reason), Some(message))
    );
}

#[tokio::test]
async fn what_does_not_hold_is_refused() -> Result<()> {
    let server = TestServer::start().await?;
    let validations = json!([
        {"expression": "object.spec.replicas > 1", "messageExpression": "'wants more than ' + string(object.spec.replicas)"},
        {"expression": "variables.image != 'bad'", "message": "no such image", "reason": "Forbidden"},
    ]);
    let variables = json!([{"name": "first", "expression": "object.spec.template.spec.containers[0]"},
        {"name": "image", "expression": "variables.first.image"}]);
    let conditions = json!([{"name": "not-deleted", "expression": "request.operation != 'DELETE'"}]);
    let spec = json!({"validations": validations, "variables": variables, "matchConditions": conditions});
    policy(&server, "replicas", "apps", "deployments", spec).await?;
    assert_eq!(
        server.json(Method::POST, DEPLOYMENTS, &deployment("early", 1)).await?.code,
        201,
        "not yet bound"
    );
    bind(&server, "replicas", json!({})).await?;
    let reply = server.json(Method::POST, DEPLOYMENTS, &deployment("few", 1)).await?;
    let message = "deployments.apps \"few\" is forbidden: ValidatingAdmissionPolicy 'replicas' with binding 'replicas-binding' denied request: wants more than 1";
    refused(&reply, 422, "Invalid", message);
    assert_eq!(reply.json()["details"]["causes"][0]["message"], json!(message.split_once(": ").unwrap().1));
    assert_eq!(server.json(Method::POST, DEPLOYMENTS, &deployment("many", 2)).await?.code, 201);
    let mut bad = deployment("bad", 2);
    bad["spec"]["template"]["spec"]["containers"][0]["image"] = "bad".into();
    let reply = server.json(Method::POST, DEPLOYMENTS, &bad).await?;
    let message = "deployments.apps \"bad\" is forbidden: ValidatingAdmissionPolicy 'replicas' with binding 'replicas-binding' denied request: no such image";
    refused(&reply, 403, "Forbidden", message);
    assert_eq!(server.json(Method::DELETE, &format!("{DEPLOYMENTS}/early"), &Value::Null).await?.code, 200);
    let metrics = server.get("/metrics").await?.text();
    let counted = "apiserver_validating_admission_policy_check_total{policy=\"replicas\",policy_binding=\"replicas-binding\",error_type=\"no_error\",enforcement_action=\"deny\"} 2";
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
    Ok(())
}

#[tokio::test]
async fn the_request_its_user_and_its_namespace() -> Result<()> {
    let server = TestServer::start().await?;
    let validations = json!([
        {"expression": "request.userInfo.username == 'admin' && 'system:masters' in request.userInfo.groups"},
        {"expression": "namespaceObject.metadata.name == 'default' && request.namespace == 'default'"},
        {"expression": "authorizer.group('').resource('configmaps').namespace('default').check('create').allowed()"},
        {"expression": "authorizer.requestResource.check('get').allowed()"},
        {"expression": "oldObject == null || oldObject.data.k == object.data.k", "reason": "Invalid"},
        {"expression": "request.kind.kind == 'ConfigMap' && !has(request.subResource) && request.dryRun == false"},
    ]);
    policy(&server, "facts", "", "configmaps", json!({"validations": validations})).await?;
    bind(
        &server,
        "facts",
        json!({"matchResources": {"namespaceSelector": {"matchLabels": {
        "kubernetes.io/metadata.name": "default"}}}}),
    )
    .await?;
    let made = create(&server, "m", json!({"k": "v"})).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    let patch = json!({"data": {"k": "w"}}).to_string();
    let reply =
        server.request(Method::PATCH, &format!("{MAPS}/m"), "application/merge-patch+json", patch).await?;
    let message = "configmaps \"m\" is forbidden: ValidatingAdmissionPolicy 'facts' with binding 'facts-binding' denied request: failed expression: oldObject == null || oldObject.data.k == object.data.k";
    refused(&reply, 422, "Invalid", message);
    // Another namespace is not selected.
    let elsewhere = "/api/v1/namespaces/kube-system/configmaps";
    let made = server.json(Method::POST, elsewhere, &json!({"metadata": {"name": "m"}})).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    Ok(())
}

#[tokio::test]
async fn failures_refuse_or_do_not() -> Result<()> {
    let server = TestServer::start().await?;
    let validations = json!([{"expression": "object.data.missing == 'x'"}]);
    policy(&server, "closed", "", "configmaps", json!({"validations": validations})).await?;
    bind(&server, "closed", json!({})).await?;
    let reply = create(&server, "m", json!({"k": "v"})).await?;
    let message = "configmaps \"m\" is forbidden: ValidatingAdmissionPolicy 'closed' with binding 'closed-binding' denied request: expression 'object.data.missing == 'x'' resulted in error: no such key: missing";
    refused(&reply, 422, "Invalid", message);
    let open = json!({"spec": {"failurePolicy": "Ignore"}}).to_string();
    let path = format!("{POLICIES}/closed");
    server.request(Method::PATCH, &path, "application/merge-patch+json", open).await?;
    assert_eq!(create(&server, "m", json!({"k": "v"})).await?.code, 201);
    Ok(())
}

#[tokio::test]
async fn warnings_and_audit() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let log = directory.path().join("audit.log");
    let rules = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: Metadata, resources: [{resources: [configmaps]}]}]";
    let settings = Settings::to_file(rules.to_owned(), log.clone());
    let mut server = TestServer::with_config(|config| config.audit = Some(settings)).await?;
    let validations = json!([{"expression": "has(object.data.good)", "message": "not good"}]);
    let annotations = json!([{"key": "size", "valueExpression": "'has ' + string(size(object.data))"},
        {"key": "nothing", "valueExpression": "null"}]);
    policy(
        &server,
        "telling",
        "",
        "configmaps",
        json!({"validations": validations, "auditAnnotations": annotations}),
    )
    .await?;
    bind(&server, "telling", json!({"validationActions": ["Warn", "Audit"]})).await?;
    let made = create(&server, "m", json!({"k": "v"})).await?;
    assert_eq!(made.code, 201);
    let warning = "299 - \"Validation failed for ValidatingAdmissionPolicy 'telling' with binding 'telling-binding': not good\"";
    assert_eq!(made.headers["warning"], warning);
    // Nobody waits for the last event of a request.
    server.stop();
    server.stopped().await?;
    let events = std::fs::read_to_string(&log)?;
    let last = events.lines().rev().map(gantry_json::from_str).find(|event: &Result<Value, _>| {
        event.as_ref().is_ok_and(|event| event["objectRef"]["resource"] == "configmaps")
    });
    let annotations = last.unwrap()?["annotations"].clone();
    assert_eq!(annotations["telling/size"], "has 1");
    assert_eq!(annotations["telling/nothing"], Value::Null);
    let failure: Value = gantry_json::from_str(
        annotations["validation.policy.admission.k8s.io/validation_failure"].as_str().unwrap(),
    )?;
    assert_eq!(
        failure,
        json!([{"message": "not good", "policy": "telling", "binding": "telling-binding",
        "expressionIndex": 0, "validationActions": ["Warn", "Audit"]}])
    );
    Ok(())
}

#[tokio::test]
async fn policies_cannot_prevent_policies() -> Result<()> {
    let server = TestServer::start().await?;
    let spec = json!({"validations": [{"expression": "false"}]});
    policy(&server, "nothing", "*", "*", spec).await?;
    bind(&server, "nothing", json!({})).await?;
    assert_eq!(create(&server, "m", json!({})).await?.code, 422);
    assert_eq!(
        server.json(Method::DELETE, &format!("{BINDINGS}/nothing-binding"), &Value::Null).await?.code,
        200
    );
    assert_eq!(create(&server, "m", json!({})).await?.code, 201);
    Ok(())
}
