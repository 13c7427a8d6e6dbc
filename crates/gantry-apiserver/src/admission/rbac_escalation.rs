//! Nobody grants rights that they do not have: looks at every write of a role or a binding.

use std::sync::Arc;

use async_trait::async_trait;
use gantry_api::status::ApiError;
use gantry_json::Value;
use gantry_store::Store;

use super::{Request, Turns, WaitingPlugin, text};
use crate::authz::{self, Authorizer, Rule};

pub(super) struct RbacEscalation(pub(super) Arc<Authorizer>);

#[async_trait]
impl WaitingPlugin for RbacEscalation {
    fn name(&self) -> &'static str {
        "RBACEscalation"
    }

    fn turns(&self) -> Turns {
        Turns::validating(Turns::WRITES)
    }

    fn concerns(&self, request: &Request<'_>) -> bool {
        request.group == "rbac.authorization.k8s.io" && request.subresource.is_empty()
    }

    async fn validate(&self, request: &mut Request<'_>, _: &Store) -> Result<(), ApiError> {
        let namespace = request.namespace;
        let result = match request.resource {
            "roles" | "clusterroles" => {
                if same(request, &["rules", "aggregationRule"]) {
                    return Ok(());
                }
                let mut rules: Vec<Rule> =
                    gantry_json::from_value(request.object["rules"].clone()).unwrap_or_default();
                if request.object["aggregationRule"].is_object() {
                    // Whoever labels a cluster role adds to this one: only who has everything may ask for it.
                    let star = || vec!["*".to_owned()];
                    let (verbs, api_groups, resources) = (star(), star(), star());
                    rules.push(Rule { verbs, api_groups, resources, ..Rule::default() });
                    rules.push(Rule { verbs: star(), non_resource_urls: star(), ..Rule::default() });
                }
                authz::check_role_write(&self.0, request.user, namespace, request.object_name(), &rules).await
            }
            "rolebindings" | "clusterrolebindings" => {
                if same(request, &["subjects", "roleRef"]) {
                    return Ok(());
                }
                let (kind, name) = (request.text("/roleRef/kind"), request.text("/roleRef/name"));
                authz::check_binding_write(&self.0, request.user, namespace, kind, name).await
            }
            _ => Ok(()),
        };
        result.map_err(|why| match why.strip_suffix(" not found") {
            Some(_) => {
                let resource = if text(&request.object, "/roleRef/kind") == "ClusterRole" {
                    "clusterroles"
                } else {
                    "roles"
                };
                ApiError::not_found(request.group, resource, request.text("/roleRef/name"))
            }
            None => request.forbidden(why),
        })
    }
}

/// Whether an update leaves `fields` as they are.
fn same(request: &Request<'_>, fields: &[&str]) -> bool {
    let empty = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    request.old.is_some_and(|old| {
        fields.iter().all(|field| {
            let (before, after) = (&old[*field], &request.object[*field]);
            before == after || (empty(before) && empty(after))
        })
    })
}
