//! TracingConfiguration (`apiserver.config.k8s.io`): where traces are sent, and how many.

use std::path::Path as FilePath;

use gantry_api::field::{FieldError, Path};
use serde::Deserialize;

use super::context::Share;
use super::endpoint::{self, Endpoint};
use crate::authz;

/// The most traces of a million.
const MOST: i32 = 1_000_000;

/// Why traces cannot be sent as a file says.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// There is no such file.
    #[error("tracing-config-file {0} does not exist")]
    Missing(String),
    /// It cannot be read.
    #[error("failed to read tracing config: {0}")]
    Unreadable(String),
    /// It breaks rules.
    #[error("failed to validate tracing configuration: {0}")]
    Invalid(String),
}

/// Where traces are sent, and how many.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Configuration {
    api_version: String,
    kind: String,
    endpoint: Option<String>,
    sampling_rate_per_million: Option<i32>,
}

impl Configuration {
    /// A configuration of a collector's address and of how many of a million traces are kept that
    /// nobody has decided on before.
    pub fn new(endpoint: Option<String>, rate: Option<i32>) -> Result<Self, ConfigurationError> {
        Self { endpoint, sampling_rate_per_million: rate, ..Self::default() }.checked()
    }

    /// Reads the configuration in a file, and checks it.
    pub fn read(path: &FilePath) -> Result<Self, ConfigurationError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => ConfigurationError::Missing(shown.clone()),
            _ => ConfigurationError::Unreadable(format!(
                "unable to read tracing configuration from {shown:?}: {error}"
            )),
        })?;
        Self::parse(&text)
    }

    /// Reads a configuration, and checks it.
    pub fn parse(text: &str) -> Result<Self, ConfigurationError> {
        let wrong = |why: String| {
            ConfigurationError::Unreadable(format!("unable to decode tracing configuration data: {why}"))
        };
        let read: Self = serde_yaml_ng::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let known = ["v1alpha1", "v1beta1", "v1"];
        let version = read.api_version.strip_prefix("apiserver.config.k8s.io/");
        match (&*read.kind, version) {
            ("", _) => Err(wrong("Object 'Kind' is missing".to_owned())),
            ("TracingConfiguration", Some(version)) if known.contains(&version) => read.checked(),
            (kind, _) => {
                Err(wrong(format!("no kind {kind:?} is registered for version {:?}", read.api_version)))
            }
        }
    }

    fn checked(self) -> Result<Self, ConfigurationError> {
        let mut errors = Vec::new();
        if let Some(rate) = self.sampling_rate_per_million {
            let path = Path::new("samplingRatePerMillion");
            if rate < 0 {
                errors.push(FieldError::invalid(&path, rate, "sampling rate must be positive"));
            }
            if rate > MOST {
                let why = "sampling rate per million must be less than or equal to one million";
                errors.push(FieldError::invalid(&path, rate, why));
            }
        }
        if let Some(endpoint) = &self.endpoint
            && let Err((shown, why)) = endpoint::check(endpoint)
        {
            errors.push(FieldError::invalid(&Path::new("endpoint"), shown, why));
        }
        if errors.is_empty() {
            return Ok(self);
        }
        Err(ConfigurationError::Invalid(authz::ConfigurationError::Invalid(errors).to_string()))
    }

    /// Where the collector is.
    pub(super) fn endpoint(&self) -> Endpoint {
        Endpoint::read(self.endpoint.as_deref().unwrap_or("localhost:4317"))
    }

    /// Which traces are kept that nobody has decided on before.
    pub(super) fn share(&self) -> Share {
        Share::per_million(self.sampling_rate_per_million.and_then(|rate| rate.try_into().ok()).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fields: &str, expect: &str) {
        let text = format!("apiVersion: apiserver.config.k8s.io/v1\nkind: TracingConfiguration\n{fields}");
        let got = Configuration::parse(&text).map_or_else(|error| error.to_string(), |_| String::new());
        assert_eq!(got, expect, "{fields}");
    }

    #[test]
    fn a_configuration_is_checked() {
        check("", "");
        check("endpoint: localhost:4317\nsamplingRatePerMillion: 1000000", "");
        check("endpoint: unix:///run/otel.sock\nsamplingRatePerMillion: 0", "");
        let invalid = |why: &str| format!("failed to validate tracing configuration: {why}");
        check(
            "samplingRatePerMillion: -1",
            &invalid("samplingRatePerMillion: Invalid value: -1: sampling rate must be positive"),
        );
        check(
            "samplingRatePerMillion: 1000001",
            &invalid(
                "samplingRatePerMillion: Invalid value: 1000001: sampling rate per million must be less than or \
                 equal to one million",
            ),
        );
        let scheme = "unsupported scheme: http.  Options are none, dns, unix, or unix-abstract.  See \
                      https://github.com/grpc/grpc/blob/master/doc/naming.md";
        check(
            "endpoint: http://localhost:4317",
            &invalid(&format!("endpoint: Invalid value: \"http://localhost:4317\": {scheme}")),
        );
        check(
            "samplingRatePerMillion: -1\nendpoint: localhost:port",
            &invalid(
                "[samplingRatePerMillion: Invalid value: -1: sampling rate must be positive, endpoint: Invalid \
                 value: \"dns://localhost:port\": parse \"dns://localhost:port\": invalid port \":port\" after host]",
            ),
        );
        check("endpoint: ''", &invalid("endpoint: Invalid value: \"\": endpoint must not be blank"));
    }

    #[test]
    fn what_is_no_configuration_is_refused() {
        let refused = |text: &str| Configuration::parse(text).unwrap_err().to_string();
        let prefix = "failed to read tracing config: unable to decode tracing configuration data: ";
        assert_eq!(refused("{}"), format!("{prefix}Object 'Kind' is missing"));
        let other = "apiVersion: v1\nkind: TracingConfiguration";
        let why = "no kind \"TracingConfiguration\" is registered for version \"v1\"";
        assert_eq!(refused(other), format!("{prefix}{why}"));
        let unknown = "apiVersion: apiserver.config.k8s.io/v1\nkind: TracingConfiguration\nsampling: 1";
        assert!(
            refused(unknown).starts_with(&format!("{prefix}unknown field `sampling`")),
            "{}",
            refused(unknown)
        );
        for version in ["v1alpha1", "v1beta1"] {
            let text = format!("apiVersion: apiserver.config.k8s.io/{version}\nkind: TracingConfiguration");
            Configuration::parse(&text).unwrap();
        }
        let missing = Configuration::read(FilePath::new("/nonexistent.yaml")).unwrap_err().to_string();
        assert_eq!(missing, "tracing-config-file /nonexistent.yaml does not exist");
    }
}
