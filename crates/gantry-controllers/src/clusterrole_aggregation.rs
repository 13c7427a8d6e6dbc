//! Puts ClusterRoles with an `aggregationRule` together from those that it selects.
//!
//! Flow: a ClusterRole changes; the rules of each aggregated one are put together again, and applied
//! where they differ. Guarantee: running again changes nothing.

use gantry_client::{ObjectKey, WorkQueue, run_workers};
use gantry_json::json;
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::core::{Selector, SelectorExt};

use crate::Context;
use crate::writes::is_gone;

/// The field manager that holds the rules.
const MANAGER: &str = "clusterrole-aggregation-controller";

/// Runs until shutdown.
pub async fn run(context: Context) {
    let roles = context.informers.get::<ClusterRole>();
    let mut changes = roles.changes();
    roles.synced().await;
    let queue = WorkQueue::new();
    let watch = async {
        while changes.next().await.is_some() {
            while changes.try_next().is_some() {}
            for role in roles.list().iter().filter(|role| role.aggregation_rule.is_some()) {
                queue.add(ObjectKey::of(&role.metadata).name);
            }
        }
    };
    let reconcile = async |name: String| {
        let Some(role) = roles.get(&ObjectKey::new("", &*name)) else { return Ok(None) };
        let all = roles.list();
        let Some(rules) = aggregated(&role, all.iter().map(|role| &**role)) else { return Ok(None) };
        let patch = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": rules,
        });
        let api = Api::<ClusterRole>::all(context.client.clone());
        match api.patch_metadata(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(patch)).await {
            Err(error) if is_gone(&error) => Ok(None),
            other => Ok(other.map(|_| None)?),
        }
    };
    let work = run_workers("clusterrole-aggregation", queue.clone(), 2, reconcile, context.shutdown.clone());
    tokio::join!(watch, work);
}

/// The rules that the role has to have, in the order of the names of the roles that they come from;
/// `None` where it has them, or is not put together from others.
fn aggregated<'a>(
    role: &ClusterRole,
    all: impl Iterator<Item = &'a ClusterRole> + Clone,
) -> Option<Vec<PolicyRule>> {
    let selectors = role.aggregation_rule.as_ref()?.cluster_role_selectors.iter().flatten();
    let mut rules = Vec::<PolicyRule>::new();
    // A selector that cannot be read selects nothing.
    for selector in selectors.filter_map(|selector| Selector::try_from(selector.clone()).ok()) {
        let of_labels = |other: &&ClusterRole| {
            let labels = other.metadata.labels.clone().unwrap_or_default();
            other.metadata.name != role.metadata.name && selector.matches(&labels)
        };
        for rule in all.clone().filter(of_labels).flat_map(|other| other.rules.iter().flatten()) {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    (role.rules.as_deref().unwrap_or_default() != rules).then_some(rules)
}

#[cfg(test)]
mod tests {
    use gantry_json::{Value, json};

    use super::*;

    fn role(name: &str, labels: Value, verbs: &[&str]) -> ClusterRole {
        let rules: Vec<_> =
            verbs.iter().map(|verb| json!({"verbs": [verb], "resources": ["pods"]})).collect();
        gantry_json::from_value(json!({"metadata": {"name": name, "labels": labels}, "rules": rules}))
            .expect("a ClusterRole")
    }

    #[test]
    fn rules_come_from_the_selected_roles_each_once() {
        let mut whole = role("whole", json!({"to": "a"}), &["own"]);
        let rule = json!({"clusterRoleSelectors": [{"matchLabels": {"to": "a"}},
            {"matchExpressions": [{"key": "to", "operator": "In", "values": ["a", "b"]}]}]});
        whole.aggregation_rule = gantry_json::from_value(rule).expect("a rule");
        let parts = [
            role("1", json!({"to": "a"}), &["get", "list"]),
            role("2", json!({"to": "b"}), &["list", "watch"]),
            role("3", json!({"to": "c"}), &["delete"]),
        ];
        let all = || parts.iter().chain([&whole]);
        let rules = aggregated(&whole, all()).expect("they differ");
        let verbs: Vec<_> = rules.iter().flat_map(|rule| rule.verbs.clone()).collect();
        assert_eq!(verbs, ["get", "list", "watch"]);
        let mut right = whole.clone();
        right.rules = Some(rules);
        assert_eq!(aggregated(&right, all()), None);
        assert_eq!(aggregated(&parts[0], all()), None);
    }
}
