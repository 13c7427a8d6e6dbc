//! A webhook that knows tokens.

use anyhow::Result;
use gantry_apiserver::authn::TokenWebhook;
use gantry_json::{Value, json};
use gantry_testing::{Authority, TestServer};
use http::Method;

use crate::support::{Remote, who};

#[tokio::test]
async fn a_webhook_knows_tokens() -> Result<()> {
    let authority = Authority::new()?;
    let remote = Remote::start(
        &authority,
        Box::new(|_, review| match review["spec"]["token"].as_str() {
            Some("jane's") => (
                200,
                json!({"status": {"authenticated": true, "user": {
                "username": "jane", "uid": "17", "groups": ["dev"], "extra": {"scopes": ["read"]}}}}),
            ),
            Some("vault's") => (
                200,
                json!({"status": {
                "authenticated": true, "audiences": ["vault"], "user": {"username": "v"}}}),
            ),
            Some("broken") => (400, Value::Null),
            _ => (200, json!({"status": {"authenticated": false}})),
        }),
    )
    .await?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("webhook.yaml");
    remote.kubeconfig(&authority, &file)?;
    let server =
        TestServer::with_config(|config| config.authentication.webhook = Some(TokenWebhook::new(file)))
            .await?;
    let jane = json!({"username": "jane", "uid": "17", "groups": ["dev", "system:authenticated"],
                      "extra": {"scopes": ["read"]}});
    assert_eq!(who(&server, "jane's").await?, Ok(jane.clone()));
    assert_eq!(who(&server, "jane's").await?, Ok(jane));
    assert_eq!(remote.count(), 1, "remembered");
    let asked = remote.asked.lock().expect("no panic")[0].1.clone();
    assert_eq!(
        (&asked["kind"], &asked["apiVersion"]),
        (&json!("TokenReview"), &json!("authentication.k8s.io/v1"))
    );
    let issuer = "https://kubernetes.default.svc.cluster.local";
    assert_eq!(asked["spec"], json!({"token": "jane's", "audiences": [issuer]}));
    for bad in ["unknown", "vault's", "broken"] {
        assert_eq!(who(&server, bad).await?, Err(401), "{bad}");
    }
    let review = async |spec: Value| {
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec});
        let path = "/apis/authentication.k8s.io/v1/tokenreviews";
        anyhow::Ok(server.json(Method::POST, path, &review).await?.json()["status"].clone())
    };
    let status = review(json!({"token": "vault's", "audiences": ["vault", "other"]})).await?;
    assert_eq!((&status["authenticated"], &status["audiences"]), (&json!(true), &json!(["vault"])));
    let status = review(json!({"token": "jane's", "audiences": ["other"]})).await?;
    assert_eq!(status["authenticated"], Value::Null, "{status}");
    let status = review(json!({"token": "broken"})).await?;
    assert!(status["error"].as_str().unwrap_or_default().contains("the server answered 400"), "{status}");
    Ok(())
}

#[tokio::test]
async fn who_asks_the_same_waits_for_one_answer() -> Result<()> {
    let authority = Authority::new()?;
    let jane = json!({"status": {"authenticated": true, "user": {"username": "jane"}}});
    let remote = Remote::start(&authority, Box::new(move |_, _| (200, jane.clone()))).await?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("webhook.yaml");
    remote.kubeconfig(&authority, &file)?;
    let server =
        TestServer::with_config(|config| config.authentication.webhook = Some(TokenWebhook::new(file)))
            .await?;
    let ask = || who(&server, "token");
    let (a, b, c, d) = tokio::join!(ask(), ask(), ask(), ask());
    for user in [a, b, c, d] {
        assert_eq!(user?.map(|user| user["username"].clone()), Ok(json!("jane")));
    }
    assert_eq!(remote.count(), 1);
    Ok(())
}
