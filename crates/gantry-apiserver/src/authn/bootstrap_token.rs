//! Bootstrap tokens: `ID.SECRET`, kept in Secrets `bootstrap-token-ID` of kube-system, with which a
//! machine joins before it has a certificate.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::Unauthorized;
use crate::User;
use crate::lookup::Lookup;

/// The two parts of a bootstrap token; `None`: it is another kind of token.
pub(super) fn split(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    (id.len() == 6 && secret.len() == 16 && plain(id) && plain(secret)).then_some((id, secret))
}

pub(super) fn user(id: &str, secret: &str, objects: &dyn Lookup, now: i64) -> Result<User, Unauthorized> {
    let refuse = |why: &str| Unauthorized(format!("bootstrap token {id}: {why}"));
    let object = objects
        .get("", "secrets", "kube-system", &format!("bootstrap-token-{id}"))
        .ok_or_else(|| refuse("unknown"))?;
    let data = |key: &str| -> String {
        let text = object["data"][key].as_str().unwrap_or_default();
        STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
    };
    if object.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null()) {
        return Err(refuse("being deleted"));
    }
    if object["type"] != "bootstrap.kubernetes.io/token" || data("token-id") != id {
        return Err(refuse("the secret is of another type or for another token"));
    }
    if !same(data("token-secret").as_bytes(), secret.as_bytes()) {
        return Err(refuse("wrong secret"));
    }
    let expiration = data("expiration");
    if !expiration.is_empty() {
        let end: Timestamp = expiration.parse().map_err(|_| refuse("its expiration cannot be read"))?;
        if end.as_second() <= now {
            return Err(refuse("expired"));
        }
    }
    if data("usage-bootstrap-authentication") != "true" {
        return Err(refuse("not for authentication"));
    }
    let mut groups = vec!["system:bootstrappers".to_owned()];
    for group in data("auth-extra-groups").split(',').map(str::trim).filter(|group| !group.is_empty()) {
        if !group.starts_with("system:bootstrappers:") {
            return Err(refuse("an extra group is not below system:bootstrappers"));
        }
        groups.push(group.to_owned());
    }
    Ok(User { name: format!("system:bootstrap:{id}"), groups, ..User::default() })
}

/// Compares without telling by its time how much is right.
fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
}
