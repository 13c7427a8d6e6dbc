//! One identity provider by settings: its tokens, and those that are not good.

use anyhow::Result;
use gantry_apiserver::authn::Oidc;
use gantry_json::{Value, json};
use gantry_testing::{Authority, TestServer};

use crate::support::{Key, Remote, claims, now, provider, who};

#[tokio::test]
async fn tokens_of_a_provider() -> Result<()> {
    let authority = Authority::new()?;
    let key = Key::new("one")?;
    let remote = Remote::start(&authority, Box::new(|_, _| (404, Value::Null))).await?;
    remote.answers(provider(remote.url.clone(), &[&key]));
    let directory = tempfile::tempdir()?;
    let ca_file = directory.path().join("ca.pem");
    std::fs::write(&ca_file, authority.certificate())?;
    let oidc = Oidc {
        issuer_url: remote.url.clone(),
        client_id: "kubernetes".into(),
        groups_claim: Some("groups".into()),
        groups_prefix: Some("team:".into()),
        required_claims: [("hd".to_owned(), "example.com".to_owned())].into(),
        signing_algs: vec!["ES256".into()],
        ca_file: Some(ca_file),
        ..Oidc::default()
    };
    let server = TestServer::with_config(|config| config.authentication.oidc = Some(oidc)).await?;
    let good = |more: Value| {
        let mut with = json!({"hd": "example.com", "groups": ["dev"]});
        for (field, value) in more.as_object().cloned().unwrap_or_default() {
            with[field] = value;
        }
        claims(&remote.url, with)
    };
    let user = who(&server, &key.token(&good(json!({})))).await?;
    let expect = json!({
        "username": format!("{}#jane", remote.url), "groups": ["team:dev", "system:authenticated"]});
    assert_eq!(user, Ok(expect));
    for (why, bad) in [
        ("expired", key.token(&good(json!({"exp": now() - 60})))),
        ("not yet good", key.token(&good(json!({"nbf": now() + 600})))),
        ("for somebody else", key.token(&good(json!({"aud": ["other"]})))),
        ("of another issuer", key.token(&good(json!({"iss": "https://other"})))),
        ("without a claim", key.token(&claims(&remote.url, json!({})))),
        ("signed by somebody else", Key::new("one")?.token(&good(json!({})))),
        ("no token", "abc".to_owned()),
    ] {
        assert_eq!(who(&server, &bad).await?, Err(401), "{why}");
    }
    // A new key is found when a token names it; then the old one is gone.
    let next = Key::new("two")?;
    remote.answers(provider(remote.url.clone(), &[&next]));
    assert!(who(&server, &next.token(&good(json!({})))).await?.is_ok());
    assert_eq!(who(&server, &key.token(&good(json!({"sub": "joe"})))).await?, Err(401));
    // Tokens with unknown keys do not become as many questions.
    for at in 0..30 {
        let stranger = Key::new(&format!("k{at}"))?;
        assert_eq!(who(&server, &stranger.token(&good(json!({})))).await?, Err(401));
    }
    assert!(remote.count() < 30, "{} questions", remote.count());
    let metrics = server.get("/metrics").await?.text();
    assert!(
        metrics
            .contains("apiserver_authentication_jwt_authenticator_latency_seconds_count{result=\"success\"")
    );
    Ok(())
}

#[tokio::test]
async fn a_provider_that_is_not_there_yet() -> Result<()> {
    let authority = Authority::new()?;
    let key = Key::new("one")?;
    let remote = Remote::start(&authority, Box::new(|_, _| (503, Value::Null))).await?;
    let directory = tempfile::tempdir()?;
    let ca_file = directory.path().join("ca.pem");
    std::fs::write(&ca_file, authority.certificate())?;
    let oidc = Oidc {
        issuer_url: remote.url.clone(),
        client_id: "kubernetes".into(),
        username_prefix: Some("-".into()),
        signing_algs: vec!["ES256".into()],
        ca_file: Some(ca_file),
        ..Oidc::default()
    };
    let server = TestServer::with_config(|config| config.authentication.oidc = Some(oidc)).await?;
    let token = key.token(&claims(&remote.url, json!({})));
    assert_eq!(who(&server, &token).await?, Err(401));
    remote.answers(provider(remote.url.clone(), &[&key]));
    let user = who(&server, &token).await?;
    assert_eq!(user, Ok(json!({"username": "jane", "groups": ["system:authenticated"]})));
    Ok(())
}
