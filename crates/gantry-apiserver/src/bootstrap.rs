//! What every cluster starts with: namespaces, default roles and bindings, priority classes, and the
//! `kubernetes` Service. All of it is data made here; the server writes it through its own pipeline and
//! puts it right again at every start. Some of it is also put back when somebody removes it.

mod authentication;
mod flow_control;
mod flow_upkeep;
mod kubernetes;
mod policy;
mod run;
mod token_tracking;

pub use authentication::{AUTHENTICATION_KEY, authentication_config, reconcile_authentication};
pub use flow_control::{flow_schemas, priority_levels};
pub use flow_upkeep::{Upkeep, flow_upkeep};
use gantry_json::{Value, json};
pub use kubernetes::{kubernetes_endpoint_slice, kubernetes_endpoints, kubernetes_service, service_address};
pub use policy::{bindings, cluster_role_rules, reconcile_binding, reconcile_role, roles};
pub(crate) use run::put;
pub use run::{Api, BootstrapError, Kept, ensure, keep_authentication, kept};
pub use token_tracking::{reconcile_token_tracking, token_tracking};

/// The namespaces that cannot be deleted, and `kube-node-lease`.
pub const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

/// The namespaces as objects.
pub fn namespaces() -> Vec<Value> {
    let object = |name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    NAMESPACES.map(object).into()
}

/// The priority classes for what the cluster itself runs.
pub fn priority_classes() -> Vec<Value> {
    let object = |name: &str, value: i32, what: &str| {
        json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
            "value": value, "preemptionPolicy": "PreemptLowerPriority", "description": what,
        })
    };
    vec![
        object(
            "system-cluster-critical",
            2_000_000_000,
            "For what must run in the cluster, on whichever node.",
        ),
        object(
            "system-node-critical",
            2_000_001_000,
            "For what must run on a node and cannot move to another.",
        ),
    ]
}
