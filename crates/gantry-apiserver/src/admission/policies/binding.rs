//! ValidatingAdmissionPolicyBinding: where a policy counts, with which parameters, and what comes of it.

use gantry_api::registry::Kind;
use gantry_api::selector::LabelSelector;
use gantry_json::Value;
use gantry_store::Snapshot;

use super::super::matching::{Constraints, LabelsOf, selector, texts};
use crate::custom_resources::Converter;
use crate::storage;

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

    /// The parameters of kind `kind`, as it shows them, for an object in `namespace`; one `None` where the policy
    /// has none. Those of a custom kind are converted by `converter`.
    pub async fn params(
        &self,
        kind: Option<&Kind>,
        namespace: &str,
        objects: &Snapshot,
        converter: Option<&Converter>,
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
        let prefix = storage::prefix_of(kind);
        let entries = match (&reference.selector, reference.name.as_str()) {
            (None, "") => return Err("one of name or selector must be provided".into()),
            (None, name) => Vec::from_iter(objects.get(&storage::key(&prefix, place, name)).cloned()),
            (Some(_), name) if !name.is_empty() => {
                return Err("paramRef.name and paramRef.selector are mutually exclusive".into());
            }
            (Some(_), _) => objects.range(&storage::key(&prefix, place, ""), None).cloned().collect(),
        };
        let entries = match converter {
            Some(converter) => converter.entries(kind, entries).await.map_err(|error| error.message)?,
            None => entries,
        };
        let objects = entries.iter().map(|entry| gantry_json::from_slice(&entry.value).unwrap_or_default());
        let mut found: Vec<Value> = objects.collect();
        if let Some(selector) = &reference.selector {
            let selector = selector.as_ref().map_err(Clone::clone)?;
            found.retain(|object| selector.matches(&LabelsOf(object)));
        }
        if let Some(stored) = kind.stored {
            found.iter_mut().for_each(stored.unpack);
        }
        if found.is_empty() && reference.required {
            return Err("no params found for policy binding with `Deny` parameterNotFoundAction".into());
        }
        Ok(found.into_iter().map(Some).collect())
    }
}
