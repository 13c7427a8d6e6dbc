//! The node's heartbeat: a Lease renewed every 10 s that holds for 40 s.

use std::{sync::Arc, time::Duration};

use gantry_json::json;
use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference},
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;

const RENEW: Duration = Duration::from_secs(10);
const DURATION_SECONDS: i32 = 40;

/// Renews until shutdown.
pub async fn run(agent: Arc<Agent>, node_uid: String, shutdown: CancellationToken) {
    let api: Api<Lease> = Api::namespaced(agent.client.clone(), "kube-node-lease");
    // A heartbeat is a timer by nature.
    let mut timer = tokio::time::interval(RENEW);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = timer.tick() => {}
        }
        if let Err(error) = renew(&agent, &api, &node_uid).await {
            tracing::warn!(%error, "node lease not renewed");
        }
    }
}

async fn renew(agent: &Agent, api: &Api<Lease>, node_uid: &str) -> kube::Result<()> {
    let name = &agent.config.node_name;
    let spec = LeaseSpec {
        holder_identity: Some(name.clone()),
        lease_duration_seconds: Some(DURATION_SECONDS),
        renew_time: Some(MicroTime(Timestamp::now())),
        ..LeaseSpec::default()
    };
    let patch = Patch::Merge(json!({ "spec": spec }));
    match api.patch(name, &PatchParams::default(), &patch).await {
        Err(kube::Error::Api(e)) if e.code == 404 => {}
        result => return result.map(drop),
    }
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some("kube-node-lease".into()),
            owner_references: Some(vec![OwnerReference {
                api_version: "v1".into(),
                kind: "Node".into(),
                name: name.clone(),
                uid: node_uid.into(),
                ..Default::default()
            }]),
            ..Default::default()
        },
        spec: Some(spec),
    };
    api.create(&PostParams::default(), &lease).await.map(drop)
}
