//! Service account tokens: several issuers and keys, limits on how long they last, their documents.

use anyhow::Result;
use gantry_json::{Value, json};
use gantry_testing::{Authority, TestServer};
use http::Method;

use crate::support::{send, who};

const TOKEN: &str = "/api/v1/namespaces/default/serviceaccounts/web/token";

async fn account(server: &TestServer) -> Result<()> {
    let account = json!({"metadata": {"name": "web"}});
    let made = server.json(Method::POST, "/api/v1/namespaces/default/serviceaccounts", &account).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    Ok(())
}

async fn token(server: &TestServer, spec: Value) -> Result<Value> {
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    let reply = server.json(Method::POST, TOKEN, &request).await?;
    assert_eq!(reply.code, 201, "{}", reply.text());
    Ok(reply.json())
}

#[tokio::test]
async fn keys_and_issuers_change() -> Result<()> {
    let keys = Authority::new()?;
    let (old_key, new_key) = (keys.issue("old", &[])?.key, keys.issue("new", &[])?.key);
    let before = {
        let key = old_key.clone();
        TestServer::with_config(|config| {
            config.service_account_key = key;
            config.issuer = "https://old".into();
        })
        .await?
    };
    account(&before).await?;
    let old = token(&before, json!({})).await?["status"]["token"].as_str().unwrap_or_default().to_owned();
    assert!(who(&before, &old).await?.is_ok());
    let store = before.store.clone();
    let accepting = |accept: bool| {
        let (old_key, new_key) = (old_key.clone(), new_key.clone());
        move |config: &mut gantry_apiserver::Config| {
            config.store = store.clone();
            config.service_account_key = new_key;
            config.issuer = "https://new".into();
            config.authentication.api_audiences = vec!["https://new".into(), "https://old".into()];
            if accept {
                config.authentication.service_account_keys = old_key;
                config.authentication.accepted_issuers = vec!["https://old".into()];
            }
        }
    };
    let after = TestServer::with_config(accepting.clone()(true)).await?;
    assert!(who(&after, &old).await?.is_ok(), "an old key and issuer are still good");
    let document = after.get("/.well-known/openid-configuration").await?.json();
    assert_eq!(document["issuer"], "https://new");
    assert_eq!(after.get("/openid/v1/jwks").await?.json()["keys"].as_array().map(Vec::len), Some(2));
    let forgetful = TestServer::with_config(accepting(false)).await?;
    assert_eq!(who(&forgetful, &old).await?, Err(401));
    Ok(())
}

#[tokio::test]
async fn how_long_tokens_last() -> Result<()> {
    let server = TestServer::with_config(|config| {
        config.authentication.max_token_expiration = Some(std::time::Duration::from_secs(7200));
        config.authentication.jwks_uri = Some("https://keys.example/jwks".into());
    })
    .await?;
    account(&server).await?;
    let made = token(&server, json!({"expirationSeconds": 86_400, "audiences": ["vault"]})).await?;
    assert_eq!(made["spec"]["expirationSeconds"], 7200);
    let document = server.get("/.well-known/openid-configuration").await?.json();
    assert_eq!(document["jwks_uri"], "https://keys.example/jwks");
    // Every service account may read the documents.
    let own = token(&server, json!({})).await?["status"]["token"].as_str().unwrap_or_default().to_owned();
    for path in ["/.well-known/openid-configuration", "/openid/v1/jwks"] {
        assert_eq!(send(&server, Method::GET, path, &own, &Value::Null).await?.code, 200, "{path}");
        assert_eq!(send(&server, Method::GET, path, "", &Value::Null).await?.code, 401, "{path}");
    }
    let info = who(&server, &own).await?.expect("authenticated");
    let id = info["extra"]["authentication.kubernetes.io/credential-id"][0].as_str().unwrap_or_default();
    assert!(id.starts_with("JTI="), "{info}");
    Ok(())
}
