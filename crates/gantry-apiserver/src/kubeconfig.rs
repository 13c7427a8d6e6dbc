//! A kubeconfig as the description of a remote server: where it is, whom to trust, how to show oneself.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::InvalidHeaderValue;
use serde_yaml_ng::Value;

use crate::Identity;

/// Why a kubeconfig is no description of a server.
#[derive(Debug, thiserror::Error)]
#[error("kubeconfig {path}: {cause}")]
pub struct KubeconfigError {
    path: String,
    cause: String,
}

/// A remote server.
#[derive(Debug, Clone, Default)]
pub struct Endpoint {
    /// The address that requests are sent to.
    pub url: String,
    /// The authorities of its certificate, in PEM; `None`: those that this machine trusts.
    pub ca: Option<String>,
    /// Whether it may be anybody.
    pub insecure: bool,
    /// The name in its certificate, where it is not the address'.
    pub server_name: Option<String>,
    /// The certificate that is shown to it.
    pub identity: Option<Identity>,
    /// A bearer token.
    pub token: Option<String>,
    /// A user with a password.
    pub basic: Option<(String, String)>,
}

impl Endpoint {
    /// The server that the current context of the kubeconfig at `path` names.
    pub fn from_kubeconfig(path: &Path) -> Result<Self, KubeconfigError> {
        let wrong = |cause: String| KubeconfigError { path: path.display().to_string(), cause };
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        Self::parse(&text, path.parent().unwrap_or(Path::new("/"))).map_err(wrong)
    }

    /// The server that the current context of `text` names; relative paths are below `directory`.
    fn parse(text: &str, directory: &Path) -> Result<Self, String> {
        let config: Value = serde_yaml_ng::from_str(text).map_err(|error| error.to_string())?;
        let context = entry(&config, "contexts", "context", config["current-context"].as_str());
        let cluster = entry(&config, "clusters", "cluster", context["cluster"].as_str());
        let user = entry(&config, "users", "user", context["user"].as_str());
        let user = User::read(user, directory)?;
        let url = cluster["server"].as_str().filter(|url| !url.is_empty()).ok_or("no server")?;
        Ok(Self {
            url: url.to_owned(),
            ca: pem(cluster, "certificate-authority", directory)?,
            insecure: cluster["insecure-skip-tls-verify"].as_bool() == Some(true),
            server_name: cluster["tls-server-name"].as_str().map(str::to_owned),
            identity: user.identity,
            token: user.token,
            basic: user.basic,
        })
    }
}

/// How the server shows itself to another.
#[derive(Debug, Clone, Default)]
pub(crate) struct User {
    /// The certificate that is shown.
    pub identity: Option<Identity>,
    /// A bearer token.
    pub token: Option<String>,
    /// A user with a password.
    pub basic: Option<(String, String)>,
}

impl User {
    fn read(user: &Value, directory: &Path) -> Result<Self, String> {
        if !user["exec"].is_null() || !user["auth-provider"].is_null() {
            return Err("exec and auth-provider are not supported here".into());
        }
        let pem = |field: &str| pem(user, field, directory);
        let (certificate, key) = (pem("client-certificate")?, pem("client-key")?);
        if certificate.is_some() != key.is_some() {
            return Err("a client certificate needs its key, and the other way round".into());
        }
        let text = |field: &str| user[field].as_str().map(str::to_owned);
        let token = match user["tokenFile"].as_str() {
            Some(file) => Some(read(file, directory)?.trim().to_owned()),
            None => text("token"),
        };
        Ok(Self {
            identity: certificate.zip(key).map(|(certificate, key)| Identity { certificate, key }),
            token,
            basic: text("username").zip(text("password")),
        })
    }

    /// What it puts into the header `Authorization`; `None`: nothing.
    pub fn authorization(&self) -> Result<Option<HeaderValue>, InvalidHeaderValue> {
        let text = match (&self.token, &self.basic) {
            (Some(token), _) => format!("Bearer {token}"),
            (None, Some((user, password))) => {
                format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
            }
            (None, None) => return Ok(None),
        };
        HeaderValue::try_from(text).map(Some)
    }
}

/// All users of the kubeconfig at `path`, by name.
pub(crate) fn users(path: &Path) -> Result<Vec<(String, User)>, KubeconfigError> {
    let wrong = |cause: String| KubeconfigError { path: path.display().to_string(), cause };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let config: Value = serde_yaml_ng::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    let entries = config["users"].as_sequence().map(Vec::as_slice).unwrap_or_default();
    let users = entries.iter().map(|entry| {
        let user = User::read(&entry["user"], directory).map_err(wrong)?;
        Ok((entry["name"].as_str().unwrap_or_default().to_owned(), user))
    });
    users.collect()
}

/// The entry `name` of a list; of a single one it need not be said which.
fn entry<'a>(config: &'a Value, list: &str, field: &str, name: Option<&str>) -> &'a Value {
    let entries = config[list].as_sequence().map(Vec::as_slice).unwrap_or_default();
    let wanted = |entry: &&Value| name.is_none_or(|name| entry["name"].as_str() == Some(name));
    entries.iter().find(wanted).map_or(&Value::Null, |entry| &entry[field])
}

/// What is given in base64, or in a file.
fn pem(of: &Value, field: &str, directory: &Path) -> Result<Option<String>, String> {
    if let Some(data) = of[format!("{field}-data")].as_str() {
        let bytes = STANDARD.decode(data).map_err(|error| format!("{field}-data: {error}"))?;
        return String::from_utf8(bytes).map(Some).map_err(|error| format!("{field}-data: {error}"));
    }
    of[field].as_str().map(|file| read(file, directory)).transpose()
}

fn read(file: &str, directory: &Path) -> Result<String, String> {
    std::fs::read_to_string(directory.join(file)).map_err(|error| format!("{file}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_current_context_names_the_server() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), "-----CA-----").unwrap();
        let text = "
            clusters:
            - {name: a, cluster: {server: 'https://a.example/x', certificate-authority: ca.pem}}
            - {name: b, cluster: {server: 'https://b.example/x'}}
            users: [{name: u, user: {token: t}}]
            contexts: [{name: one, context: {cluster: b}}, {name: two, context: {cluster: a, user: u}}]
            current-context: two";
        let found = Endpoint::parse(text, directory.path()).unwrap();
        assert_eq!((found.url.as_str(), found.ca.as_deref()), ("https://a.example/x", Some("-----CA-----")));
        assert_eq!((found.token.as_deref(), found.identity.is_none()), (Some("t"), true));
        let lone = Endpoint::parse("clusters: [{cluster: {server: 'https://c'}}]", Path::new("/")).unwrap();
        assert_eq!(lone.url, "https://c");
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let check = |text: &str, expect: &str| {
            assert_eq!(Endpoint::parse(text, Path::new("/")).unwrap_err(), expect, "{text}");
        };
        check("clusters: []", "no server");
        check(
            "{clusters: [{cluster: {server: 'https://c'}}], users: [{user: {exec: {command: x}}}]}",
            "exec and auth-provider are not supported here",
        );
    }
}
