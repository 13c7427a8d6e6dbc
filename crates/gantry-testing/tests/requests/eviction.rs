//! Evictions: a deletion that asks first.

use anyhow::Result;
use gantry_json::json;
use http::Method;

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

#[tokio::test]
async fn a_budget_is_asked_first() -> Result<()> {
    let server = start().await?;
    pod(&server, "a", "n1").await?;
    let status = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    let merge = "application/merge-patch+json";
    server.request(Method::PATCH, &format!("{PODS}/a/status"), merge, status.to_string()).await?;
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget = |name: &str| json!({"metadata": {"name": name}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}});
    let made = server.json(Method::POST, budgets, &budget("one")).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    let evict = async |name: &str, query: &str| {
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
        server.json(Method::POST, &format!("{PODS}/{name}/eviction?{query}"), &eviction).await
    };
    let refused = evict("a", "").await?;
    assert_eq!((refused.code.as_u16(), &refused.json()["reason"]), (429, &json!("TooManyRequests")));
    assert_eq!(refused.json()["details"]["causes"][0]["reason"], "DisruptionBudget");
    let allow = json!({"status": {"observedGeneration": made.json()["metadata"]["generation"],
        "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2}});
    let allowed =
        server.request(Method::PATCH, &format!("{budgets}/one/status"), merge, allow.to_string()).await?;
    assert_eq!(allowed.code, 200, "{}", allowed.text());

    assert_eq!(evict("a", "dryRun=All").await?.code, 201);
    assert_eq!(server.get(&format!("{budgets}/one")).await?.json()["status"]["disruptionsAllowed"], 1);
    server.json(Method::POST, budgets, &budget("two")).await?;
    assert_eq!(evict("a", "").await?.code, 500);
    server.json(Method::DELETE, &format!("{budgets}/two"), &gantry_json::Value::Null).await?;
    let evicted = evict("a", "").await?;
    assert_eq!(evicted.code, 201, "{}", evicted.text());
    let spent = server.get(&format!("{budgets}/one")).await?.json();
    assert_eq!(spent["status"]["disruptionsAllowed"], 0, "{spent}");
    assert!(spent["status"]["disruptedPods"]["a"].is_string(), "{spent}");
    // A pod that is going, and one that has not begun, need no leave.
    assert_eq!(evict("a", "").await?.code, 201);
    pod(&server, "b", "").await?;
    assert_eq!(evict("b", "").await?.code, 201);
    Ok(())
}
