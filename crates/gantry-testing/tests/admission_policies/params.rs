//! Parameters of policies.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::await_condition;

use super::*;

const BY: &str = "configmaps \"m\" is forbidden: ValidatingAdmissionPolicy 'limit' with binding 'limit-binding' denied request: ";

async fn limited(reference: Value) -> Result<TestServer> {
    let server = TestServer::start().await?;
    let spec = json!({
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConditions": [{"name": "no-params", "expression": "!has(object.metadata.labels)"}],
        "validations": [{"expression": "size(object.data) <= int(params.data.most)",
            "messageExpression": "'at most ' + params.data.most"}],
    });
    for (name, most) in [("two", "2"), ("one", "1")] {
        let object = json!({"metadata": {"name": name, "labels": {"limit": "yes"}}, "data": {"most": most}});
        assert_eq!(server.json(Method::POST, MAPS, &object).await?.code, 201);
    }
    policy(&server, "limit", "", "configmaps", spec).await?;
    bind(&server, "limit", json!({"paramRef": reference})).await?;
    Ok(server)
}

#[tokio::test]
async fn by_name_and_by_selector() -> Result<()> {
    let data = json!({"a": "", "b": ""});
    let server =
        limited(json!({"name": "two", "namespace": "default", "parameterNotFoundAction": "Deny"})).await?;
    let made = create(&server, "m", data.clone()).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    // Every selected one has to be met. The namespace is the object's where none is named.
    let selector = json!({"matchLabels": {"limit": "yes"}});
    let server = limited(json!({"selector": selector, "parameterNotFoundAction": "Deny"})).await?;
    refused(&create(&server, "m", data).await?, 422, "Invalid", &format!("{BY}at most 1"));
    assert_eq!(create(&server, "m", json!({"a": ""})).await?.code, 201);
    Ok(())
}

#[tokio::test]
async fn parameters_that_are_not_there() -> Result<()> {
    let server = limited(json!({"name": "none", "parameterNotFoundAction": "Deny"})).await?;
    let why =
        "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction";
    refused(&create(&server, "m", json!({})).await?, 422, "Invalid", &format!("{BY}{why}"));
    let server = limited(json!({"name": "none", "parameterNotFoundAction": "Allow"})).await?;
    assert_eq!(create(&server, "m", json!({})).await?.code, 201);
    Ok(())
}

#[tokio::test]
async fn a_kind_that_is_not_there() -> Result<()> {
    let server = TestServer::start().await?;
    let spec = json!({"paramKind": {"apiVersion": "rules.example.com/v1", "kind": "ReplicaLimit"},
        "validations": [{"expression": "true"}]});
    policy(&server, "limit", "", "configmaps", spec).await?;
    bind(&server, "limit", json!({"paramRef": {"name": "x", "parameterNotFoundAction": "Allow"}})).await?;
    let message = "configmaps \"m\" is forbidden: ValidatingAdmissionPolicy 'limit' denied request: failed to configure policy: failed to find resource referenced by paramKind: 'rules.example.com/v1, Kind=ReplicaLimit'";
    refused(&create(&server, "m", json!({})).await?, 422, "Invalid", message);
    Ok(())
}

#[tokio::test]
async fn parameters_of_a_custom_kind() -> Result<()> {
    let server = TestServer::start().await?;
    let schema = json!({"type": "object", "properties": {"most": {"type": "integer"}}});
    let version = |name: &str| json!({"name": name, "served": true, "storage": name == "v1", "schema": {"openAPIV3Schema": schema}});
    let definition = json!({"metadata": {"name": "limits.rules.example.com"}, "spec": {
        "group": "rules.example.com", "scope": "Cluster", "names": {"plural": "limits", "kind": "Limit"},
        "versions": [version("v1"), version("v2")]}});
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    assert_eq!(server.json(Method::POST, path, &definition).await?.code, 201);
    let definitions: Api<CustomResourceDefinition> = Api::all(server.client());
    await_condition(definitions, "limits.rules.example.com", is_crd_established()).await?;
    let limit =
        json!({"apiVersion": "rules.example.com/v1", "kind": "Limit", "metadata": {"name": "l"}, "most": 1});
    let made = server.json(Method::POST, "/apis/rules.example.com/v1/limits", &limit).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    // They are shown in the version that is asked for, whatever they are stored in.
    let spec = json!({"paramKind": {"apiVersion": "rules.example.com/v2", "kind": "Limit"}, "validations": [
        {"expression": "size(object.data) <= params.most", "message": "too much"},
        {"expression": "params.apiVersion == 'rules.example.com/v2'"}]});
    policy(&server, "limit", "", "configmaps", spec).await?;
    bind(&server, "limit", json!({"paramRef": {"name": "l", "parameterNotFoundAction": "Deny"}})).await?;
    assert_eq!(create(&server, "m", json!({"a": ""})).await?.code, 201);
    let reply = create(&server, "m", json!({"a": "", "b": ""})).await?;
    refused(&reply, 422, "Invalid", &format!("{BY}too much"));
    Ok(())
}
