//! Roles that are put together from others, and tokens that expire.

use anyhow::Result;
use gantry_json::json;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::Api;
use kube::api::PostParams;

use crate::support::{Cluster, until};

#[tokio::test]
async fn a_new_role_is_added_to_those_that_select_it() -> Result<()> {
    let cluster = Cluster::start(|_| {}).await?;
    let roles = cluster.all::<ClusterRole>();
    let part = json!({
        "metadata": {"name": "crontabs", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
        "rules": [{"apiGroups": ["example.com"], "resources": ["crontabs"], "verbs": ["get"]}],
    });
    roles.create(&PostParams::default(), &gantry_json::from_value(part)?).await?;
    let has = |role: &ClusterRole| {
        let groups = role.rules.iter().flatten().flat_map(|rule| rule.api_groups.iter().flatten());
        groups.into_iter().any(|group| group == "example.com")
    };
    until(cluster.all(), "view", |role| role.is_some_and(has)).await?;
    until(cluster.all(), "admin", |role| role.is_some_and(has)).await?;
    Ok(())
}

#[tokio::test]
async fn an_expired_token_goes() -> Result<()> {
    let cluster = Cluster::start(|_| {}).await?;
    let secrets = || Api::<Secret>::namespaced(cluster.server.client(), "kube-system");
    let token = |name: &str, expires: Timestamp| {
        json!({"metadata": {"name": format!("bootstrap-token-{name}")}, "type": "bootstrap.kubernetes.io/token",
            "stringData": {"token-id": name, "token-secret": "0123456789abcdef", "expiration": expires.to_string()}})
    };
    let later = token("later0", Timestamp::now() + SignedDuration::from_hours(1));
    secrets().create(&PostParams::default(), &gantry_json::from_value(later)?).await?;
    let past = token("past00", Timestamp::now() - SignedDuration::from_secs(1));
    secrets().create(&PostParams::default(), &gantry_json::from_value(past)?).await?;
    until(secrets(), "bootstrap-token-past00", |secret| secret.is_none()).await?;
    assert!(secrets().get_opt("bootstrap-token-later0").await?.is_some());
    Ok(())
}
