//! Tokens of service accounts that Secrets keep: how they come, who they are, and how they go.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use gantry_apiserver::User;
use gantry_controllers::{Config, SignToken, legacy_token_cleaner, service_account_tokens};
use gantry_json::{Value, json};
use gantry_testing::Reply;
use http::{Method, Request, StatusCode};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};

use crate::cluster::{Cluster, ROOT_CA};

const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";

fn config() -> Config {
    Config::new(ROOT_CA, "10.42.0.0/16".parse().expect("a network"))
}

async fn start() -> Result<Cluster> {
    let cluster = Cluster::start().await?;
    let signer = cluster.server.server.clone();
    let sign = SignToken::new(move |namespace, account, uid, secret| {
        signer.legacy_token(namespace, account, uid, secret).map_err(Into::into)
    });
    let config = Config { sign_token: Some(sign), ..config() };
    let manager = User::new("system:kube-controller-manager", ["system:authenticated"]);
    cluster.run_with("serviceaccount-token-controller", manager, config, service_account_tokens::run);
    Ok(cluster)
}

fn token_secret(name: &str, account: &str) -> Value {
    let annotations = json!({"kubernetes.io/service-account.name": account});
    json!({"metadata": {"name": name, "annotations": annotations}, "type": "kubernetes.io/service-account-token"})
}

fn find<'a>(all: &'a [Arc<Secret>], name: &str) -> Option<&'a Secret> {
    all.iter().find(|each| each.metadata.name.as_deref() == Some(name)).map(|each| &**each)
}

fn label(secret: Option<&Secret>, name: &str) -> Option<String> {
    secret?.metadata.labels.as_ref()?.get(name).cloned()
}

async fn as_token(cluster: &Cluster, token: &str) -> Result<Reply> {
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}).to_string();
    let request = Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews")
        .header("host", "x")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {token}"));
    cluster.server.send(None, request.body(Bytes::from(body))?).await
}

#[tokio::test]
async fn a_secret_keeps_a_token_of_its_account() -> Result<()> {
    let cluster = start().await?;
    let account = json!({"metadata": {"name": "web"}, "secrets": [{"name": "listed"}, {"name": "other"}]});
    let account = cluster.send(Method::POST, ACCOUNTS, &account).await?;
    for name in ["listed", "manual"] {
        cluster.send(Method::POST, SECRETS, &token_secret(name, "web")).await?;
    }
    let full = |all: &[Arc<Secret>], name: &str| {
        let data = find(all, name).and_then(|secret| secret.data.as_ref());
        data.is_some_and(|data| data.contains_key("token"))
    };
    let all =
        cluster.until("the tokens", |all: &[Arc<Secret>]| full(all, "listed") && full(all, "manual")).await?;
    let manual = find(&all, "manual").expect("it is there");
    let data = manual.data.clone().unwrap_or_default();
    assert_eq!((&*data["namespace"].0, &*data["ca.crt"].0), (&b"default"[..], ROOT_CA.as_bytes()));
    let uid =
        manual.metadata.annotations.as_ref().and_then(|all| all.get("kubernetes.io/service-account.uid"));
    assert_eq!(uid.map(String::as_str), account["metadata"]["uid"].as_str());
    let token = |name: &str| {
        let data = find(&all, name).and_then(|secret| secret.data.clone()).unwrap_or_default();
        String::from_utf8_lossy(&data["token"].0).into_owned()
    };

    let reply = as_token(&cluster, &token("manual")).await?;
    assert_eq!((reply.code, reply.headers.get("warning")), (StatusCode::CREATED, None), "{}", reply.text());
    let user = &reply.json()["status"]["userInfo"];
    assert_eq!(user["username"], "system:serviceaccount:default:web");
    assert_eq!(user["uid"], account["metadata"]["uid"]);
    let reply = as_token(&cluster, &token("listed")).await?;
    let warning = reply.headers.get("warning").and_then(|value| value.to_str().ok());
    let words = "Use tokens from the TokenRequest API or manually created secret-based tokens instead of \
                 auto-generated secret-based tokens.";
    assert_eq!(warning, Some(format!("299 - \"{words}\"").as_str()));
    // The answer comes when the use has been noted.
    let noted = cluster.server.get(&format!("{SECRETS}/listed")).await?.json();
    assert_eq!(noted["metadata"]["labels"][LAST_USED].as_str().map(str::len), Some(10), "{noted}");
    let review = json!({"spec": {"token": token("listed")}});
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let reply = cluster.server.json(Method::POST, path, &review).await?;
    assert_eq!(reply.json()["status"]["authenticated"], true, "{}", reply.text());
    assert!(reply.headers.contains_key("warning"), "who asks for another is told");
    let metrics = cluster.server.get("/metrics").await?.text();
    for line in [
        "serviceaccount_legacy_tokens_total 3",
        "serviceaccount_legacy_auto_token_uses_total 2",
        "serviceaccount_legacy_manual_token_uses_total 1",
    ] {
        assert!(metrics.lines().any(|each| each == line), "{line}");
    }

    let marked = json!({"metadata": {"labels": {INVALID_SINCE: "2026-01-01"}}}).to_string();
    let path = format!("{SECRETS}/listed");
    cluster.server.request(Method::PATCH, &path, "application/merge-patch+json", marked).await?;
    assert_eq!(as_token(&cluster, &token("listed")).await?.code, 401);
    cluster.send(Method::DELETE, &path, &Value::Null).await?;
    let lists = |all: &[Arc<ServiceAccount>]| {
        let web = all.iter().find(|each| each.metadata.name.as_deref() == Some("web")).cloned();
        let listed = web.and_then(|account| account.secrets.clone()).unwrap_or_default();
        listed.into_iter().filter_map(|each| each.name).collect::<Vec<_>>()
    };
    cluster.until("a shorter list", |all| lists(all) == ["other"]).await?;
    cluster.send(Method::DELETE, &format!("{ACCOUNTS}/web"), &Value::Null).await?;
    assert_eq!(as_token(&cluster, &token("manual")).await?.code, 401, "before the Secret has gone");
    cluster.until("no Secret", |all| find(all, "manual").is_none()).await?;
    Ok(())
}

#[tokio::test]
async fn a_secret_without_its_account_goes() -> Result<()> {
    let cluster = start().await?;
    let nobody = json!({"metadata": {"name": "s"}, "type": "kubernetes.io/service-account-token"});
    let refused = cluster.server.json(Method::POST, SECRETS, &nobody).await?;
    assert_eq!(refused.code, 422);
    let why =
        "Secret \"s\" is invalid: metadata.annotations[kubernetes.io/service-account.name]: Required value";
    assert_eq!(refused.json()["message"], why);
    cluster.send(Method::POST, SECRETS, &token_secret("orphan", "nobody")).await?;
    cluster.send(Method::POST, ACCOUNTS, &json!({"metadata": {"name": "web"}})).await?;
    let mut other = token_secret("earlier", "web");
    other["metadata"]["annotations"]["kubernetes.io/service-account.uid"] = json!("another");
    cluster.send(Method::POST, SECRETS, &other).await?;
    cluster
        .until("no Secrets", |all: &[Arc<Secret>]| {
            find(all, "orphan").is_none() && find(all, "earlier").is_none()
        })
        .await?;
    Ok(())
}

#[tokio::test]
async fn what_nobody_uses_is_marked_and_then_goes() -> Result<()> {
    let cluster = Cluster::start().await?;
    let tracking =
        "/api/v1/namespaces/kube-system/configmaps/kube-apiserver-legacy-service-account-token-tracking";
    let map = cluster.server.get(tracking).await?.json();
    assert_eq!(map["data"]["since"].as_str().map(str::len), Some(10), "{map}");
    let since = json!({"data": {"since": "2020-01-01"}}).to_string();
    cluster.server.request(Method::PATCH, tracking, "application/merge-patch+json", since).await?;
    let listed = json!([{"name": "unused"}, {"name": "condemned"}]);
    cluster.send(Method::POST, ACCOUNTS, &json!({"metadata": {"name": "web"}, "secrets": listed})).await?;
    for name in ["unused", "condemned", "manual"] {
        let mut secret = token_secret(name, "web");
        if name == "condemned" {
            secret["metadata"]["labels"] = json!({INVALID_SINCE: "2020-01-01"});
        }
        cluster.send(Method::POST, SECRETS, &secret).await?;
    }
    let user = "system:serviceaccount:kube-system:legacy-service-account-token-cleaner";
    let cleaner = User::new(user, ["system:serviceaccounts", "system:authenticated"]);
    let config = Config { legacy_token_clean_up: Duration::ZERO, ..config() };
    cluster.run_with("legacy-token-cleaner", cleaner, config, legacy_token_cleaner::run);
    let all = cluster
        .until("a mark and a deletion", |all: &[Arc<Secret>]| {
            label(find(all, "unused"), INVALID_SINCE).is_some() && find(all, "condemned").is_none()
        })
        .await?;
    assert_eq!(label(find(&all, "manual"), INVALID_SINCE), None);
    Ok(())
}
