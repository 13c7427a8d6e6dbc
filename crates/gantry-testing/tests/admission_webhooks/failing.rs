//! Webhooks that cannot be asked.

use super::*;

const ENDPOINTS: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";

async fn refused_with(server: &TestServer) -> Result<(u16, String)> {
    let reply = create(server, "m", json!({})).await?;
    Ok((reply.code.as_u16(), reply.json()["message"].as_str().unwrap_or_default().to_owned()))
}

#[tokio::test]
async fn services_are_reached_at_their_endpoints() -> Result<()> {
    let server = TestServer::start().await?;
    let hook = webhook(&server, |_, _| json!({"allowed": true})).await?;
    let service = |entry: &mut Value| {
        entry["clientConfig"]["service"] =
            json!({"namespace": "default", "name": "hook", "path": "/p", "port": 8443});
        entry["clientConfig"].as_object_mut().unwrap().remove("url");
    };
    configure(&server, "Validating", "v", vec![entry(&hook, "v", "/", service)]).await?;
    let before = "Internal error occurred: failed calling webhook \"v.example.com\": failed to call webhook: Post \"https://hook.default.svc:8443/p?timeout=10s\": ";
    let expect = |why: &str| (500, format!("{before}{why}"));
    assert_eq!(refused_with(&server).await?, expect("service \"hook\" not found"));
    let object =
        json!({"metadata": {"name": "hook"}, "spec": {"selector": {"a": "b"}, "ports": [{"port": 8443}]}});
    server.json(Method::POST, "/api/v1/namespaces/default/services", &object).await?;
    assert_eq!(refused_with(&server).await?, expect("no endpoints available for service \"hook\""));
    let slice = json!({"metadata": {"name": "hook-1", "labels": {"kubernetes.io/service-name": "hook"}}, "addressType": "IPv4",
        "ports": [{"name": "", "port": hook.address.port()}], "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": false}}]});
    let made = server.json(Method::POST, ENDPOINTS, &slice).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    assert_eq!(refused_with(&server).await?, expect("no endpoints available for service \"hook\""));
    // Endpoints on the loopback cannot be written through the API.
    let mut slice = made.json();
    slice["endpoints"][0] = json!({"addresses": ["127.0.0.1"], "conditions": {"ready": true}});
    let key = "/registry/discovery.k8s.io/endpointslices/default/hook-2";
    server.store.create(key, slice.to_string().into_bytes(), None).await?;
    assert_eq!(refused_with(&server).await?.0, 201);
    Ok(())
}

#[tokio::test]
async fn who_is_not_answered_is_refused_or_let_through() -> Result<()> {
    let server = TestServer::start().await?;
    let nobody = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        listener.local_addr()?
    };
    let hook = WebhookServer::start(&server.authority, &[], |path, _| {
        if path.starts_with("/never") {
            Answer::Never
        } else {
            Answer::Text(404, "404 page not found".into())
        }
    })
    .await?;
    let stranger =
        WebhookServer::start(&gantry_testing::Authority::new()?, &[], |_, _| Answer::Never).await?;
    let url = |url: String| {
        move |entry: &mut Value| {
            entry["timeoutSeconds"] = 1.into();
            entry["clientConfig"]["url"] = url.into();
        }
    };
    let never = hook.url("/never");
    let unknown = stranger.url("/");
    for (place, why) in [
        (
            format!("https://{nobody}/"),
            format!("Post \"https://{nobody}/?timeout=1s\": dial tcp {nobody}: connect: connection refused"),
        ),
        (never.clone(), format!("Post \"{never}?timeout=1s\": context deadline exceeded")),
        (hook.url("/none"), "the server could not find the requested resource".to_owned()),
        (
            unknown.clone(),
            format!(
                "Post \"{unknown}?timeout=1s\": tls: failed to verify certificate: x509: certificate signed by unknown authority"
            ),
        ),
    ] {
        let path = format!("{CONFIGURATIONS}/validatingwebhookconfigurations/v");
        configure(&server, "Validating", "v", vec![entry(&hook, "v", "/", url(place.clone()))]).await?;
        let expect = format!(
            "Internal error occurred: failed calling webhook \"v.example.com\": failed to call webhook: {why}"
        );
        assert_eq!(refused_with(&server).await?, (500, expect));
        let open =
            json!([{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]).to_string();
        server.request(Method::PATCH, &path, "application/json-patch+json", open).await?;
        assert_eq!(refused_with(&server).await?.0, 201, "{place}");
        server.json(Method::DELETE, &format!("{MAPS}/m"), &Value::Null).await?;
        server.json(Method::DELETE, &path, &Value::Null).await?;
    }
    let metrics = server.get("/metrics").await?.text();
    let counted = "apiserver_admission_webhook_fail_open_count{name=\"v.example.com\",type=\"validating\"}";
    assert!(metrics.lines().any(|line| line.starts_with(counted)), "{metrics}");
    Ok(())
}
