//! Settings of audit, under upstream's names.

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use clap::Args;
use gantry_apiserver::audit::{Batching, Delivery, Format, Mode, Throttling, Truncation};
use serde::Deserialize;

/// Settings as given.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct AuditSettings {
    /// File with the audit policy; without it nothing is audited.
    #[arg(long, env = "GANTRY_AUDIT_POLICY_FILE", global = true)]
    pub audit_policy_file: Option<PathBuf>,
    /// File of the audit log; - for standard output.
    #[arg(long, env = "GANTRY_AUDIT_LOG_PATH", global = true)]
    pub audit_log_path: Option<PathBuf>,
    /// Megabytes at which the audit log is set aside.
    #[arg(long, env = "GANTRY_AUDIT_LOG_MAXSIZE", global = true)]
    pub audit_log_maxsize: Option<u64>,
    /// How many audit logs set aside are kept; 0: all.
    #[arg(long, env = "GANTRY_AUDIT_LOG_MAXBACKUP", global = true)]
    pub audit_log_maxbackup: Option<usize>,
    /// How many days audit logs set aside are kept; 0: for ever.
    #[arg(long, env = "GANTRY_AUDIT_LOG_MAXAGE", global = true)]
    pub audit_log_maxage: Option<u32>,
    /// Whether audit logs set aside are compressed.
    #[arg(long, env = "GANTRY_AUDIT_LOG_COMPRESS", num_args = 0..=1, default_missing_value = "true", global = true)]
    pub audit_log_compress: Option<bool>,
    /// How events are written to the audit log: json, or legacy for a line of words; json where absent.
    #[arg(long, env = "GANTRY_AUDIT_LOG_FORMAT", global = true)]
    pub audit_log_format: Option<String>,
    /// Version of the events in the audit log: audit.k8s.io/v1.
    #[arg(long, env = "GANTRY_AUDIT_LOG_VERSION", global = true)]
    pub audit_log_version: Option<String>,
    /// How events get to the audit log: batch, blocking or blocking-strict; blocking where absent.
    #[arg(long, env = "GANTRY_AUDIT_LOG_MODE", global = true)]
    pub audit_log_mode: Option<String>,
    /// How many events may wait for the audit log in mode batch.
    #[arg(long, env = "GANTRY_AUDIT_LOG_BATCH_BUFFER_SIZE", global = true)]
    pub audit_log_batch_buffer_size: Option<usize>,
    /// How many events are a batch of the audit log.
    #[arg(long, env = "GANTRY_AUDIT_LOG_BATCH_MAX_SIZE", global = true)]
    pub audit_log_batch_max_size: Option<usize>,
    /// How long events of the audit log wait for others, such as 1s.
    #[arg(long, env = "GANTRY_AUDIT_LOG_BATCH_MAX_WAIT", global = true)]
    pub audit_log_batch_max_wait: Option<String>,
    /// Whether batches of the audit log are throttled.
    #[arg(long, env = "GANTRY_AUDIT_LOG_BATCH_THROTTLE_ENABLE", num_args = 0..=1, default_missing_value = "true", global = true)]
    pub audit_log_batch_throttle_enable: Option<bool>,
    /// How many batches a second go to the audit log.
    #[arg(long, env = "GANTRY_AUDIT_LOG_BATCH_THROTTLE_QPS", global = true)]
    pub audit_log_batch_throttle_qps: Option<f64>,
    /// How many batches at once go to the audit log, after a while without any.
    #[arg(long, env = "GANTRY_AUDIT_LOG_BATCH_THROTTLE_BURST", global = true)]
    pub audit_log_batch_throttle_burst: Option<u32>,
    /// Whether events of the audit log that are too large are cut.
    #[arg(long, env = "GANTRY_AUDIT_LOG_TRUNCATE_ENABLED", num_args = 0..=1, default_missing_value = "true", global = true)]
    pub audit_log_truncate_enabled: Option<bool>,
    /// Bytes of a batch of the audit log.
    #[arg(long, env = "GANTRY_AUDIT_LOG_TRUNCATE_MAX_BATCH_SIZE", global = true)]
    pub audit_log_truncate_max_batch_size: Option<usize>,
    /// Bytes of an event of the audit log.
    #[arg(long, env = "GANTRY_AUDIT_LOG_TRUNCATE_MAX_EVENT_SIZE", global = true)]
    pub audit_log_truncate_max_event_size: Option<usize>,
    /// Kubeconfig of the server that audit events are sent to.
    #[arg(long, env = "GANTRY_AUDIT_WEBHOOK_CONFIG_FILE", global = true)]
    pub audit_webhook_config_file: Option<PathBuf>,
    /// How long after a failure events are sent again, such as 10s.
    #[arg(long, env = "GANTRY_AUDIT_WEBHOOK_INITIAL_BACKOFF", global = true)]
    pub audit_webhook_initial_backoff: Option<String>,
    /// Version of the events that the webhook is sent: audit.k8s.io/v1.
    #[arg(long, env = "GANTRY_AUDIT_WEBHOOK_VERSION", global = true)]
    pub audit_webhook_version: Option<String>,
    /// How events get to the webhook: batch, blocking or blocking-strict; batch where absent.
    #[arg(long, env = "GANTRY_AUDIT_WEBHOOK_MODE", global = true)]
    pub audit_webhook_mode: Option<String>,
    /// How many events may wait for the webhook in mode batch.
    #[arg(long, env = "GANTRY_AUDIT_WEBHOOK_BATCH_BUFFER_SIZE", global = true)]
    pub audit_webhook_batch_buffer_size: Option<usize>,
    /// How many events the webhook is sent at once.
    #[arg(long, env = "GANTRY_AUDIT_WEBHOOK_BATCH_MAX_SIZE", global = true)]
    pub audit_webhook_batch_max_size: Option<usize>,
    /// How long events for the webhook wait for others, such as 30s.
    #[arg(long, env = "GANTRY_AUDIT_WEBHOOK_BATCH_MAX_WAIT", global = true)]
    pub audit_webhook_batch_max_wait: Option<String>,
    /// Whether batches for the webhook are throttled.
    #[arg(long, env = "GANTRY_AUDIT_WEBHOOK_BATCH_THROTTLE_ENABLE", num_args = 0..=1, default_missing_value = "true", global = true)]
    pub audit_webhook_batch_throttle_enable: Option<bool>,
    /// How many batches a second the webhook is sent.
    #[arg(long, env = "GANTRY_AUDIT_WEBHOOK_BATCH_THROTTLE_QPS", global = true)]
    pub audit_webhook_batch_throttle_qps: Option<f64>,
    /// How many batches at once the webhook is sent, after a while without any.
    #[arg(long, env = "GANTRY_AUDIT_WEBHOOK_BATCH_THROTTLE_BURST", global = true)]
    pub audit_webhook_batch_throttle_burst: Option<u32>,
    /// Whether events for the webhook that are too large are cut.
    #[arg(long, env = "GANTRY_AUDIT_WEBHOOK_TRUNCATE_ENABLED", num_args = 0..=1, default_missing_value = "true", global = true)]
    pub audit_webhook_truncate_enabled: Option<bool>,
    /// Bytes of what the webhook is sent at once.
    #[arg(long, env = "GANTRY_AUDIT_WEBHOOK_TRUNCATE_MAX_BATCH_SIZE", global = true)]
    pub audit_webhook_truncate_max_batch_size: Option<usize>,
    /// Bytes of an event for the webhook.
    #[arg(long, env = "GANTRY_AUDIT_WEBHOOK_TRUNCATE_MAX_EVENT_SIZE", global = true)]
    pub audit_webhook_truncate_max_event_size: Option<usize>,
}

/// The version of events.
const VERSION: &str = "audit.k8s.io/v1";

/// The names of these settings.
pub(super) const KEYS: &[&str] = &[
    "audit-policy-file",
    "audit-log-path",
    "audit-log-maxsize",
    "audit-log-maxbackup",
    "audit-log-maxage",
    "audit-log-compress",
    "audit-log-format",
    "audit-log-version",
    "audit-log-mode",
    "audit-log-batch-buffer-size",
    "audit-log-batch-max-size",
    "audit-log-batch-max-wait",
    "audit-log-batch-throttle-enable",
    "audit-log-batch-throttle-qps",
    "audit-log-batch-throttle-burst",
    "audit-log-truncate-enabled",
    "audit-log-truncate-max-batch-size",
    "audit-log-truncate-max-event-size",
    "audit-webhook-config-file",
    "audit-webhook-initial-backoff",
    "audit-webhook-version",
    "audit-webhook-mode",
    "audit-webhook-batch-buffer-size",
    "audit-webhook-batch-max-size",
    "audit-webhook-batch-max-wait",
    "audit-webhook-batch-throttle-enable",
    "audit-webhook-batch-throttle-qps",
    "audit-webhook-batch-throttle-burst",
    "audit-webhook-truncate-enabled",
    "audit-webhook-truncate-max-batch-size",
    "audit-webhook-truncate-max-event-size",
];

/// What is audited, and where it goes.
#[derive(Debug, Clone)]
pub struct Audit {
    /// The policy; nothing is audited without it.
    pub policy_file: Option<PathBuf>,
    /// The log.
    pub log_path: Option<PathBuf>,
    /// Megabytes at which the log is set aside.
    pub log_maxsize: u64,
    /// How many logs set aside are kept; 0: all.
    pub log_maxbackup: usize,
    /// How many days logs set aside are kept; 0: for ever.
    pub log_maxage: u32,
    /// Whether logs set aside are compressed.
    pub log_compress: bool,
    /// How events are written to the log.
    pub log_format: Format,
    /// How events get to the log.
    pub log_delivery: Delivery,
    /// Kubeconfig of the server that events are sent to.
    pub webhook_config_file: Option<PathBuf>,
    /// How long after a failure they are sent again.
    pub webhook_backoff: Duration,
    /// How events get there.
    pub webhook_delivery: Delivery,
}

/// What is said of one backend.
struct Given<'a> {
    plugin: &'a str,
    mode: Option<String>,
    buffer: Option<usize>,
    size: Option<usize>,
    wait: Option<String>,
    throttle: Option<bool>,
    qps: Option<f64>,
    burst: Option<u32>,
    truncate: Option<bool>,
    batch_bytes: Option<usize>,
    event_bytes: Option<usize>,
}

impl AuditSettings {
    /// The settings in force, where `stored` ones count for what is not given.
    pub(super) fn resolve(self, stored: Self) -> Result<Audit> {
        macro_rules! pick {
            ($field:ident) => {
                self.$field.or(stored.$field)
            };
        }
        let log = Given {
            plugin: "log",
            mode: pick!(audit_log_mode),
            buffer: pick!(audit_log_batch_buffer_size),
            size: pick!(audit_log_batch_max_size),
            wait: pick!(audit_log_batch_max_wait),
            throttle: pick!(audit_log_batch_throttle_enable),
            qps: pick!(audit_log_batch_throttle_qps),
            burst: pick!(audit_log_batch_throttle_burst),
            truncate: pick!(audit_log_truncate_enabled),
            batch_bytes: pick!(audit_log_truncate_max_batch_size),
            event_bytes: pick!(audit_log_truncate_max_event_size),
        };
        let webhook = Given {
            plugin: "webhook",
            mode: pick!(audit_webhook_mode),
            buffer: pick!(audit_webhook_batch_buffer_size),
            size: pick!(audit_webhook_batch_max_size),
            wait: pick!(audit_webhook_batch_max_wait),
            throttle: pick!(audit_webhook_batch_throttle_enable),
            qps: pick!(audit_webhook_batch_throttle_qps),
            burst: pick!(audit_webhook_batch_throttle_burst),
            truncate: pick!(audit_webhook_truncate_enabled),
            batch_bytes: pick!(audit_webhook_truncate_max_batch_size),
            event_bytes: pick!(audit_webhook_truncate_max_event_size),
        };
        let log_format = pick!(audit_log_format).map_or(Ok(Format::default()), |name| {
            let allowed = Format::NAMES.join(",");
            let wrong = || anyhow!("invalid audit log format {name}, allowed formats are {allowed:?}");
            Format::parse(&name).ok_or_else(wrong)
        })?;
        for version in [pick!(audit_log_version), pick!(audit_webhook_version)].into_iter().flatten() {
            if version != VERSION {
                bail!("invalid group version, allowed versions are [{VERSION:?}]");
            }
        }
        let backoff = pick!(audit_webhook_initial_backoff).unwrap_or_else(|| "10s".to_owned());
        Ok(Audit {
            policy_file: pick!(audit_policy_file),
            log_path: pick!(audit_log_path),
            log_maxsize: pick!(audit_log_maxsize).unwrap_or(100),
            log_maxbackup: pick!(audit_log_maxbackup).unwrap_or(10),
            log_maxage: pick!(audit_log_maxage).unwrap_or(30),
            log_compress: pick!(audit_log_compress).unwrap_or(false),
            log_format,
            log_delivery: log.resolve(Delivery::of_log())?,
            webhook_config_file: pick!(audit_webhook_config_file),
            webhook_backoff: gantry_apiserver::duration(&backoff)
                .map_err(|error| anyhow!("audit-webhook-initial-backoff: {error}"))?,
            webhook_delivery: webhook.resolve(Delivery::of_webhook())?,
        })
    }
}

impl Given<'_> {
    fn resolve(self, default: Delivery) -> Result<Delivery> {
        let plugin = self.plugin;
        let positive = |what: &str, value: &dyn Display, good: bool| match good {
            true => Ok(()),
            false => Err(anyhow!("invalid audit batch {plugin} {what} {value}, must be a positive number")),
        };
        let mode = match self.mode.as_deref() {
            None => default.mode,
            Some(name) => Mode::parse(name).ok_or_else(|| {
                let allowed = Mode::NAMES.join(",");
                anyhow!("invalid audit {plugin} mode {name}, allowed modes are {allowed:?}")
            })?,
        };
        let wait = self.wait.map(|text| gantry_apiserver::duration(&text)).transpose();
        let wait = wait.map_err(|error| anyhow!("audit-{plugin}-batch-max-wait: {error}"))?;
        let usual = default.batching;
        let burst = usual.throttling.map_or(0, |usual| usual.burst);
        let throttling = Throttling {
            qps: self.qps.unwrap_or(usual.throttling.map_or(0.0, |usual| usual.qps)),
            burst: self.burst.unwrap_or(burst),
        };
        let throttled = self.throttle.unwrap_or(usual.throttling.is_some());
        let batching = Batching {
            buffer: self.buffer.unwrap_or(usual.buffer),
            size: self.size.unwrap_or(usual.size),
            wait: wait.unwrap_or(usual.wait),
            throttling: throttled.then_some(throttling),
        };
        if mode == Mode::Batch {
            positive("buffer size", &batching.buffer, batching.buffer > 0)?;
            positive("max batch size", &batching.size, batching.size > 0)?;
            if throttled {
                positive("throttle QPS", &throttling.qps, throttling.qps > 0.0)?;
                positive("throttle burst", &throttling.burst, throttling.burst > 0)?;
            }
        }
        let usual = Truncation::default();
        let truncation = Truncation {
            event_bytes: self.event_bytes.unwrap_or(usual.event_bytes),
            batch_bytes: self.batch_bytes.unwrap_or(usual.batch_bytes),
        };
        let Truncation { event_bytes, batch_bytes } = truncation;
        let truncated = self.truncate == Some(true);
        if truncated && event_bytes == 0 {
            bail!("invalid audit truncate {plugin} max event size {event_bytes}, must be a positive number");
        }
        if truncated && batch_bytes < event_bytes {
            bail!(
                "invalid audit truncate {plugin} max batch size {batch_bytes}, must be greater than max event size ({event_bytes})"
            );
        }
        Ok(Delivery { mode, batching, truncation: truncated.then_some(truncation) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str) -> Result<Audit> {
        let given: AuditSettings = serde_yaml_ng::from_str(text)?;
        given.resolve(AuditSettings::default())
    }

    #[test]
    fn upstreams_defaults() {
        let audit = resolve("{}").expect("resolves");
        assert_eq!(audit.log_delivery, Delivery::of_log());
        assert_eq!(audit.webhook_delivery, Delivery::of_webhook());
        assert_eq!(audit.webhook_backoff, Duration::from_secs(10));
        assert_eq!((audit.log_compress, audit.log_format), (false, Format::Json));
        let given = "
            audit-log-version: audit.k8s.io/v1
            audit-log-format: legacy
            audit-log-truncate-enabled: true
            audit-webhook-mode: blocking
            audit-webhook-batch-throttle-enable: false
            audit-webhook-truncate-enabled: true
            audit-webhook-truncate-max-event-size: 1000";
        let audit = resolve(given).expect("resolves");
        assert_eq!(audit.log_format, Format::Legacy);
        assert_eq!(audit.log_delivery.truncation, Some(Truncation::default()));
        let webhook = audit.webhook_delivery;
        assert_eq!((webhook.mode, webhook.batching.throttling), (Mode::Blocking, None));
        assert_eq!(webhook.truncation.map(|limits| limits.event_bytes), Some(1000));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let check = |text: &str, expect: &str| {
            assert_eq!(resolve(text).expect_err("refused").to_string(), expect);
        };
        check(
            "audit-log-mode: some",
            "invalid audit log mode some, allowed modes are \"batch,blocking,blocking-strict\"",
        );
        check("audit-log-format: xml", "invalid audit log format xml, allowed formats are \"legacy,json\"");
        check(
            "audit-webhook-version: audit.k8s.io/v1beta1",
            "invalid group version, allowed versions are [\"audit.k8s.io/v1\"]",
        );
        check(
            "audit-webhook-batch-max-size: 0",
            "invalid audit batch webhook max batch size 0, must be a positive number",
        );
        check(
            "{audit-log-mode: batch, audit-log-batch-throttle-enable: true}",
            "invalid audit batch log throttle QPS 0, must be a positive number",
        );
        check(
            "{audit-log-truncate-enabled: true, audit-log-truncate-max-batch-size: 10}",
            "invalid audit truncate log max batch size 10, must be greater than max event size (102400)",
        );
    }
}
