//! What the API server audits, from the settings: a policy in a file, a log, a webhook in the form of a
//! kubeconfig.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gantry_apiserver::Identity;
use gantry_apiserver::audit::{LogFile, Settings, Webhook};
use serde_yaml_ng::Value;

use crate::config::Config;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The settings of audit; `None`: there is no policy.
pub fn settings(config: &Config) -> Result<Option<Settings>> {
    let audit = &config.audit;
    let Some(path) = &audit.policy_file else { return Ok(None) };
    let policy =
        std::fs::read_to_string(path).with_context(|| format!("audit-policy-file {}", path.display()))?;
    let webhook = audit.webhook_config_file.as_deref().map(webhook).transpose()?;
    let log = match (&audit.log_path, &webhook) {
        (Some(path), _) => Some(path.clone()),
        // Whoever names a policy wants to see something of it.
        (None, None) => Some(config.data_dir.join("audit/audit.log")),
        (None, Some(_)) => None,
    };
    let log = log.map(|path| LogFile {
        max_bytes: audit.log_maxsize << 20,
        max_backups: audit.log_maxbackup,
        max_age: (audit.log_maxage > 0).then(|| DAY * audit.log_maxage),
        ..LogFile::new(path)
    });
    Ok(Some(Settings { policy, log, webhook }))
}

/// The webhook that a kubeconfig describes by its current context.
fn webhook(path: &Path) -> Result<Webhook> {
    let named = || format!("audit-webhook-config-file {}", path.display());
    let text = std::fs::read_to_string(path).with_context(named)?;
    let config: Value = serde_yaml_ng::from_str(&text).with_context(named)?;
    let context = entry(&config, "contexts", "context", config["current-context"].as_str());
    let cluster = entry(&config, "clusters", "cluster", context["cluster"].as_str());
    let user = entry(&config, "users", "user", context["user"].as_str());
    let url = cluster["server"].as_str().context("no server").with_context(named)?;
    let ca = pem(cluster, "certificate-authority").with_context(named)?;
    let certificate = pem(user, "client-certificate").with_context(named)?;
    let key = pem(user, "client-key").with_context(named)?;
    let identity = certificate.zip(key).map(|(certificate, key)| Identity { certificate, key });
    let token = user["token"].as_str().map(str::to_owned);
    Ok(Webhook { ca: ca.unwrap_or_default(), identity, token, ..Webhook::new(url.to_owned()) })
}

/// The entry `name` of a list; of a single one it need not be said which.
fn entry<'a>(config: &'a Value, list: &str, field: &str, name: Option<&str>) -> &'a Value {
    let entries = config[list].as_sequence().map(Vec::as_slice).unwrap_or_default();
    let wanted = |entry: &&Value| name.is_none_or(|name| entry["name"].as_str() == Some(name));
    entries.iter().find(wanted).map_or(&Value::Null, |entry| &entry[field])
}

/// What is given in base64, or in a file.
fn pem(of: &Value, field: &str) -> Result<Option<String>> {
    if let Some(data) = of[format!("{field}-data")].as_str() {
        let bytes = STANDARD.decode(data).with_context(|| format!("{field}-data"))?;
        return Ok(Some(String::from_utf8(bytes)?));
    }
    let file = of[field].as_str();
    file.map(|file| std::fs::read_to_string(file).with_context(|| file.to_owned())).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_is_a_kubeconfig() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("webhook.yaml");
        let ca = STANDARD.encode("-----CA-----");
        let text = format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{name: a, cluster: {{server: 'https://audit.example/x', \
             certificate-authority-data: {ca}}}}}]\nusers: [{{name: u, user: {{token: t}}}}]\ncontexts: [{{name: c, context: \
             {{cluster: a, user: u}}}}]\ncurrent-context: c\n"
        );
        std::fs::write(&file, text).expect("write");
        let webhook = webhook(&file).expect("reads");
        assert_eq!((webhook.url.as_str(), webhook.ca.as_str()), ("https://audit.example/x", "-----CA-----"));
        assert_eq!((webhook.token.as_deref(), webhook.identity.is_none()), (Some("t"), true));
    }
}
