//! Webhooks that convert custom objects between versions.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::await_condition;

use super::*;

const V1: &str = "/apis/stable.example.com/v1/namespaces/default/hosts";
const V2: &str = "/apis/stable.example.com/v2/namespaces/default/hosts";

/// Splits `hostPort` of v1 into `host` and `port` of v2, and joins them.
fn convert(path: &str, review: &Value) -> Answer {
    let request = &review["request"];
    let wanted = request["desiredAPIVersion"].as_str().unwrap_or_default();
    let mut objects = request["objects"].as_array().cloned().unwrap_or_default();
    for object in &mut objects {
        object["apiVersion"] = wanted.into();
        let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
        if wanted.ends_with("/v2") {
            let both = text("hostPort");
            let (host, port) = both.split_once(':').unwrap_or_default();
            let (host, port) = (host.to_owned(), port.to_owned());
            object.as_object_mut().unwrap().remove("hostPort");
            (object["host"], object["port"]) = (host.into(), port.into());
        } else {
            let both = format!("{}:{}", text("host"), text("port"));
            object.as_object_mut().unwrap().retain(|field, _| field != "host" && field != "port");
            object["hostPort"] = both.into();
        }
    }
    let mut response =
        json!({"uid": request["uid"], "result": {"status": "Success"}, "convertedObjects": objects});
    if path.starts_with("/failing") {
        response["result"] = json!({"status": "Failed", "message": "cannot convert"});
    }
    Answer::Json(
        json!({"apiVersion": review["apiVersion"], "kind": "ConversionReview", "response": response}),
    )
}

async fn hosts(server: &TestServer, hook: &WebhookServer, path: &str) -> Result<()> {
    let version = |name: &str, fields: &[&str]| {
        let fields: gantry_json::Map =
            fields.iter().map(|field| ((*field).to_owned(), json!({"type": "string"}))).collect();
        json!({"name": name, "served": true, "storage": name == "v1",
            "schema": {"openAPIV3Schema": {"type": "object", "properties": fields}}})
    };
    let definition = json!({"metadata": {"name": "hosts.stable.example.com"}, "spec": {
        "group": "stable.example.com", "scope": "Namespaced",
        "names": {"plural": "hosts", "singular": "host", "kind": "Host", "listKind": "HostList"},
        "versions": [version("v1", &["hostPort"]), version("v2", &["host", "port"])],
        "conversion": {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"],
            "clientConfig": {"url": hook.url(path), "caBundle": STANDARD.encode(&hook.ca)}}},
    }});
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let made = server.json(Method::POST, path, &definition).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    let definitions: Api<CustomResourceDefinition> = Api::all(server.client());
    await_condition(definitions, "hosts.stable.example.com", is_crd_established()).await?;
    Ok(())
}

fn host(version: &str, name: &str, fields: Value) -> Value {
    let mut object = json!({"apiVersion": format!("stable.example.com/{version}"), "kind": "Host", "metadata": {"name": name}});
    for (field, value) in fields.as_object().unwrap() {
        object[field] = value.clone();
    }
    object
}

#[tokio::test]
async fn objects_are_shown_in_the_version_that_is_asked_for() -> Result<()> {
    let server = TestServer::start().await?;
    let hook = WebhookServer::start(&server.authority, &[], convert).await?;
    hosts(&server, &hook, "/convert").await?;
    for name in ["a", "b"] {
        let made = server.json(Method::POST, V1, &host("v1", name, json!({"hostPort": "x:1"}))).await?;
        assert_eq!(made.code, 201, "{}", made.text());
    }
    assert!(hook.calls().is_empty());
    let shown = server.get(&format!("{V2}/a")).await?.json();
    assert_eq!(
        (&shown["host"], &shown["port"], &shown["apiVersion"]),
        (&json!("x"), &json!("1"), &json!("stable.example.com/v2"))
    );
    let (path, review) = hook.calls().remove(0);
    assert_eq!(path, "/convert?timeout=30s");
    assert_eq!(
        (&review["apiVersion"], &review["kind"]),
        (&json!("apiextensions.k8s.io/v1"), &json!("ConversionReview"))
    );
    assert_eq!(review["request"]["desiredAPIVersion"], "stable.example.com/v2");
    let listed = server.get(V2).await?.json();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(hook.calls().len(), 1, "a list is converted at once");
    let made = server.json(Method::POST, V2, &host("v2", "c", json!({"host": "y", "port": "2"}))).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    assert_eq!(server.get(&format!("{V1}/c")).await?.json()["hostPort"], "y:2");
    // A rule for one version meets requests in the other, and the webhook sees what it knows.
    let judge =
        webhook(&server, |_, request| json!({"allowed": request["object"]["hostPort"] != "z:3"})).await?;
    let older = |entry: &mut Value| {
        entry["rules"] = json!([{"operations": ["CREATE"], "apiGroups": ["stable.example.com"], "apiVersions": ["v1"],
            "resources": ["hosts"]}]);
    };
    configure(&server, "Validating", "v", vec![entry(&judge, "v", "/", older)]).await?;
    let refused = server.json(Method::POST, V2, &host("v2", "d", json!({"host": "z", "port": "3"}))).await?;
    assert_eq!(refused.code, 400, "{}", refused.text());
    assert_eq!(judge.calls()[0].1["request"]["kind"]["version"], "v1");
    Ok(())
}

#[tokio::test]
async fn conversions_that_fail() -> Result<()> {
    let server = TestServer::start().await?;
    let hook = WebhookServer::start(&server.authority, &[], convert).await?;
    hosts(&server, &hook, "/failing").await?;
    server.json(Method::POST, V1, &host("v1", "a", json!({"hostPort": "x:1"}))).await?;
    let reply = server.get(&format!("{V2}/a")).await?;
    let message = "conversion webhook for stable.example.com/v1, Kind=Host failed: cannot convert";
    assert_eq!((reply.code.as_u16(), &reply.json()["message"]), (500, &json!(message)));
    Ok(())
}
