//! Pod addresses of nodes.

use anyhow::{Context, Result};
use gantry_json::json;
use k8s_openapi::api::core::v1::{Event, Node};
use kube::api::{DeleteParams, PostParams};

use crate::support::{Cluster, until};

fn node(name: &str, range: Option<&str>) -> Result<Node> {
    let ranges: Vec<_> = range.into_iter().collect();
    Ok(gantry_json::from_value(
        json!({"metadata": {"name": name}, "spec": {"podCIDR": range, "podCIDRs": ranges}}),
    )?)
}

async fn range_of(cluster: &Cluster, name: &str) -> Result<String> {
    let of = |node: &Node| node.spec.as_ref().and_then(|spec| spec.pod_cidr.clone());
    let node = until(cluster.all(), name, |node| node.is_some_and(|node| of(node).is_some())).await?;
    node.as_ref().and_then(of).context("it has a range")
}

#[tokio::test]
async fn nodes_get_ranges_and_wait_where_none_is_left() -> Result<()> {
    let cluster = Cluster::start(|config| {
        config.cluster_cidr = "10.42.0.0/23".parse().unwrap_or(config.cluster_cidr);
    })
    .await?;
    let nodes = cluster.all::<Node>();
    let make = async |name, range| -> Result<()> {
        nodes.create(&PostParams::default(), &node(name, range)?).await?;
        Ok(())
    };
    make("fixed", Some("10.42.0.0/24")).await?;
    make("first", None).await?;
    assert_eq!(range_of(&cluster, "first").await?, "10.42.1.0/24");
    make("late", None).await?;
    let about = |event: &Event| {
        event.reason.as_deref() == Some("CIDRNotAvailable")
            && event.message.as_deref() == Some("Node late status is now: CIDRNotAvailable")
    };
    cluster.event(about).await?;
    nodes.delete("fixed", &DeleteParams::default()).await?;
    assert_eq!(range_of(&cluster, "late").await?, "10.42.0.0/24");
    Ok(())
}
