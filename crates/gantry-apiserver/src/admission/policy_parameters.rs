//! Nobody makes a policy tell what they may not read: looks at the parameters that policies and bindings name.

use std::sync::Arc;

use async_trait::async_trait;
use gantry_api::field::{FieldError, Path};
use gantry_api::status::ApiError;
use gantry_json::Value;
use gantry_store::Store;

use super::{Request, Turns, WaitingPlugin};
use crate::authz::Authorizer;
use crate::{Attributes, User, storage};

/// The group whose members may do anything.
const MASTERS: &str = "system:masters";
/// Any name, resource or version.
const ANY: &str = "*";

pub(super) struct PolicyParameters(pub(super) Arc<Authorizer>);

#[async_trait]
impl WaitingPlugin for PolicyParameters {
    fn name(&self) -> &'static str {
        "PolicyParameters"
    }

    fn turns(&self) -> Turns {
        Turns::validating(Turns::WRITES)
    }

    fn concerns(&self, request: &Request<'_>) -> bool {
        request.group == "admissionregistration.k8s.io"
            && request.subresource.is_empty()
            && request.resource.contains("admissionpolic")
    }

    async fn validate(&self, request: &mut Request<'_>, store: &Store) -> Result<(), ApiError> {
        if request.user.in_group(MASTERS) {
            return Ok(());
        }
        let (spec, old) = (&request.object["spec"], request.old.map(|old| &old["spec"]));
        let same = |field: &str| old.is_some_and(|old| old[field] == spec[field]);
        match request.resource {
            "validatingadmissionpolicies" | "mutatingadmissionpolicies" => {
                let kind = &spec["paramKind"];
                if !kind.is_object() || same("paramKind") || self.may(request, kind, ANY, ANY).await {
                    return Ok(());
                }
                let text = |field: &str| kind[field].as_str().unwrap_or_default();
                let words = format!(
                    "user {} must have \"get\" permission on all objects of the referenced paramKind (kind={}, \
                     apiVersion={})",
                    shown(request.user),
                    text("kind"),
                    text("apiVersion")
                );
                Err(refused(request, "paramKind", words))
            }
            _ => {
                let reference = &spec["paramRef"];
                if !reference.is_object() || (same("paramRef") && same("policyName")) {
                    return Ok(());
                }
                let text = |field: &str| reference[field].as_str().unwrap_or_default();
                let policies = request.resource.replace("policybindings", "policies");
                let name = spec["policyName"].as_str().unwrap_or_default();
                let key = storage::key(&storage::prefix(request.group, &policies), "", name);
                let policy =
                    store.snapshot().get(&key).map(|entry| gantry_json::from_slice::<Value>(&entry.value));
                let policy = policy.and_then(Result::ok).unwrap_or_default();
                let kind = &policy["spec"]["paramKind"];
                if self.may(request, kind, text("namespace"), text("name")).await {
                    return Ok(());
                }
                let words = format!(
                    "user {} does not have \"get\" permission on the object referenced by paramRef",
                    shown(request.user)
                );
                Err(refused(request, "paramRef", words))
            }
        }
    }
}

impl PolicyParameters {
    /// Whether who asks may read the objects of a kind; all kinds where that is not known.
    async fn may(&self, request: &Request<'_>, kind: &Value, namespace: &str, name: &str) -> bool {
        let text = |field: &str| kind[field].as_str();
        let (group, version) = match text("apiVersion") {
            None => (ANY, ANY),
            Some(version) => version.split_once('/').unwrap_or(("", version)),
        };
        let found = request.registry.by_gvk(group, version, text("kind").unwrap_or_default());
        let attributes = Attributes {
            user: request.user.clone().into(),
            verb: "get".into(),
            group: group.into(),
            version: version.into(),
            resource: found.map_or(ANY, |kind| &kind.plural).into(),
            namespace: namespace.into(),
            name: name.into(),
            is_resource: true,
            ..Attributes::default()
        };
        self.0.authorize(&attributes).await.is_allowed()
    }
}

fn refused(request: &Request<'_>, field: &str, words: String) -> ApiError {
    let error = FieldError::forbidden(&Path::new("spec").child(field), words);
    ApiError::invalid(request.group, &request.kind.kind, request.object_name(), &[error])
}

/// A user as upstream writes it.
fn shown(user: &User) -> String {
    let extra: Vec<_> =
        user.extra.iter().map(|(key, values)| format!("{key}:[{}]", values.join(" "))).collect();
    format!("&{{{} {} [{}] map[{}]}}", user.name, user.uid, user.groups.join(" "), extra.join(" "))
}
