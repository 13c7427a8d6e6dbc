//! How the server shows itself to admission webhooks: a kubeconfig whose users are named like the webhooks'
//! servers, or like a part of their names with a star.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::kubeconfig::{self, KubeconfigError, User};

/// Users by the name of the server that they are shown to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Credentials(HashMap<String, Arc<User>>);

impl Credentials {
    /// The users of the kubeconfig at `path`.
    pub fn from_kubeconfig(path: &Path) -> Result<Self, KubeconfigError> {
        let users = kubeconfig::users(path)?.into_iter();
        Ok(Self(users.map(|(name, user)| (name, Arc::new(user))).collect()))
    }

    /// The user for `target`, a host and a port: by the whole name, by a name whose first parts are a star,
    /// and both again without the port that HTTPS has anyway.
    pub fn of(&self, target: &str) -> Option<&Arc<User>> {
        if self.0.is_empty() {
            return None;
        }
        let named = |target: &str| {
            let below = target.match_indices('.').map(|(at, _)| format!("*{}", &target[at..]));
            let mut names = std::iter::once(target.to_owned()).chain(below);
            names.find_map(|name| self.0.get(&name))
        };
        named(target).or_else(|| named(target.strip_suffix(":443")?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_the_servers_name() {
        let user = |name: &str| {
            let user = User { token: Some(name.to_owned()), ..User::default() };
            (name.to_owned(), Arc::new(user))
        };
        let names = ["hook.shop.svc", "*.shop.svc:8443", "*.example.com", "a.example.com:443"];
        let credentials = Credentials(names.into_iter().map(user).collect());
        let check = |target: &str, expect: Option<&str>| {
            let found = credentials.of(target).and_then(|user| user.token.as_deref());
            assert_eq!(found, expect, "{target}");
        };
        check("hook.shop.svc:443", Some("hook.shop.svc"));
        check("hook.shop.svc:8443", Some("*.shop.svc:8443"));
        check("other.shop.svc:443", None);
        check("x.y.example.com:443", Some("*.example.com"));
        check("a.example.com:443", Some("a.example.com:443"));
        check("example.com:443", None);
    }
}
