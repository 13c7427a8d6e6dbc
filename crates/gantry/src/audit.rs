//! What the API server audits, from the settings: a policy in a file, a log, a webhook in the form of a
//! kubeconfig.

use std::time::Duration;

use anyhow::{Context, Result};
use gantry_apiserver::Endpoint;
use gantry_apiserver::audit::{Log, LogFile, Settings, Webhook};

use crate::config::Config;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The settings of audit; `None`: there is no policy.
pub fn settings(config: &Config) -> Result<Option<Settings>> {
    let audit = &config.audit;
    let Some(path) = &audit.policy_file else { return Ok(None) };
    let policy =
        std::fs::read_to_string(path).with_context(|| format!("audit-policy-file {}", path.display()))?;
    let webhook = match &audit.webhook_config_file {
        None => None,
        Some(path) => {
            let endpoint = Endpoint::from_kubeconfig(path).context("audit-webhook-config-file")?;
            let (backoff, delivery) = (audit.webhook_backoff, audit.webhook_delivery);
            Some(Webhook { endpoint, backoff, delivery })
        }
    };
    let path = match (&audit.log_path, &webhook) {
        (Some(path), _) => Some(path.clone()),
        // Whoever names a policy wants to see something of it.
        (None, None) => Some(config.data_dir.join("audit/audit.log")),
        (None, Some(_)) => None,
    };
    let log = path.map(|path| Log {
        file: LogFile {
            max_bytes: audit.log_maxsize << 20,
            max_backups: audit.log_maxbackup,
            compress: audit.log_compress,
            max_age: (audit.log_maxage > 0).then(|| DAY * audit.log_maxage),
            ..LogFile::new(path)
        },
        format: audit.log_format,
        delivery: audit.log_delivery,
    });
    Ok(Some(Settings { policy, log, webhook }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings as Given;

    #[test]
    fn a_policy_alone_has_a_log_and_a_webhook_is_a_kubeconfig() {
        let directory = tempfile::tempdir().expect("a directory");
        let (policy, webhook) = (directory.path().join("policy.yaml"), directory.path().join("webhook.yaml"));
        std::fs::write(&policy, "kind: Policy").expect("write");
        std::fs::write(&webhook, "clusters: [{cluster: {server: 'https://audit.example/x'}}]")
            .expect("write");
        let mut given = Given { data_dir: Some("/d".into()), ..Given::default() };
        given.audit.audit_policy_file = Some(policy);
        let config = Config::resolve(given.clone(), None).expect("resolves");
        let alone = settings(&config).expect("settings").expect("a policy");
        let path = alone.log.expect("a log").file.path;
        assert_eq!((path.to_str(), alone.webhook.is_none()), (Some("/d/audit/audit.log"), true));
        given.audit.audit_webhook_config_file = Some(webhook);
        let config = Config::resolve(given, None).expect("resolves");
        let sent = settings(&config).expect("settings").expect("a policy");
        assert_eq!(sent.webhook.expect("a webhook").endpoint.url, "https://audit.example/x");
        assert!(sent.log.is_none());
    }
}
