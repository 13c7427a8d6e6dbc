//! ServiceCIDRs: ready while they stay, and there for as long as addresses in them need it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use gantry_apiserver::User;
use gantry_controllers::{Config, servicecidrs};
use gantry_json::{Value, json};
use http::Method;
use k8s_openapi::api::networking::v1::ServiceCIDR;

use crate::cluster::{Cluster, ROOT_CA};

const RANGES: &str = "/apis/networking.k8s.io/v1/servicecidrs";
const SERVICES: &str = "/api/v1/namespaces/default/services";

async fn cluster() -> Result<Cluster> {
    let cluster = Cluster::start().await?;
    let groups = ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"];
    let user = User::new("system:serviceaccount:kube-system:service-cidrs-controller", groups);
    let config = Config::new(ROOT_CA, "10.42.0.0/16".parse()?);
    let config = Config { service_cidr_grace: Duration::ZERO, ..config };
    cluster.run_with("service-cidr-controller", user, config, servicecidrs::run);
    Ok(cluster)
}

/// The condition Ready and the finalizers of a range.
fn state(all: &[Arc<ServiceCIDR>], name: &str) -> Value {
    let Some(range) = all.iter().find(|range| range.metadata.name.as_deref() == Some(name)) else {
        return Value::Null;
    };
    let conditions = range.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready: Vec<Value> =
        conditions.map(|ready| json!([ready.type_, ready.status, ready.reason, ready.message])).collect();
    json!([ready, range.metadata.finalizers])
}

async fn until(cluster: &Cluster, name: &str, expect: &Value) -> Result<()> {
    let what = format!("{name} to be {expect}");
    cluster.until(&what, |all: &[Arc<ServiceCIDR>]| state(all, name) == *expect).await.map(drop)
}

#[tokio::test]
async fn a_range_goes_when_its_addresses_have_gone() -> Result<()> {
    let cluster = cluster().await?;
    let finalizers = json!(["networking.k8s.io/service-cidr-finalizer"]);
    let ready = json!([[["Ready", "True", "", "Kubernetes Service CIDR is ready"]], finalizers]);
    until(&cluster, "kubernetes", &ready).await?;
    let more = json!({"metadata": {"name": "more"}, "spec": {"cidrs": ["10.99.0.0/24"]}});
    cluster.send(Method::POST, RANGES, &more).await?;
    until(&cluster, "more", &ready).await?;
    let web =
        json!({"metadata": {"name": "web"}, "spec": {"clusterIP": "10.99.0.7", "ports": [{"port": 80}]}});
    cluster.send(Method::POST, SERVICES, &web).await?;

    cluster.send(Method::DELETE, &format!("{RANGES}/more"), &Value::Null).await?;
    let words = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new \
                 ServiceCIDR";
    until(&cluster, "more", &json!([[["Ready", "False", "Terminating", words]], finalizers])).await?;
    let late =
        json!({"metadata": {"name": "late"}, "spec": {"clusterIP": "10.99.0.8", "ports": [{"port": 80}]}});
    let refused = cluster.server.json(Method::POST, SERVICES, &late).await?;
    let why = "Service \"late\" is invalid: spec.clusterIPs: Invalid value: [\"10.99.0.8\"]: failed to allocate \
               IP 10.99.0.8: the provided network does not match the current range";
    assert_eq!((refused.code.as_u16(), &refused.json()["message"]), (422, &json!(why)));

    cluster.send(Method::DELETE, &format!("{SERVICES}/web"), &Value::Null).await?;
    until(&cluster, "more", &Value::Null).await
}

#[tokio::test]
async fn a_range_goes_when_another_has_its_addresses() -> Result<()> {
    let cluster = cluster().await?;
    let range = |name: &str, cidr: &str| json!({"metadata": {"name": name}, "spec": {"cidrs": [cidr]}});
    cluster.send(Method::POST, RANGES, &range("old", "10.99.0.0/24")).await?;
    let finalizers = json!(["networking.k8s.io/service-cidr-finalizer"]);
    let ready = json!([[["Ready", "True", "", "Kubernetes Service CIDR is ready"]], finalizers]);
    until(&cluster, "old", &ready).await?;
    let web =
        json!({"metadata": {"name": "web"}, "spec": {"clusterIP": "10.99.0.7", "ports": [{"port": 80}]}});
    cluster.send(Method::POST, SERVICES, &web).await?;
    cluster.send(Method::DELETE, &format!("{RANGES}/old"), &Value::Null).await?;
    cluster.send(Method::POST, RANGES, &range("new", "10.99.0.0/16")).await?;
    until(&cluster, "old", &Value::Null).await?;
    until(&cluster, "new", &ready).await
}
