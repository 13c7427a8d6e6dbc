//! A namespace is emptied before it goes.

use std::sync::Arc;

use anyhow::{Context, Result};
use gantry_controllers::{namespace, serviceaccount};
use gantry_json::{Value, json};
use http::Method;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};

use crate::cluster::Cluster;

const SHOP: &str = "/api/v1/namespaces/shop";

fn shop(all: &[Arc<Namespace>]) -> Option<&Arc<Namespace>> {
    all.iter().find(|each| each.metadata.name.as_deref() == Some("shop"))
}

async fn start() -> Result<Cluster> {
    let cluster = Cluster::start().await?;
    cluster.run("namespace-controller", namespace::run);
    cluster.run("service-account-controller", serviceaccount::run);
    cluster.send(Method::POST, "/api/v1/namespaces", &json!({"metadata": {"name": "shop"}})).await?;
    cluster
        .until("the account", |all: &[Arc<ServiceAccount>]| {
            all.iter().any(|each| each.metadata.namespace.as_deref() == Some("shop"))
        })
        .await?;
    Ok(cluster)
}

#[tokio::test]
async fn a_deleted_namespace_takes_its_content_with_it() -> Result<()> {
    let cluster = start().await?;
    for number in 0..3 {
        let map = json!({"metadata": {"name": format!("m{number}")}});
        cluster.send(Method::POST, &format!("{SHOP}/configmaps"), &map).await?;
    }
    let role = json!({"metadata": {"name": "r"}, "rules": []});
    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/shop/roles";
    cluster.send(Method::POST, roles, &role).await?;
    cluster.send(Method::DELETE, SHOP, &Value::Null).await?;
    cluster.until("the end of the namespace", |all| shop(all).is_none()).await?;
    for path in [format!("{SHOP}/configmaps"), roles.to_owned(), format!("{SHOP}/serviceaccounts")] {
        let left = cluster.server.get(&path).await?.json();
        assert_eq!(left["items"], json!([]), "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn pods_end_before_the_rest_goes() -> Result<()> {
    let cluster = start().await?;
    let pod = json!({"metadata": {"name": "p"}, "spec": {
        "nodeName": "n1", "terminationGracePeriodSeconds": 600, "containers": [{"name": "c", "image": "i"}]}});
    cluster.send(Method::POST, &format!("{SHOP}/pods"), &pod).await?;
    cluster.send(Method::POST, &format!("{SHOP}/configmaps"), &json!({"metadata": {"name": "m"}})).await?;
    cluster.send(Method::DELETE, SHOP, &Value::Null).await?;
    let message = |all: &[Arc<Namespace>], type_: &str| {
        let conditions = shop(all)?.status.as_ref()?.conditions.as_ref()?;
        conditions.iter().find(|each| each.type_ == type_ && each.status == "True")?.message.clone()
    };
    let held =
        cluster.until("what remains", |all| message(all, "NamespaceContentRemaining").is_some()).await?;
    assert_eq!(
        message(&held, "NamespaceContentRemaining").as_deref(),
        Some("Some resources are remaining: pods. has 1 resource instances")
    );
    assert_eq!(cluster.server.get(&format!("{SHOP}/configmaps/m")).await?.code, 200);
    let end = json!({"gracePeriodSeconds": 0});
    cluster.send(Method::DELETE, &format!("{SHOP}/pods/p"), &end).await?;
    cluster.until("the end of the namespace", |all| shop(all).is_none()).await?;
    Ok(())
}

#[tokio::test]
async fn a_finalizer_holds_the_namespace_and_is_named() -> Result<()> {
    let cluster = start().await?;
    let map = json!({"metadata": {"name": "m", "finalizers": ["example.com/hold"]}});
    cluster.send(Method::POST, &format!("{SHOP}/configmaps"), &map).await?;
    cluster.send(Method::DELETE, SHOP, &Value::Null).await?;
    let held = cluster
        .until("the finalizer's condition", |all| {
            shop(all).and_then(|shop| shop.status.as_ref()?.conditions.clone()).is_some_and(|conditions| {
                conditions
                    .iter()
                    .any(|each| each.type_ == "NamespaceFinalizersRemaining" && each.status == "True")
            })
        })
        .await?;
    let conditions = shop(&held).and_then(|shop| shop.status.clone()?.conditions).context("conditions")?;
    let messages: Vec<_> = conditions.iter().filter_map(|each| each.message.as_deref()).collect();
    let expect =
        "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances";
    assert!(messages.contains(&expect), "{messages:?}");
    Ok(())
}
