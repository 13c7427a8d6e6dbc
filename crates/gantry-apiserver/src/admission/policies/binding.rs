//! ValidatingAdmissionPolicyBinding: where a policy counts, with which parameters, and what comes of it.

use gantry_api::registry::Kind;
use gantry_api::selector::LabelSelector;
use gantry_store::Snapshot;
use serde_json::Value;

use super::super::matching::{Constraints, LabelsOf, selector, texts};
use crate::Lookup;

/// A binding.
pub(super) struct Binding {
    pub name: String,
    /// The policy's name.
    pub policy: String,
    pub constraints: Option<Constraints>,
    /// What is done about what does not hold, in the API's words.
    pub actions: Vec<String>,
    pub denies: bool,
    pub warns: bool,
    pub audits: bool,
    params: Option<Reference>,
}

/// Which parameters a binding is for.
struct Reference {
    name: String,
    namespace: String,
    selector: Option<Result<LabelSelector, String>>,
    /// Whether it is an error that there are none.
    required: bool,
}

impl Binding {
    pub fn read(object: &Value) -> Self {
        let spec = &object["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let actions = texts(&spec["validationActions"]);
        let acts = |action: &str| actions.iter().any(|each| each == action);
        let (denies, warns, audits) = (acts("Deny"), acts("Warn"), acts("Audit"));
        let reference = &spec["paramRef"];
        let params = reference.is_object().then(|| Reference {
            name: text(&reference["name"]),
            namespace: text(&reference["namespace"]),
            selector: reference["selector"].is_object().then(|| selector(&reference["selector"])),
            required: reference["parameterNotFoundAction"] == "Deny",
        });
        Self {
            name: text(&object["metadata"]["name"]),
            policy: text(&spec["policyName"]),
            constraints: spec["matchResources"]
                .is_object()
                .then(|| Constraints::read(&spec["matchResources"])),
            actions,
            denies,
            warns,
            audits,
            params,
        }
    }

    /// What metrics call the binding's most severe action.
    pub fn action(&self) -> &'static str {
        match (self.denies, self.warns) {
            (true, _) => "deny",
            (false, true) => "warn",
            (false, false) => "audit",
        }
    }

    /// The parameters of kind `kind`, for an object in `namespace`; one `None` where the policy has none.
    pub fn params(
        &self,
        kind: Option<&Kind>,
        namespace: &str,
        objects: &Snapshot,
    ) -> Result<Vec<Option<Value>>, String> {
        let (Some(kind), Some(reference)) = (kind, &self.params) else { return Ok(vec![None]) };
        let place = match (kind.namespaced, reference.namespace.as_str()) {
            (false, "") => "",
            (false, _) => {
                return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".into());
            }
            (true, "") if namespace.is_empty() => {
                return Err(
                    "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
                        .into(),
                );
            }
            (true, "") => namespace,
            (true, named) => named,
        };
        let (group, plural) = match kind.stored {
            Some(stored) => (stored.group, stored.plural),
            None => (&*kind.group, &*kind.plural),
        };
        let mut found = match (&reference.selector, reference.name.as_str()) {
            (None, "") => return Err("one of name or selector must be provided".into()),
            (None, name) => Vec::from_iter(Lookup::get(objects, group, plural, place, name)),
            (Some(_), name) if !name.is_empty() => {
                return Err("paramRef.name and paramRef.selector are mutually exclusive".into());
            }
            (Some(selector), _) => {
                let selector = selector.as_ref().map_err(Clone::clone)?;
                let mut all = objects.list(group, plural, place);
                all.retain(|object| selector.matches(&LabelsOf(object)));
                all
            }
        };
        if let Some(stored) = kind.stored {
            found.iter_mut().for_each(stored.unpack);
        }
        if found.is_empty() && reference.required {
            return Err("no params found for policy binding with `Deny` parameterNotFoundAction".into());
        }
        Ok(found.into_iter().map(Some).collect())
    }
}
