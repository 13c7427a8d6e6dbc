//! Evictions: a deletion that asks first.

use anyhow::Result;
use http::Method;
use serde_json::json;

use crate::pods::{PODS, pod, start};

#[tokio::test]
async fn a_pod_is_evicted_as_it_is_deleted() -> Result<()> {
    let server = start().await?;
    pod(&server, "a", "n1").await?;
    let path = format!("{PODS}/a/eviction");
    let other = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "b"}});
    let refused = server.json(Method::POST, &path, &other).await?;
    assert_eq!(refused.code, 400);
    assert_eq!(refused.json()["message"], "name in URL does not match name in Eviction object");
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"},
        "deleteOptions": {"gracePeriodSeconds": 7}});
    let evicted = server.json(Method::POST, &path, &eviction).await?;
    assert_eq!((evicted.code.as_u16(), &evicted.json()["status"]), (201, &json!("Success")));
    let pod = server.get(&format!("{PODS}/a")).await?.json();
    assert_eq!(pod["metadata"]["deletionGracePeriodSeconds"], 7);
    let missing = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "none"}});
    assert_eq!(server.json(Method::POST, &format!("{PODS}/none/eviction"), &missing).await?.code, 404);
    Ok(())
}
