//! What the API server audits, from the settings: a policy in a file, a log, a webhook in the form of a
//! kubeconfig.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use gantry_apiserver::Endpoint;
use gantry_apiserver::audit::{LogFile, Settings, Webhook};

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
    let found = Endpoint::from_kubeconfig(path).context("audit-webhook-config-file")?;
    let ca = found.ca.unwrap_or_default();
    Ok(Webhook { ca, identity: found.identity, token: found.token, ..Webhook::new(found.url) })
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

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
