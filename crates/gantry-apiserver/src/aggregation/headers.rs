//! How the server of an aggregated API is told who asks: the headers of a front proxy.

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::User;

const USER: HeaderName = HeaderName::from_static("x-remote-user");
const UID: HeaderName = HeaderName::from_static("x-remote-uid");
const GROUP: HeaderName = HeaderName::from_static("x-remote-group");
const EXTRA: &str = "x-remote-extra-";

/// What the name of a header cannot have in it (RFC 9110, section 5.6.2), and the percent sign.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'%')
    .add(b'(')
    .add(b')')
    .add(b',')
    .add(b'/')
    .add(b':')
    .add(b';')
    .add(b'<')
    .add(b'=')
    .add(b'>')
    .add(b'?')
    .add(b'@')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'{')
    .add(b'}');

/// Removes what says who asks: credentials, impersonation, and what a client could have put in the
/// place of what [`identify`] says.
pub(crate) fn forget(headers: &mut HeaderMap) {
    headers.remove(header::AUTHORIZATION);
    let said = |name: &HeaderName| {
        let name = name.as_str();
        name.starts_with("x-remote-") || name.starts_with("impersonate-")
    };
    let names: Vec<HeaderName> = headers.keys().filter(|name| said(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// Says that `user` asks. The error is for what no header can say.
pub(crate) fn identify(headers: &mut HeaderMap, user: &User) -> Result<(), http::Error> {
    forget(headers);
    headers.insert(USER, HeaderValue::from_bytes(user.name.as_bytes())?);
    if !user.uid.is_empty() {
        headers.insert(UID, HeaderValue::from_bytes(user.uid.as_bytes())?);
    }
    for group in &user.groups {
        headers.append(GROUP, HeaderValue::from_bytes(group.as_bytes())?);
    }
    for (key, values) in &user.extra {
        let name = format!("{EXTRA}{}", utf8_percent_encode(key, ESCAPED).to_string().to_lowercase());
        let name = HeaderName::from_bytes(name.as_bytes())?;
        for value in values {
            headers.append(name.clone(), HeaderValue::from_bytes(value.as_bytes())?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_server_says_who_asks() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer x"),
            ("x-remote-user", "root"),
            ("x-remote-group", "system:masters"),
            ("x-remote-extra-scopes", "all"),
            ("impersonate-user", "bob"),
            ("accept", "application/json"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let mut user = User::new("jane", ["dev"]);
        user.extra.insert("example.com/Scopes".into(), vec!["a".into(), "b".into()]);
        identify(&mut headers, &user).unwrap();
        let mut got: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        got.sort();
        assert_eq!(
            got,
            [
                "accept: application/json",
                "x-remote-extra-example.com%2fscopes: a",
                "x-remote-extra-example.com%2fscopes: b",
                "x-remote-group: dev",
                "x-remote-group: system:authenticated",
                "x-remote-user: jane",
            ]
        );
        assert!(identify(&mut headers, &User::new("a\nb", [])).is_err());
    }
}
