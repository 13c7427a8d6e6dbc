//! What policies of both sorts have: what they are for, parameters, conditions and variables.

use std::sync::Arc;

use gantry_api::registry::{Kind, Registry};
use gantry_cel::{Composition, Environment};
use gantry_json::Value;
use gantry_store::Snapshot;

use super::super::Request;
use super::super::expression::{Conditions, environment};
use super::super::matching::Constraints;
use super::binding::Binding;
use super::list;

/// What metrics call it where there is no error.
pub(super) const NO_ERROR: &str = "no_error";

/// The part of a policy that does not depend on its sort.
pub(super) struct Base {
    pub name: String,
    pub constraints: Constraints,
    /// Whether a failure counts as consent.
    pub fails_open: bool,
    pub conditions: Conditions,
    pub composition: Composition,
    /// API version and kind of its parameters.
    params: Option<(String, String)>,
    /// What it was made from.
    spec: Value,
}

/// What of a policy and its bindings is for a request.
#[derive(Default)]
pub(super) struct Met {
    /// The kind that the request is met as; `None`: the policy is not for it.
    pub kind: Option<Arc<Kind>>,
    /// The bindings that it meets, with their parameters: `None` where the policy has none.
    pub uses: Vec<(Arc<Binding>, Vec<Option<Value>>)>,
    /// What is wrong with the policy or with one of its bindings.
    pub faults: Vec<(Option<String>, String)>,
}

/// The composed variables of a policy's spec.
pub(super) fn compose(spec: &Value, environment: &Environment) -> Composition {
    let mut composition = Composition::new();
    for variable in list(&spec["variables"]) {
        let text = |field: &str| variable[field].as_str().unwrap_or_default();
        // One that cannot be compiled is not there; who names it says so.
        let _ = composition.add(environment, text("name"), text("expression"));
    }
    composition
}

impl Base {
    /// Reads a policy; gives also what its expressions may name.
    pub fn read(object: &Value) -> (Self, Environment) {
        let spec = &object["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let params = spec["paramKind"]
            .is_object()
            .then(|| (text(&spec["paramKind"]["apiVersion"]), text(&spec["paramKind"]["kind"])));
        let base = environment(params.is_some());
        let composition = compose(spec, &base);
        let names = composition.environment(&base);
        let policy = Self {
            name: text(&object["metadata"]["name"]),
            constraints: Constraints::read(&spec["matchConstraints"]),
            fails_open: spec["failurePolicy"] == "Ignore",
            conditions: Conditions::read(&spec["matchConditions"], &names),
            composition,
            params,
            spec: spec.clone(),
        };
        (policy, names)
    }

    /// Whether it was made from the spec that `object` has.
    pub fn is_of(&self, object: &Value) -> bool {
        object["spec"] == self.spec
    }

    /// The kind of its parameters, where it has some.
    fn params_kind(&self, registry: &Registry) -> Result<Option<Arc<Kind>>, String> {
        let Some((api_version, kind)) = &self.params else { return Ok(None) };
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let found = registry.by_gvk(group, version, kind).cloned();
        found.map(Some).ok_or_else(|| {
            format!("failed to find resource referenced by paramKind: '{api_version}, Kind={kind}'")
        })
    }

    /// What of the policy and `bindings` is for `request`.
    pub async fn meet(&self, bindings: &[Arc<Binding>], request: &Request<'_>, objects: &Snapshot) -> Met {
        let mut met = Met::default();
        let kind = match self.constraints.met(request, objects) {
            Ok(Some(kind)) => kind,
            Ok(None) => return met,
            Err(error) => {
                met.faults.push((None, error.message));
                return met;
            }
        };
        let params_kind = match self.params_kind(request.registry) {
            Ok(kind) => kind,
            Err(why) => {
                met.faults.push((None, why));
                return met;
            }
        };
        met.kind = Some(kind);
        for binding in bindings {
            let here = match &binding.constraints {
                None => Ok(true),
                Some(constraints) => constraints.met(request, objects).map(|met| met.is_some()),
            };
            let params = match here {
                Ok(false) => continue,
                Ok(true) => {
                    let (kind, converter) = (params_kind.as_deref(), request.converter);
                    binding.params(kind, request.namespace, objects, converter).await
                }
                Err(error) => Err(error.message),
            };
            match params {
                Ok(params) => met.uses.push((binding.clone(), params)),
                Err(why) => met.faults.push((Some(binding.name.clone()), why)),
            }
        }
        met
    }
}

/// The message for something wrong with the policy or with one of its bindings.
pub(super) fn misconfigured(binding: Option<&str>, why: &str) -> String {
    format!("failed to configure {}: {why}", if binding.is_some() { "binding" } else { "policy" })
}

/// What metrics call an error.
pub(super) fn error_type(message: &str) -> &'static str {
    if message.starts_with("compilation") {
        "compile_error"
    } else if message.starts_with("validation failed due to running out of cost budget") {
        "out_of_budget"
    } else {
        "invalid_error"
    }
}
