//! Versions and resources that are turned on and off.

use anyhow::Result;
use gantry_api::runtime_config::RuntimeConfig;
use gantry_json::{Value, json};
use gantry_testing::TestServer;
use http::Method;

const BETA: &str = "/apis/admissionregistration.k8s.io/v1beta1";

/// A server with these settings.
async fn serving(settings: &str) -> Result<TestServer> {
    let config = RuntimeConfig::parse([settings])?;
    TestServer::with_config(|server| server.runtime_config = config).await
}

fn versions(group: &Value) -> Vec<&str> {
    let versions = group["versions"].as_array().into_iter().flatten();
    versions.filter_map(|version| version["version"].as_str()).collect()
}

#[tokio::test]
async fn what_is_not_stable_is_off() -> Result<()> {
    let server = TestServer::start().await?;
    let group = server.get("/apis/admissionregistration.k8s.io").await?.json();
    assert_eq!(versions(&group), ["v1"]);
    for path in [BETA.to_owned(), format!("{BETA}/mutatingadmissionpolicies")] {
        let reply = server.get(&path).await?;
        assert_eq!(reply.code, 404, "{path}");
    }
    let index = server.get("/openapi/v3").await?.json();
    assert!(index["paths"]["apis/admissionregistration.k8s.io/v1"].is_object());
    assert!(index["paths"]["apis/admissionregistration.k8s.io/v1beta1"].is_null());
    assert!(!server.get("/openapi/v2").await?.text().contains("v1beta1.MutatingAdmissionPolicy"));
    Ok(())
}

#[tokio::test]
async fn a_version_that_is_turned_on() -> Result<()> {
    let server = serving("admissionregistration.k8s.io/v1beta1=true").await?;
    let group = server.get("/apis/admissionregistration.k8s.io").await?.json();
    assert_eq!(versions(&group), ["v1", "v1beta1"]);
    assert_eq!(group["preferredVersion"]["version"], "v1");
    let list = server.get(BETA).await?.json();
    let names = list["resources"].as_array().into_iter().flatten().map(|each| each["name"].clone());
    assert_eq!(names.collect::<Vec<_>>(), ["mutatingadmissionpolicies", "mutatingadmissionpolicybindings"]);
    let index = server.get("/openapi/v3").await?.json();
    let url = index["paths"]["apis/admissionregistration.k8s.io/v1beta1"]["serverRelativeURL"].clone();
    let document = server.get(url.as_str().unwrap_or_default()).await?.json();
    let name = "io.k8s.api.admissionregistration.v1beta1.MutatingAdmissionPolicy";
    assert!(document["components"]["schemas"][name]["properties"]["spec"].is_object());
    let service = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.admissionregistration.k8s.io";
    assert_eq!(server.get(service).await?.code, 200);

    let policies = format!("{BETA}/mutatingadmissionpolicies");
    let object = json!({"metadata": {"name": "p"}, "spec": {"reinvocationPolicy": "Never",
        "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"],
            "operations": ["CREATE"], "resources": ["pods"]}]},
        "mutations": [{"patchType": "JSONPatch",
            "jsonPatch": {"expression": "[JSONPatch{op: 'remove', path: '/x'}]"}}]}});
    let made = server.json(Method::POST, &policies, &object).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    let made = made.json();
    assert_eq!(
        (&made["apiVersion"], &made["metadata"]["generation"], &made["spec"]["failurePolicy"]),
        (&json!("admissionregistration.k8s.io/v1beta1"), &json!(1), &json!("Fail"))
    );
    let mut wrong = object.clone();
    wrong["metadata"]["name"] = "q".into();
    wrong["spec"]["mutations"][0]["jsonPatch"]["expression"] = "Object{}".into();
    let refused = server.json(Method::POST, &policies, &wrong).await?;
    let message = "MutatingAdmissionPolicy.admissionregistration.k8s.io \"q\" is invalid: spec.mutations[0].jsonPatch.expression: Invalid value: \"Object{}\": must evaluate to list(JSONPatch) but got Object";
    assert_eq!((refused.code.as_u16(), &refused.json()["message"]), (422, &json!(message)));
    Ok(())
}

#[tokio::test]
async fn versions_share_what_is_stored() -> Result<()> {
    let server = serving("api/all=true").await?;
    let (alpha, beta) = (
        "/apis/admissionregistration.k8s.io/v1alpha1/mutatingadmissionpolicybindings",
        format!("{BETA}/mutatingadmissionpolicybindings"),
    );
    let made = server
        .json(Method::POST, alpha, &json!({"metadata": {"name": "b"}, "spec": {"policyName": "p"}}))
        .await?;
    assert_eq!(
        (made.code.as_u16(), made.json()["apiVersion"].clone()),
        (201, json!("admissionregistration.k8s.io/v1alpha1"))
    );
    let read = server.get(&format!("{beta}/b")).await?.json();
    assert_eq!(
        (&read["apiVersion"], &read["spec"]["policyName"]),
        (&json!("admissionregistration.k8s.io/v1beta1"), &json!("p"))
    );
    Ok(())
}

#[tokio::test]
async fn beta_versions_of_stable_kinds() -> Result<()> {
    let server = serving("api/beta=true").await?;
    let classes = |version: &str| format!("/apis/storage.k8s.io/{version}/volumeattributesclasses");
    let class = json!({"metadata": {"name": "fast"}, "driverName": "a.b", "parameters": {"iops": "5"}});
    assert_eq!(server.json(Method::POST, &classes("v1beta1"), &class).await?.code, 201);
    for version in ["v1", "v1beta1"] {
        let read = server.get(&format!("{}/fast", classes(version))).await?.json();
        assert_eq!(read["apiVersion"], format!("storage.k8s.io/{version}"));
    }
    let group = server.get("/apis/resource.k8s.io").await?.json();
    assert_eq!(versions(&group), ["v1", "v1beta2"]);
    // What is behind a feature is not there without it.
    assert_eq!(server.get("/apis/storagemigration.k8s.io").await?.code, 404);
    Ok(())
}

#[tokio::test]
async fn a_resource_that_is_turned_off() -> Result<()> {
    let server = serving("batch/v1/cronjobs=false,events.k8s.io/v1=false").await?;
    assert_eq!(server.get("/apis/batch/v1/jobs").await?.code, 200);
    assert_eq!(server.get("/apis/batch/v1/cronjobs").await?.code, 404);
    assert_eq!(server.get("/apis/events.k8s.io").await?.code, 404);
    let list = server.get("/apis/batch/v1").await?.text();
    assert!(list.contains("jobs") && !list.contains("cronjobs"));
    let service = "/apis/apiregistration.k8s.io/v1/apiservices/v1.events.k8s.io";
    assert_eq!(server.get(service).await?.code, 404);
    Ok(())
}
