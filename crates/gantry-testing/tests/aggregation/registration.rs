//! The APIServices that the server keeps itself.

use anyhow::{Context, Result};
use gantry_json::json;
use gantry_testing::TestServer;
use http::{Method, Request};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::Api;
use kube::runtime::conditions;
use kube::runtime::wait::await_condition;

const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";

#[tokio::test]
async fn the_servers_own_versions_are_registered() -> Result<()> {
    let server = TestServer::start().await?;
    let list = server.get(SERVICES).await?.json();
    let names: Vec<&str> = list["items"]
        .as_array()
        .context("items")?
        .iter()
        .map(|each| each["metadata"]["name"].as_str().unwrap_or_default())
        .collect();
    assert!(
        names.contains(&"v1.") && names.contains(&"v1.apps") && names.contains(&"v2.autoscaling"),
        "{names:?}"
    );
    assert!(!names.contains(&"v1.apiregistration.k8s.io"));
    let apps = server.get(&format!("{SERVICES}/v1.apps")).await?.json();
    assert_eq!(apps["metadata"]["labels"], json!({"kube-aggregator.kubernetes.io/automanaged": "onstart"}));
    assert_eq!(
        (&apps["spec"]["groupPriorityMinimum"], &apps["spec"]["versionPriority"]),
        (&json!(17800), &json!(15))
    );
    assert_eq!(apps["status"]["conditions"][0]["reason"], "Local");
    let request = Request::builder()
        .uri(format!("{SERVICES}/v1.apps"))
        .header("host", "api.example")
        .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
        .body(bytes::Bytes::new())?;
    let table = server.send(Some(&server.admin), request).await?.json();
    let names: Vec<_> = table["columnDefinitions"]
        .as_array()
        .context("columns")?
        .iter()
        .map(|each| each["name"].clone())
        .collect();
    assert_eq!(names, ["Name", "Service", "Available", "Age"]);
    assert_eq!(table["rows"][0]["cells"].as_array().context("cells")?[..3], ["v1.apps", "Local", "True"]);
    Ok(())
}

#[tokio::test]
async fn custom_versions_come_and_go_with_their_definitions() -> Result<()> {
    let server = TestServer::start().await?;
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object"}}}],
        },
    });
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let reply = server.json(Method::POST, path, &definition).await?;
    assert_eq!(reply.code, 201, "{}", reply.text());
    let established = json!({"status": {"conditions": [{"type": "Established", "status": "True",
        "reason": "InitialNamesAccepted", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    let status = format!("{path}/widgets.example.com/status");
    let merge = "application/merge-patch+json";
    server.request(Method::PATCH, &status, merge, established.to_string()).await?;
    let services: Api<APIService> = Api::all(server.client());
    let there = |service: Option<&APIService>| service.is_some();
    let service =
        await_condition(services.clone(), "v1.example.com", there).await?.context("an APIService")?;
    let spec = service.spec.context("a specification")?;
    assert_eq!((spec.group_priority_minimum, spec.version_priority), (1000, 100));
    let label = service.metadata.labels.context("labels")?;
    assert_eq!(label["kube-aggregator.kubernetes.io/automanaged"], "true");
    let uid = service.metadata.uid.context("a uid")?;

    // Somebody removes it: it comes back.
    server.json(Method::DELETE, &format!("{SERVICES}/v1.example.com"), &json!(null)).await?;
    let again = |service: Option<&APIService>| {
        service.is_some_and(|service| service.metadata.uid.as_ref().is_some_and(|new| *new != uid))
    };
    let uid = await_condition(services.clone(), "v1.example.com", again)
        .await?
        .and_then(|service| service.metadata.uid)
        .context("a uid")?;

    server.json(Method::DELETE, &format!("{path}/widgets.example.com"), &json!(null)).await?;
    await_condition(services, "v1.example.com", conditions::is_deleted(&uid)).await?;
    Ok(())
}

#[tokio::test]
async fn servers_of_aggregated_apis_learn_how_to_authenticate() -> Result<()> {
    let server = TestServer::start().await?;
    let path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
    let config = server.get(path).await?.json();
    assert_eq!(config["data"]["client-ca-file"], server.authority.certificate());
    assert_eq!(config["data"]["requestheader-client-ca-file"], server.front_proxy.certificate());
    assert_eq!(config["data"]["requestheader-allowed-names"], "[\"front-proxy-client\"]");
    let uid = config["metadata"]["uid"].as_str().context("a uid")?.to_owned();
    server.json(Method::DELETE, path, &json!(null)).await?;
    let configs: Api<ConfigMap> = Api::namespaced(server.client(), "kube-system");
    let again = |config: Option<&ConfigMap>| {
        config.is_some_and(|config| config.metadata.uid.as_ref().is_some_and(|new| *new != uid))
    };
    let config = await_condition(configs, "extension-apiserver-authentication", again).await?;
    assert!(config.and_then(|config| config.data).context("data")?.contains_key("client-ca-file"));
    Ok(())
}
