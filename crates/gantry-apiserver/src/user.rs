//! Who makes a request.

use std::collections::BTreeMap;
use std::sync::Arc;

/// An authenticated identity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// The name that RBAC subjects of kind User refer to.
    pub name: String,
    /// A stable identifier, where the authenticator knows one.
    pub uid: String,
    /// The groups the user is in, `system:authenticated` among them.
    pub groups: Vec<String>,
    /// Further facts from the authenticator, such as the pod a token is bound to.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A user with these `groups` and `system:authenticated`.
    pub fn new<'a>(name: impl Into<String>, groups: impl IntoIterator<Item = &'a str>) -> Self {
        let mut groups: Vec<String> = groups.into_iter().map(str::to_owned).collect();
        groups.push("system:authenticated".to_owned());
        Self { name: name.into(), groups, ..Self::default() }
    }

    /// The server itself, where it makes requests of its own.
    pub(crate) fn apiserver() -> Arc<Self> {
        Arc::new(Self::new("system:apiserver", ["system:masters"]))
    }

    /// The user of requests without credentials.
    pub fn anonymous() -> Self {
        let groups = vec!["system:unauthenticated".to_owned()];
        Self { name: "system:anonymous".to_owned(), groups, ..Self::default() }
    }

    /// Whether the user is in `group`.
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|each| each == group)
    }
}
