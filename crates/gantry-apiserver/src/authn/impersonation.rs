//! Impersonation: acting as somebody else, when RBAC lets one.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_api::selector::{is_dns_label, is_dns_subdomain};
use http::HeaderMap;
use percent_encoding::percent_decode_str;

use crate::{Attributes, User};

/// What the headers of a request ask for, and what the real user must be allowed for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Impersonation {
    /// Who the request is to be treated as from.
    pub user: User,
    /// `(group, resource, subresource, namespace, name)` of each `impersonate` that is needed.
    pub needed: Vec<(&'static str, &'static str, String, String, String)>,
}

impl Impersonation {
    /// The authorization questions, one for each thing impersonated.
    pub fn questions(&self, real: &User) -> impl Iterator<Item = Attributes> {
        self.needed.iter().map(|(group, resource, subresource, namespace, name)| Attributes {
            user: Arc::new(real.clone()),
            verb: "impersonate".into(),
            group: (*group).into(),
            // Users, groups and accounts are of no version.
            version: if group.is_empty() { "" } else { "v1" }.into(),
            resource: (*resource).into(),
            subresource: subresource.as_str().into(),
            namespace: namespace.as_str().into(),
            name: name.as_str().into(),
            is_resource: true,
            ..Attributes::default()
        })
    }
}

/// What a key of extra stands for: as it came, where an escape in it is none.
fn unescape(key: &str) -> String {
    let is_escape = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    match key.split('%').skip(1).all(is_escape) {
        true => percent_decode_str(key).decode_utf8_lossy().into_owned(),
        false => key.to_owned(),
    }
}

/// Reads the impersonation headers; `None`: there are none. The error is for groups, UID or extra
/// without a user, in upstream's words.
pub fn impersonate(headers: &HeaderMap) -> Result<Option<Impersonation>, String> {
    const AUTHENTICATION: &str = "authentication.k8s.io";
    if !headers.keys().any(|header| header.as_str().starts_with("impersonate-")) {
        return Ok(None);
    }
    let one = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
    let (name, uid) = (one("impersonate-user"), one("impersonate-uid"));
    let groups: Vec<String> = headers
        .get_all("impersonate-group")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .map(str::to_owned)
        .collect();
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (header, value) in headers {
        let Some(key) = header.as_str().strip_prefix("impersonate-extra-") else { continue };
        let key = unescape(key);
        if let Ok(value) = value.to_str() {
            extra.entry(key).or_default().push(value.to_owned());
        }
    }
    if name.is_empty() {
        let mut asked: Vec<String> = groups.iter().map(|group| format!("{{Group  {group}    }}")).collect();
        for (key, values) in &extra {
            let each =
                values.iter().map(|value| format!("{{UserExtra  {value}  {AUTHENTICATION}/v1  {key}}}"));
            asked.extend(each);
        }
        if !uid.is_empty() {
            asked.push(format!("{{UID  {uid}  {AUTHENTICATION}/v1  }}"));
        }
        return match asked.is_empty() {
            true => Ok(None),
            false => Err(format!("requested [{}] without impersonating a user", asked.join(" "))),
        };
    }
    let mut needed = Vec::new();
    let account = name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
    let account = account.filter(|(namespace, name)| is_dns_label(namespace) && is_dns_subdomain(name));
    let own_groups = match account {
        Some((namespace, account)) => {
            needed.push(("", "serviceaccounts", String::new(), namespace.to_owned(), account.to_owned()));
            vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")]
        }
        None => {
            needed.push(("", "users", String::new(), String::new(), name.clone()));
            Vec::new()
        }
    };
    for group in &groups {
        needed.push(("", "groups", String::new(), String::new(), group.clone()));
    }
    for (key, values) in &extra {
        for value in values {
            needed.push((AUTHENTICATION, "userextras", key.clone(), String::new(), value.clone()));
        }
    }
    if !uid.is_empty() {
        needed.push((AUTHENTICATION, "uids", String::new(), String::new(), uid.clone()));
    }
    let mut groups = if groups.is_empty() { own_groups } else { groups };
    let has = |wanted: &str| groups.iter().any(|group| group == wanted);
    let unauthenticated = has("system:unauthenticated");
    if name == "system:anonymous" && !unauthenticated {
        groups.push("system:unauthenticated".to_owned());
    } else if name != "system:anonymous" && !unauthenticated && !has("system:authenticated") {
        groups.push("system:authenticated".to_owned());
    }
    Ok(Some(Impersonation { user: User { name, uid, groups, extra }, needed }))
}
