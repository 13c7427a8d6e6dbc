//! Image names, pull policy and credentials.

use std::collections::BTreeMap;

use base64::Engine as _;
use gantry_cri::v1::AuthConfig;
use k8s_openapi::api::core::v1::Secret;

/// The image's name with `:latest` when it has neither tag nor digest; an error is the message of
/// `InvalidImageName`.
pub fn with_default_tag(image: &str) -> Result<String, String> {
    let invalid = || {
        format!(
            "Failed to apply default image tag {image:?}: couldn't parse image name {image:?}: invalid reference format"
        )
    };
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    let slash = name.rfind('/').map_or(0, |i| i + 1);
    let (repository, tag) = match name[slash..].rfind(':') {
        Some(colon) => (&name[..slash + colon], Some(&name[slash + colon + 1..])),
        None => (name, None),
    };
    let path_start = match repository.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host.len() + 1,
        _ => 0,
    };
    let path_ok = repository[path_start..].split('/').all(|part| {
        !part.is_empty()
            && part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && part.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c))
    });
    let tag_ok = tag.is_none_or(|t| {
        (1..=128).contains(&t.len())
            && !t.starts_with(['.', '-'])
            && t.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    });
    let digest_ok = digest.is_none_or(|d| {
        d.split_once(':')
            .is_some_and(|(a, h)| !a.is_empty() && h.len() >= 32 && h.chars().all(|c| c.is_ascii_hexdigit()))
    });
    if !(path_ok && tag_ok && digest_ok) {
        return Err(invalid());
    }
    Ok(if tag.is_none() && digest.is_none() { format!("{image}:latest") } else { image.to_string() })
}

/// What to do about an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is here and may be used.
    Use,
    /// Fetch it.
    Pull,
    /// It is not here and may not be fetched.
    Never,
}

/// By policy and presence; the policy defaults by the tag.
pub fn decide(policy: Option<&str>, image: &str, present: bool) -> Decision {
    let latest = image.ends_with(":latest") && !image.contains('@');
    match policy.unwrap_or(if latest { "Always" } else { "IfNotPresent" }) {
        "Always" => Decision::Pull,
        _ if present => Decision::Use,
        "Never" => Decision::Never,
        _ => Decision::Pull,
    }
}

/// The host a name is pulled from.
pub fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    }
}

/// The credentials for `image` among image pull secrets, the first that fits.
pub fn credentials<'a>(image: &str, secrets: impl Iterator<Item = &'a Secret>) -> Option<AuthConfig> {
    let host = registry(image);
    for secret in secrets {
        let data = secret.data.as_ref();
        let entries: Option<BTreeMap<String, gantry_json::Value>> = match secret.type_.as_deref() {
            Some("kubernetes.io/dockercfg") => {
                data.and_then(|d| d.get(".dockercfg")).and_then(|b| gantry_json::from_slice(&b.0).ok())
            }
            _ => data
                .and_then(|d| d.get(".dockerconfigjson"))
                .and_then(|b| gantry_json::from_slice::<gantry_json::Value>(&b.0).ok())
                .and_then(|v| gantry_json::from_value(v.get("auths")?.clone()).ok()),
        };
        for (server, entry) in entries.into_iter().flatten() {
            let trimmed = server.trim_start_matches("https://").trim_start_matches("http://");
            let server_host = trimmed.split('/').next().unwrap_or(trimmed);
            let docker = host == "docker.io" && server_host.ends_with("docker.io");
            if server_host != host && !docker {
                continue;
            }
            let text = |key: &str| entry.get(key).and_then(|v| v.as_str()).unwrap_or_default().to_string();
            let (mut username, mut password) = (text("username"), text("password"));
            if username.is_empty()
                && let Ok(plain) = base64::engine::general_purpose::STANDARD.decode(text("auth"))
                && let Some((user, pass)) = String::from_utf8_lossy(&plain).split_once(':')
            {
                (username, password) = (user.to_string(), pass.to_string());
            }
            return Some(AuthConfig {
                username,
                password,
                identity_token: text("identitytoken"),
                registry_token: text("registrytoken"),
                ..AuthConfig::default()
            });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (image, expect) in [
            ("nginx", Some("nginx:latest")),
            ("nginx:1.27", Some("nginx:1.27")),
            ("localhost:5000/a/b", Some("localhost:5000/a/b:latest")),
            ("reg.example.com/a:v1", Some("reg.example.com/a:v1")),
            ("Nginx", None),
            ("nginx:", None),
            ("", None),
            ("a//b", None),
            ("foo:bar:baz", None),
        ] {
            assert_eq!(with_default_tag(image).ok().as_deref(), expect, "{image}");
        }
    }

    #[test]
    fn policies() {
        for (policy, present, expect) in [
            (None, true, Decision::Use),
            (Some("Always"), true, Decision::Pull),
            (Some("IfNotPresent"), false, Decision::Pull),
            (Some("Never"), false, Decision::Never),
            (Some("Never"), true, Decision::Use),
        ] {
            assert_eq!(decide(policy, "x:1", present), expect, "{policy:?} {present}");
        }
    }
}
