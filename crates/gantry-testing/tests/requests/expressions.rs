//! Expressions in stored objects: what is wrong with them is said when they are written.

use anyhow::Result;
use gantry_json::{Value, json};
use gantry_testing::TestServer;
use http::Method;

/// The causes that a write is refused for, as fields and messages.
async fn refused(
    server: &TestServer,
    method: Method,
    path: &str,
    object: &Value,
) -> Result<Vec<(String, String)>> {
    let form = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
    let reply = server.request(method, path, form, object.to_string()).await?;
    let status = reply.json();
    assert_eq!((reply.code.as_u16(), &status["reason"]), (422, &json!("Invalid")), "{status}");
    let causes = status["details"]["causes"].as_array().cloned().unwrap_or_default();
    let word = |cause: &Value, key: &str| cause[key].as_str().unwrap_or_default().to_owned();
    Ok(causes.iter().map(|cause| (word(cause, "field"), word(cause, "message"))).collect())
}

fn definition(rule: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {
                    "type": "object", "properties": {"size": {"type": "integer"}},
                    "x-kubernetes-validations": [{"rule": rule}],
                }},
            }}}],
        },
    })
}

#[tokio::test]
async fn rules_of_definitions() -> Result<()> {
    let server = TestServer::start().await?;
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let causes = refused(&server, Method::POST, path, &definition("self.foo > 1")).await?;
    let at = "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule";
    assert_eq!(causes[0].0, at);
    assert!(
        causes[0].1.contains("compilation failed: ERROR: <input>:1:5: undefined field 'foo'"),
        "{causes:?}"
    );
    let causes = refused(&server, Method::POST, path, &definition("self.size + 1")).await?;
    assert!(causes[0].1.ends_with("cel expression must evaluate to a bool"), "{causes:?}");
    let fine = definition("self.size > 1");
    let created = server.request(Method::POST, path, "application/json", fine.to_string()).await?;
    assert_eq!(created.code, 201);
    // What was fine is checked again when it changes.
    let changed = json!({"spec": {"versions": definition("self.size > '1'")["spec"]["versions"]}});
    let causes = refused(&server, Method::PATCH, &format!("{path}/things.example.com"), &changed).await?;
    assert!(
        causes[0].1.contains("found no matching overload for '_>_' applied to '(int, string)'"),
        "{causes:?}"
    );
    Ok(())
}

#[tokio::test]
async fn conditions_policies_and_selectors() -> Result<()> {
    let server = TestServer::start().await?;
    let webhook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "a"},
        "webhooks": [{
            "name": "a.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": "https://127.0.0.1:1/"},
            "matchConditions": [{"name": "a", "expression": "request.user == 'a'"}],
        }],
    });
    let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    let causes = refused(&server, Method::POST, path, &webhook).await?;
    assert_eq!(causes[0].0, "webhooks[0].matchConditions[0].expression");
    assert!(causes[0].1.contains("undefined field 'user'"), "{causes:?}");
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "a"},
        "spec": {
            "matchConstraints": {"resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]},
            ]},
            "variables": [{"name": "n", "expression": "object.metadata.name"}],
            "validations": [{"expression": "variables.n == 'a' && params.x"}, {"expression": "variables.m"}],
        },
    });
    let path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
    let causes = refused(&server, Method::POST, path, &policy).await?;
    let fields: Vec<_> = causes.iter().map(|cause| cause.0.as_str()).collect();
    assert_eq!(fields, ["spec.validations[0].expression", "spec.validations[1].expression"]);
    assert!(causes[0].1.contains("undeclared reference to 'params' (in container '')"), "{causes:?}");
    let class = json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": "a"},
        "spec": {"selectors": [{"cel": {"expression": "device.driver.size()"}}]},
    });
    let causes = refused(&server, Method::POST, "/apis/resource.k8s.io/v1/deviceclasses", &class).await?;
    assert_eq!(causes[0].0, "spec.selectors[0].cel.expression");
    assert!(causes[0].1.ends_with("must evaluate to bool or the unknown type, not int"), "{causes:?}");
    Ok(())
}
