//! Role-based access control: roles and bindings as an index by subject.
//!
//! A request's subjects are its user name and its groups. Each leads to the roles bound to it, in the
//! whole cluster or in one namespace; each role has its rules sorted by group and resource, so that a
//! decision compares few of them. Aggregated cluster roles are put together here as well, so that they
//! are right before any controller has run.

mod role;
mod subjects;

use std::collections::BTreeSet;
use std::sync::Arc;

use hashbrown::HashMap;
use serde::Deserialize;

use super::feed::Index;
use super::{Decision, Rule};
use crate::{Attributes, User};
use role::{Role, RoleObject};
use subjects::{Bindings, Subject};

/// A role by its place: no namespace for a cluster role.
type RoleKey = (Option<Box<str>>, Box<str>);

/// All roles and bindings.
#[derive(Default)]
pub struct Rbac {
    roles: HashMap<RoleKey, Arc<Role>>,
    aggregation: role::Aggregation,
    bindings: Bindings,
}

impl Rbac {
    /// Decides on one request.
    pub fn authorize(&self, attributes: &Attributes) -> Decision {
        let joined;
        let resource = if attributes.subresource.is_empty() {
            attributes.resource.as_str()
        } else {
            joined = format!("{}/{}", attributes.resource, attributes.subresource);
            &joined
        };
        let mut missing = BTreeSet::new();
        let allowed = self.bindings.of_user(&attributes.user, &attributes.namespace, |binding| {
            match self.roles.get(&binding.role) {
                Some(role) if role.allows(attributes, resource) => Some(&*binding.reason),
                Some(_) => None,
                None => {
                    missing.insert(&binding.role);
                    None
                }
            }
        });
        match allowed {
            Some(reason) => Decision::Allow(reason.to_owned()),
            None => Decision::NoOpinion(missing_roles(&missing)),
        }
    }

    /// The rules that apply to `user` in `namespace` (empty: in the whole cluster).
    pub fn rules_of(&self, user: &User, namespace: &str) -> Vec<&Rule> {
        let mut rules = Vec::new();
        self.bindings.of_user(user, namespace, |binding| {
            rules.extend(self.roles.get(&binding.role).into_iter().flat_map(|role| &role.rules));
            None::<()>
        });
        rules
    }

    /// The rules of a role; `None`: there is no such role.
    pub fn role_rules(&self, namespace: Option<&str>, name: &str) -> Option<&[Rule]> {
        self.roles.get(&(namespace.map(Into::into), name.into())).map(|role| &*role.rules)
    }

    fn set_role(&mut self, key: RoleKey, rules: Option<Vec<Rule>>) {
        match rules {
            Some(rules) => self.roles.insert(key, Arc::new(Role::new(rules))),
            None => self.roles.remove(&key),
        };
    }

    fn set_binding(&mut self, namespace: Option<&str>, name: &str, object: Option<BindingObject>) {
        let binding = object.map(|object| {
            let place = namespace.filter(|_| object.role_ref.kind == "Role").map(Into::into);
            ((place, object.role_ref.name), object.subjects.unwrap_or_default())
        });
        self.bindings.set(namespace, name, binding);
    }

    /// Takes in an object under its key in the store; `None`: it is gone.
    pub fn apply(&mut self, key: &str, value: Option<&[u8]>) {
        if let Some((namespace, name)) = key.strip_prefix(ROLES).and_then(|place| place.split_once('/')) {
            let object: Option<RoleObject> = parse(key, value);
            self.set_role((Some(namespace.into()), name.into()), object.map(RoleObject::into_rules));
        } else if let Some(name) = key.strip_prefix(CLUSTER_ROLES) {
            for (name, rules) in self.aggregation.set(name, parse(key, value)) {
                self.set_role((None, name), rules);
            }
        } else if let Some((namespace, name)) =
            key.strip_prefix(ROLE_BINDINGS).and_then(|place| place.split_once('/'))
        {
            self.set_binding(Some(namespace), name, parse(key, value));
        } else if let Some(name) = key.strip_prefix(CLUSTER_ROLE_BINDINGS) {
            self.set_binding(None, name, parse(key, value));
        }
    }
}

fn missing_roles(missing: &BTreeSet<&RoleKey>) -> String {
    let texts = missing.iter().map(|(namespace, name)| {
        let kind = if namespace.is_none() { "clusterrole" } else { "role" };
        format!("{kind}.rbac.authorization.k8s.io {name:?} not found")
    });
    let texts: Vec<_> = texts.collect();
    match texts.as_slice() {
        [] => String::new(),
        [one] => format!("RBAC: {one}"),
        many => format!("RBAC: [{}]", many.join(", ")),
    }
}

/// [`Rbac`] fed from the store.
#[derive(Default)]
pub(super) struct RbacIndex {
    pub(super) rbac: Rbac,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BindingObject {
    role_ref: RoleRef,
    #[serde(default)]
    subjects: Option<Vec<Subject>>,
}

#[derive(Deserialize)]
struct RoleRef {
    kind: String,
    name: Box<str>,
}

const ROLES: &str = "/registry/rbac.authorization.k8s.io/roles/";
const CLUSTER_ROLES: &str = "/registry/rbac.authorization.k8s.io/clusterroles/";
const ROLE_BINDINGS: &str = "/registry/rbac.authorization.k8s.io/rolebindings/";
const CLUSTER_ROLE_BINDINGS: &str = "/registry/rbac.authorization.k8s.io/clusterrolebindings/";

impl Index for RbacIndex {
    const PREFIXES: &'static [&'static str] = &[ROLES, CLUSTER_ROLES, ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS];

    fn apply(&mut self, key: &str, value: Option<&[u8]>) {
        self.rbac.apply(key, value);
    }
}

fn parse<T: for<'de> Deserialize<'de>>(key: &str, value: Option<&[u8]>) -> Option<T> {
    value.and_then(|value| match gantry_json::from_slice(value) {
        Ok(object) => Some(object),
        Err(error) => {
            tracing::error!(key, %error, "an RBAC object in the store cannot be read; it grants nothing");
            None
        }
    })
}

#[cfg(test)]
mod tests;
