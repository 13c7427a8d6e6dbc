//! Policies with their bindings, followed from the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::binding::Binding;
use super::policy::Policy;
use crate::authz::feed::Index;

const POLICIES: &str = "/registry/admissionregistration.k8s.io/validatingadmissionpolicies/";
const BINDINGS: &str = "/registry/admissionregistration.k8s.io/validatingadmissionpolicybindings/";

/// A policy and what binds it.
pub(super) type Bound = (Arc<Policy>, Vec<Arc<Binding>>);

/// All policies and bindings.
#[derive(Default)]
pub(super) struct Policies {
    policies: BTreeMap<String, Arc<Policy>>,
    bindings: BTreeMap<String, Arc<Binding>>,
    bound: Arc<[Bound]>,
}

impl Policies {
    /// Whether no policy is bound.
    pub fn is_empty(&self) -> bool {
        self.bound.is_empty()
    }

    /// The policies that are bound, by name.
    pub fn bound(&self) -> Arc<[Bound]> {
        self.bound.clone()
    }
}

impl Index for Policies {
    const PREFIXES: &'static [&'static str] = &[POLICIES, BINDINGS];

    fn apply(&mut self, key: &str, value: Option<&[u8]>) {
        let object: Option<Value> = value.map(|bytes| serde_json::from_slice(bytes).unwrap_or_default());
        if let Some(name) = key.strip_prefix(POLICIES) {
            match object {
                // A change of the status changes nothing here.
                Some(object) if self.policies.get(name).is_some_and(|known| known.is_of(&object)) => return,
                Some(object) => drop(self.policies.insert(name.to_owned(), Arc::new(Policy::read(&object)))),
                None => drop(self.policies.remove(name)),
            }
        } else if let Some(name) = key.strip_prefix(BINDINGS) {
            match object {
                Some(object) => drop(self.bindings.insert(name.to_owned(), Arc::new(Binding::read(&object)))),
                None => drop(self.bindings.remove(name)),
            }
        }
        let bound = self.policies.values().map(|policy| {
            let bindings = self.bindings.values().filter(|binding| binding.policy == policy.name);
            (policy.clone(), bindings.cloned().collect::<Vec<_>>())
        });
        self.bound = bound.filter(|(_, bindings)| !bindings.is_empty()).collect();
    }
}
