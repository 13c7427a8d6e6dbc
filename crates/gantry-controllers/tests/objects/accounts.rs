//! What every namespace is given.

use anyhow::Result;
use gantry_controllers::{root_ca, serviceaccount};
use gantry_json::{Value, json};
use http::Method;
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};

use crate::cluster::{Cluster, ROOT_CA};

#[tokio::test]
async fn every_namespace_has_an_account_and_the_root_ca() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.run("service-account-controller", serviceaccount::run);
    cluster.run("root-ca-cert-publisher", root_ca::run);
    cluster.send(Method::POST, "/api/v1/namespaces", &json!({"metadata": {"name": "shop"}})).await?;
    let is_in = |meta: &kube::api::ObjectMeta, name: &str| {
        meta.namespace.as_deref() == Some("shop") && meta.name.as_deref() == Some(name)
    };
    let account = |all: &[std::sync::Arc<ServiceAccount>]| {
        all.iter().find(|each| is_in(&each.metadata, "default")).map(|each| each.metadata.uid.clone())
    };
    let all = cluster.until("the account", |all| account(all).is_some()).await?;
    let first = account(&all);
    cluster.send(Method::DELETE, "/api/v1/namespaces/shop/serviceaccounts/default", &Value::Null).await?;
    cluster.until("another account", |all| account(all).is_some_and(|uid| Some(uid) != first)).await?;

    let right = |all: &[std::sync::Arc<ConfigMap>]| {
        all.iter().find(|each| is_in(&each.metadata, "kube-root-ca.crt")).is_some_and(|map| {
            map.data.as_ref().and_then(|data| data.get("ca.crt")).map(String::as_str) == Some(ROOT_CA)
        })
    };
    cluster.until("the root CA", right).await?;
    let path = "/api/v1/namespaces/shop/configmaps/kube-root-ca.crt";
    let mut map = cluster.server.get(path).await?.json();
    map["data"]["ca.crt"] = json!("forged");
    cluster.send(Method::PUT, path, &map).await?;
    cluster.until("the repaired root CA", right).await?;
    cluster.send(Method::DELETE, path, &Value::Null).await?;
    cluster.until("the new root CA", right).await?;
    Ok(())
}
