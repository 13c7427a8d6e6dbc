//! Admission policies that change what is written.

mod reinvocation;

use anyhow::Result;
use gantry_api::features::FeatureGates;
use gantry_api::runtime_config::RuntimeConfig;
use gantry_json::{Value, json};
use gantry_testing::{Reply, TestServer};
use http::Method;

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1beta1";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

/// A server that knows these policies and carries them out.
async fn server() -> Result<TestServer> {
    let runtime_config = RuntimeConfig::parse(["admissionregistration.k8s.io/v1beta1=true"])?;
    let feature_gates = FeatureGates::parse(["MutatingAdmissionPolicy=true"])?;
    TestServer::with_config(|config| {
        config.runtime_config = runtime_config;
        config.feature_gates = feature_gates;
    })
    .await
}

/// A mutation that merges what an expression makes.
fn apply(text: &str) -> Value {
    json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": text}})
}

/// A mutation by the steps that an expression makes.
fn patch(text: &str) -> Value {
    json!({"patchType": "JSONPatch", "jsonPatch": {"expression": text}})
}

/// Writes a policy for `group` and `resource` with the rest of its spec, and a binding of it.
async fn policy(server: &TestServer, name: &str, (group, resource): (&str, &str), spec: Value) -> Result<()> {
    bound(server, name, (group, resource), spec, json!({})).await
}

/// As [`policy`], with the rest of the binding's spec.
async fn bound(
    server: &TestServer,
    name: &str,
    (group, resource): (&str, &str),
    spec: Value,
    binding: Value,
) -> Result<()> {
    let mut object = json!({"metadata": {"name": name}, "spec": {"reinvocationPolicy": "Never",
        "matchConstraints": {"resourceRules": [{"apiGroups": [group], "apiVersions": ["v1"],
            "operations": ["CREATE", "UPDATE"], "resources": [resource]}]}}});
    for (field, value) in spec.as_object().into_iter().flatten() {
        object["spec"][field] = value.clone();
    }
    let made = server.json(Method::POST, &format!("{GROUP}/mutatingadmissionpolicies"), &object).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    let mut object = json!({"metadata": {"name": format!("{name}-binding")}, "spec": {"policyName": name}});
    for (field, value) in binding.as_object().into_iter().flatten() {
        object["spec"][field] = value.clone();
    }
    let path = format!("{GROUP}/mutatingadmissionpolicybindings");
    let made = server.json(Method::POST, &path, &object).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    Ok(())
}

async fn create(server: &TestServer, name: &str, data: Value) -> Result<Reply> {
    server.json(Method::POST, MAPS, &json!({"metadata": {"name": name}, "data": data})).await
}

fn deployment(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
}

#[tokio::test]
async fn a_sidecar_and_a_label() -> Result<()> {
    let server = server().await?;
    let sidecar = "Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{
        containers: [Object.spec.template.spec.containers{name: 'side', image: variables.image}]}}}}";
    let label = "has(object.metadata.labels)
        ? [JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a.b/c'), value: 'x'}]
        : [JSONPatch{op: 'add', path: '/metadata/labels', value: {'a.b/c': 'x'}}]";
    let spec = json!({"mutations": [apply(sidecar), patch(label)],
        "variables": [{"name": "image", "expression": "'mesh:' + request.namespace"}]});
    policy(&server, "mesh", ("apps", "deployments"), spec).await?;
    let made = server.json(Method::POST, DEPLOYMENTS, &deployment("d")).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    let made = made.json();
    let containers = &made["spec"]["template"]["spec"]["containers"];
    let named = |at: usize| (&containers[at]["name"], &containers[at]["image"]);
    assert_eq!((named(0), named(1)), ((&json!("c"), &json!("i")), (&json!("side"), &json!("mesh:default"))));
    // What was added has its defaults too.
    assert_eq!(containers[1]["terminationMessagePolicy"], "File");
    assert_eq!(made["metadata"]["labels"], json!({"a.b/c": "x"}));
    // Nothing is changed where nothing is missing.
    let replaced = server.json(Method::PUT, &format!("{DEPLOYMENTS}/d"), &made).await?.json();
    assert_eq!(replaced["metadata"]["generation"], 1);
    let metrics = server.get("/metrics").await?.text();
    let counted = "apiserver_mutating_admission_policy_check_total{policy=\"mesh\",policy_binding=\"mesh-binding\",error_type=\"no_error\"} 4";
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
    Ok(())
}

#[tokio::test]
async fn only_with_the_feature() -> Result<()> {
    let runtime_config = RuntimeConfig::parse(["admissionregistration.k8s.io/v1beta1=true"])?;
    let server = TestServer::with_config(|config| config.runtime_config = runtime_config).await?;
    let spec = json!({"mutations": [apply("Object{data: {'k': 'changed'}}")]});
    policy(&server, "change", ("", "configmaps"), spec).await?;
    assert_eq!(create(&server, "m", json!({"k": "v"})).await?.json()["data"]["k"], "v");
    Ok(())
}

#[tokio::test]
async fn parameters_and_conditions() -> Result<()> {
    let server = server().await?;
    let value = json!({"metadata": {"name": "values"}, "data": {"tier": "gold"}});
    let namespace = "/api/v1/namespaces/kube-system/configmaps";
    assert_eq!(server.json(Method::POST, namespace, &value).await?.code, 201);
    let spec = json!({
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConditions": [{"name": "marked", "expression": "object.metadata.name.startsWith('m')"}],
        "mutations": [apply("Object{data: {'tier': params.data.tier}}")],
    });
    let reference = json!({"name": "values", "namespace": "kube-system", "parameterNotFoundAction": "Deny"});
    bound(&server, "tier", ("", "configmaps"), spec, json!({"paramRef": reference})).await?;
    let data = json!({"k": "v"});
    assert_eq!(create(&server, "m", data.clone()).await?.json()["data"], json!({"k": "v", "tier": "gold"}));
    assert_eq!(create(&server, "other", data.clone()).await?.json()["data"], data);
    let deleted = server.json(Method::DELETE, &format!("{namespace}/values"), &Value::Null).await?;
    assert_eq!(deleted.code, 200, "{}", deleted.text());
    let refused = create(&server, "m2", data).await?;
    let message = "policy 'tier' with binding 'tier-binding' denied request: failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction";
    let status = refused.json();
    assert_eq!(
        (refused.code.as_u16(), &status["reason"], &status["message"]),
        (403, &json!("Forbidden"), &json!(message))
    );
    Ok(())
}

#[tokio::test]
async fn failures_refuse_or_do_not() -> Result<()> {
    let server = server().await?;
    let spec = json!({"mutations": [apply("Object{data: {'first': 'done'}}"), apply("Object{data: {'copy': object.data.missing}}")]});
    policy(&server, "closed", ("", "configmaps"), spec).await?;
    let refused = create(&server, "m", json!({"k": "v"})).await?;
    let message = "policy 'closed' with binding 'closed-binding' denied request: expression 'Object{data: {'copy': object.data.missing}}' resulted in error: no such key: missing";
    let status = refused.json();
    assert_eq!(
        (refused.code.as_u16(), &status["reason"], &status["message"]),
        (403, &json!("Invalid"), &json!(message))
    );
    assert_eq!(status["details"]["causes"], json!([{"message": message}]));
    let open = json!({"spec": {"failurePolicy": "Ignore"}}).to_string();
    let path = format!("{GROUP}/mutatingadmissionpolicies/closed");
    let changed = server.request(Method::PATCH, &path, "application/merge-patch+json", open).await?;
    assert_eq!(changed.json()["metadata"]["generation"], 2, "{}", changed.text());
    // What worked stays.
    let made = create(&server, "m", json!({"k": "v"})).await?.json();
    assert_eq!(made["data"], json!({"k": "v", "first": "done"}));
    Ok(())
}

#[tokio::test]
async fn what_an_expression_may_not_change() -> Result<()> {
    let server = server().await?;
    let spec = json!({"mutations": [apply("Object{spec: Object.spec{selector: Object.spec.selector{matchLabels: {'x': 'y'}}}}")]});
    policy(&server, "atomic", ("apps", "deployments"), spec).await?;
    let refused = server.json(Method::POST, DEPLOYMENTS, &deployment("d")).await?.json();
    assert_eq!(
        refused["message"],
        "policy 'atomic' with binding 'atomic-binding' denied request: error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.selector"
    );
    // What comes of it is checked like anything else.
    let spec = json!({"mutations": [patch("[JSONPatch{op: 'add', path: '/data', value: {'a/b': 'c'}}]")]});
    policy(&server, "wrong", ("", "configmaps"), spec).await?;
    let refused = create(&server, "m", json!({})).await?;
    assert_eq!(refused.code, 422, "{}", refused.text());
    Ok(())
}
