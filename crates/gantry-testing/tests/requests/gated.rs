//! Fields whose feature gates are off: dropped, but where a stored object has them.

use anyhow::Result;
use gantry_api::features::FeatureGates;
use gantry_json::{Value, json};
use gantry_testing::TestServer;
use http::Method;

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";

fn lease(name: &str) -> Value {
    let spec =
        json!({"holderIdentity": "me", "strategy": "OldestEmulationVersion", "preferredHolder": "you"});
    json!({"metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn what_is_gated_off_is_dropped_on_all_ways() -> Result<()> {
    let server = TestServer::start().await?;
    let plain = json!({"holderIdentity": "me"});
    let made = server.json(Method::POST, LEASES, &lease("a")).await?;
    assert_eq!((made.code.as_u16(), &made.json()["spec"]), (201, &plain));
    let path = format!("{LEASES}/a");
    let mut put = lease("a");
    put["metadata"]["resourceVersion"] = made.json()["metadata"]["resourceVersion"].clone();
    assert_eq!(server.json(Method::PUT, &path, &put).await?.json()["spec"], plain);
    let patch = json!({"spec": lease("a")["spec"]}).to_string();
    let patched = server.request(Method::PATCH, &path, "application/merge-patch+json", patch).await?;
    assert_eq!(patched.json()["spec"], plain);
    let apply = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": lease("a")["spec"]});
    let applied = server
        .request(
            Method::PATCH,
            &format!("{path}?fieldManager=x&force=true"),
            "application/apply-patch+yaml",
            apply.to_string(),
        )
        .await?;
    assert_eq!(applied.json()["spec"], plain, "{}", applied.text());
    Ok(())
}

#[tokio::test]
async fn what_was_stored_while_a_gate_was_on_stays() -> Result<()> {
    let on = FeatureGates::parse(["CoordinatedLeaderElection=true"])?;
    let server = TestServer::with_config(|config| config.feature_gates = on).await?;
    let made = server.json(Method::POST, LEASES, &lease("a")).await?.json();
    assert_eq!(made["spec"], lease("a")["spec"]);
    // The same store behind a server without the gate.
    let server = TestServer::with_store(server.store.clone()).await?;
    let patch = json!({"spec": {"preferredHolder": "another"}}).to_string();
    let patched =
        server.request(Method::PATCH, &format!("{LEASES}/a"), "application/merge-patch+json", patch).await?;
    assert_eq!(patched.json()["spec"]["preferredHolder"], "another");
    assert_eq!(patched.json()["spec"]["strategy"], "OldestEmulationVersion");
    Ok(())
}
