//! Policies with their bindings, followed from the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_json::Value;

use super::base::Base;
use super::binding::Binding;
use crate::authz::feed::Index;

/// A sort of policies.
pub(super) trait Bound: Sized + Send + Sync + 'static {
    /// The prefix of the policies' keys.
    const POLICIES: &'static str;
    /// The prefix of their bindings' keys.
    const BINDINGS: &'static str;

    /// Compiles a policy.
    fn read(object: &Value) -> Self;

    /// What it has like policies of the other sort.
    fn base(&self) -> &Base;
}

/// A policy and what binds it.
type WithBindings<P> = (Arc<P>, Vec<Arc<Binding>>);

/// All policies and bindings of a sort.
pub(super) struct Policies<P> {
    policies: BTreeMap<String, Arc<P>>,
    bindings: BTreeMap<String, Arc<Binding>>,
    bound: Arc<[WithBindings<P>]>,
}

impl<P> Default for Policies<P> {
    fn default() -> Self {
        Self { policies: BTreeMap::new(), bindings: BTreeMap::new(), bound: Arc::new([]) }
    }
}

impl<P> Policies<P> {
    /// Whether no policy is bound.
    pub fn is_empty(&self) -> bool {
        self.bound.is_empty()
    }

    /// The policies that are bound, by name.
    pub fn bound(&self) -> Arc<[WithBindings<P>]> {
        self.bound.clone()
    }
}

impl<P: Bound> Index for Policies<P> {
    const PREFIXES: &'static [&'static str] = &[P::POLICIES, P::BINDINGS];

    fn apply(&mut self, key: &str, value: Option<&[u8]>) {
        let object: Option<Value> = value.map(|bytes| gantry_json::from_slice(bytes).unwrap_or_default());
        if let Some(name) = key.strip_prefix(P::POLICIES) {
            match object {
                // A change of the status changes nothing here.
                Some(object) if self.policies.get(name).is_some_and(|known| known.base().is_of(&object)) => {
                    return;
                }
                Some(object) => drop(self.policies.insert(name.to_owned(), Arc::new(P::read(&object)))),
                None => drop(self.policies.remove(name)),
            }
        } else if let Some(name) = key.strip_prefix(P::BINDINGS) {
            match object {
                Some(object) => drop(self.bindings.insert(name.to_owned(), Arc::new(Binding::read(&object)))),
                None => drop(self.bindings.remove(name)),
            }
        }
        let bound = self.policies.values().map(|policy| {
            let bindings = self.bindings.values().filter(|binding| binding.policy == policy.base().name);
            (policy.clone(), bindings.cloned().collect::<Vec<_>>())
        });
        self.bound = bound.filter(|(_, bindings)| !bindings.is_empty()).collect();
    }
}
