//! Bindings by subject.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;

use super::RoleKey;
use crate::User;

/// A subject of a binding.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Subject {
    pub(super) kind: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) namespace: Option<String>,
}

/// How the index knows a subject; a service account is the user of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    User,
    Group,
}

/// What a subject is called.
struct Known<'a>(Kind, &'a str);

impl fmt::Display for Known<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let account = self.1.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
        match (self.0, account) {
            (Kind::User, Some((namespace, name))) => {
                write!(f, "ServiceAccount {:?}", format!("{name}/{namespace}"))
            }
            (Kind::User, None) => write!(f, "User {:?}", self.1),
            (Kind::Group, _) => write!(f, "Group {:?}", self.1),
        }
    }
}

/// One binding, as it concerns one subject.
pub(super) struct Binding {
    name: Box<str>,
    pub(super) role: RoleKey,
    /// Which binding of which role to which subject this is: what a request is allowed by. Every request's
    /// audit tells it, so it is said once.
    pub(super) reason: Box<str>,
}

impl Binding {
    /// The binding `name` of `role`, which is one of a namespace where that is given, to `subject`.
    fn new(namespace: Option<&str>, name: &str, role: &RoleKey, subject: &Known<'_>) -> Self {
        let (kind, place) = match namespace {
            None => ("ClusterRoleBinding", name.to_owned()),
            Some(namespace) => ("RoleBinding", format!("{name}/{namespace}")),
        };
        let role_kind = if role.0.is_none() { "ClusterRole" } else { "Role" };
        let reason = format!("RBAC: allowed by {kind} {place:?} of {role_kind} {:?} to {subject}", role.1);
        Self { name: name.into(), role: role.clone(), reason: reason.into() }
    }
}

#[derive(Default)]
struct BoundTo {
    cluster: Vec<Binding>,
    namespaces: HashMap<Box<str>, Vec<Binding>>,
}

type Names = HashMap<Box<str>, BoundTo>;

/// All bindings.
#[derive(Default)]
pub(super) struct Bindings {
    users: Names,
    groups: Names,
    /// Which subjects a binding was entered under, to take it out again.
    entered: HashMap<RoleKey, Vec<(Kind, Box<str>)>>,
}

impl Bindings {
    /// Takes in a binding as it is now; `None`: it is gone.
    pub(super) fn set(
        &mut self,
        namespace: Option<&str>,
        name: &str,
        binding: Option<(RoleKey, Vec<Subject>)>,
    ) {
        let key: RoleKey = (namespace.map(Into::into), name.into());
        for (kind, subject) in self.entered.remove(&key).unwrap_or_default() {
            self.take_out(kind, &subject, &key);
        }
        let Some((role, subjects)) = binding else { return };
        let mut entered = Vec::new();
        for subject in subjects {
            let (kind, subject): (Kind, Box<str>) = match subject.kind.as_str() {
                "User" => (Kind::User, subject.name.into()),
                "Group" => (Kind::Group, subject.name.into()),
                "ServiceAccount" => {
                    let Some(home) = subject.namespace.as_deref().or(namespace) else { continue };
                    (Kind::User, format!("system:serviceaccount:{home}:{}", subject.name).into())
                }
                _ => continue,
            };
            let bound = self.names(kind).entry(subject.clone()).or_default();
            let list = match namespace {
                None => &mut bound.cluster,
                Some(namespace) => bound.namespaces.entry(namespace.into()).or_default(),
            };
            list.push(Binding::new(namespace, name, &role, &Known(kind, &subject)));
            entered.push((kind, subject));
        }
        self.entered.insert(key, entered);
    }

    fn names(&mut self, kind: Kind) -> &mut Names {
        match kind {
            Kind::User => &mut self.users,
            Kind::Group => &mut self.groups,
        }
    }

    fn take_out(&mut self, kind: Kind, subject: &str, key: &RoleKey) {
        let Some(bound) = self.names(kind).get_mut(subject) else { return };
        match &key.0 {
            None => bound.cluster.retain(|binding| binding.name != key.1),
            Some(namespace) => {
                if let Some(list) = bound.namespaces.get_mut(namespace) {
                    list.retain(|binding| binding.name != key.1);
                    if list.is_empty() {
                        bound.namespaces.remove(namespace);
                    }
                }
            }
        }
        if bound.cluster.is_empty() && bound.namespaces.is_empty() {
            self.names(kind).remove(subject);
        }
    }

    /// Calls `visit` with each binding that applies to `user` in `namespace`, cluster-wide ones first,
    /// until it returns something.
    pub(super) fn of_user<'a, T>(
        &'a self,
        user: &User,
        namespace: &str,
        visit: impl FnMut(&'a Binding) -> Option<T>,
    ) -> Option<T> {
        let groups = user.groups.iter().filter_map(|group| self.groups.get(group.as_str()));
        let bound = self.users.get(user.name.as_str()).into_iter().chain(groups);
        let in_namespace = |bound: &'a BoundTo| match namespace {
            "" => None,
            namespace => bound.namespaces.get(namespace),
        };
        let cluster = bound.clone().flat_map(|bound| &bound.cluster);
        cluster.chain(bound.filter_map(in_namespace).flatten()).find_map(visit)
    }
}
