//! Gives every node its part of the cluster's pod addresses, in `spec.podCIDR`.
//!
//! Flow: a node without a range appears and gets the next free one; a node goes and its range is free
//! again. Guarantees: ranges that nodes hold already are respected, whoever gave them; no two nodes get
//! the same. A node for which nothing is left has an event, and its turn when a range is given back.

mod ranges;

use std::collections::BTreeSet;

use gantry_client::{ObjectKey, WorkQueue, reference, run_workers};
use gantry_json::json;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use parking_lot::Mutex;

use crate::Context;
use crate::writes::{is_gone, is_stale};
use ranges::Ranges;

/// Reason of the event about a node for which no range is left.
const NOTHING_LEFT: &str = "CIDRNotAvailable";

/// Runs until shutdown.
pub async fn run(context: Context) {
    let nodes = context.informers.get::<Node>();
    nodes.synced().await;
    let ranges = Mutex::new(Ranges::new(context.config.cluster_cidr));
    let waiting = Mutex::new(BTreeSet::<String>::new());
    for node in nodes.list() {
        note(&mut ranges.lock(), &ObjectKey::of(&node.metadata), Some(&node));
    }
    let queue = WorkQueue::new();
    let watch = nodes.changes().each(|change| {
        let key = ObjectKey::of(&change.object().metadata);
        // The latest state counts: what this change says may be overtaken already.
        let freed = {
            let mut ranges = ranges.lock();
            note(&mut ranges, &key, nodes.get(&key).as_deref())
        };
        if freed {
            std::mem::take(&mut *waiting.lock()).into_iter().for_each(|name| queue.add(name));
        }
        queue.add(key.name);
    });
    let reconcile = async |name: String| {
        let key = ObjectKey::new("", &*name);
        let (node, range) = {
            let mut ranges = ranges.lock();
            let Some(node) = nodes.get(&key).filter(|node| held(node).is_empty()) else { return Ok(None) };
            note(&mut ranges, &key, Some(&node));
            // An earlier attempt whose outcome is unknown is repeated, not made anew.
            let before = ranges.of(&name).and_then(|held| held.first().copied());
            let range = before.or_else(|| ranges.allocate(&name, uid(&node)));
            if range.is_none() {
                waiting.lock().insert(name.clone());
            }
            (node, range)
        };
        let Some(range) = range else {
            let message = format!("Node {name} status is now: {NOTHING_LEFT}");
            context.recorder.event(reference(&*node), false, NOTHING_LEFT, message);
            return Ok(None);
        };
        let patch = json!({"metadata": {"uid": uid(&node)}, "spec": {"podCIDR": range, "podCIDRs": [range]}});
        let api = Api::<Node>::all(context.client.clone());
        match api.patch_metadata(&name, &PatchParams::default(), &Patch::Strategic(patch)).await {
            // The change comes through the informer, and gives the range back.
            Err(error) if is_gone(&error) || is_stale(&error) => Ok(None),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(None),
        }
    };
    let work = run_workers("node-ipam-controller", queue.clone(), 4, reconcile, context.shutdown.clone());
    tokio::join!(watch, work);
}

/// The ranges in the node's spec; what is no range there holds nothing.
fn held(node: &Node) -> Vec<IpNet> {
    let Some(spec) = &node.spec else { return Vec::new() };
    let all = spec.pod_cidrs.as_deref().unwrap_or_default();
    let texts = if all.is_empty() { spec.pod_cidr.as_slice() } else { all };
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

fn uid(node: &Node) -> &str {
    node.metadata.uid.as_deref().unwrap_or_default()
}

/// Takes what is known of a node into the account. Returns whether a range became free.
fn note(ranges: &mut Ranges, key: &ObjectKey, node: Option<&Node>) -> bool {
    match node.map(|node| (uid(node), held(node))) {
        None => ranges.release(&key.name),
        Some((uid, held)) if held.is_empty() => ranges.release_unless(&key.name, uid),
        Some((uid, held)) => ranges.occupy(&key.name, uid, held),
    }
}
