//! PodSecurityConfiguration (`pod-security.admission.config.k8s.io`): what namespaces are held to that say
//! nothing, and who is held to nothing.

use std::collections::HashSet;

use gantry_api::field::{FieldError, Path};
use gantry_api::rules::common;
use gantry_json::Value;
use serde::Deserialize;

use super::super::settings;
use super::policy::{Level, Policy, Standard, Version};
use crate::authz::joined;

const KINDS: [(&str, &str); 3] = [
    ("pod-security.admission.config.k8s.io/v1", "PodSecurityConfiguration"),
    ("pod-security.admission.config.k8s.io/v1beta1", "PodSecurityConfiguration"),
    ("pod-security.admission.config.k8s.io/v1alpha1", "PodSecurityConfiguration"),
];

/// The configuration of the plugin.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Configuration {
    /// What namespaces without labels are held to.
    pub defaults: Policy,
    pub exemptions: Exemptions,
}

/// Who is not checked.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(in super::super) struct Exemptions {
    pub usernames: Vec<String>,
    pub namespaces: Vec<String>,
    pub runtime_classes: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Document {
    defaults: Defaults,
    exemptions: Exemptions,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Defaults {
    enforce: String,
    enforce_version: String,
    audit: String,
    audit_version: String,
    warn: String,
    warn_version: String,
}

impl Configuration {
    /// Reads a document; the error is in upstream's words.
    pub fn read(document: Value) -> Result<Self, String> {
        let Document { defaults, exemptions } = settings::read(document, &KINDS)?;
        let mut errors = Vec::new();
        let path = Path::new("defaults");
        let mut standard = |mode: &str, level: &str, version: &str| {
            let mut standard = Standard::NONE;
            if !level.is_empty() {
                match Level::parse(level) {
                    Some(read) => standard.level = read,
                    None => errors.push(FieldError::invalid(&path.child(mode), level, Level::WORDS)),
                }
            }
            if !version.is_empty() {
                let path = path.child(&format!("{mode}-version"));
                match Version::parse(version) {
                    Some(read) => standard.version = read,
                    None => errors.push(FieldError::invalid(&path, version, Version::WORDS)),
                }
            }
            standard
        };
        let enforce = standard("enforce", &defaults.enforce, &defaults.enforce_version);
        let warn = standard("warn", &defaults.warn, &defaults.warn_version);
        let audit = standard("audit", &defaults.audit, &defaults.audit_version);
        exemptions.check(&mut errors);
        match errors.is_empty() {
            true => Ok(Self { defaults: Policy { enforce, audit, warn }, exemptions }),
            false => Err(joined(&errors)),
        }
    }
}

impl Exemptions {
    fn check(&self, errors: &mut Vec<FieldError>) {
        type Rule = fn(&Path, &str, &mut Vec<FieldError>);
        let label: Rule = |path, name, faults| common::dns_label(path, name, faults);
        let subdomain: Rule = |path, name, faults| common::dns_subdomain(path, name, faults);
        let filled: Rule = |path, name, faults| {
            if name.is_empty() {
                faults.push(FieldError::required(path, ""));
            }
        };
        let path = Path::new("exemptions");
        for (field, names, rule) in [
            ("namespaces", &self.namespaces, label),
            ("runtimeClasses", &self.runtime_classes, subdomain),
            ("usernames", &self.usernames, filled),
        ] {
            let mut seen = HashSet::new();
            for (at, name) in names.iter().enumerate() {
                let path = path.child(field).index(at);
                let before = errors.len();
                rule(&path, name, errors);
                if errors.len() == before && !seen.insert(name) {
                    errors.push(FieldError::duplicate(&path, name.as_str()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    fn read(mut document: Value) -> Result<Configuration, String> {
        document["apiVersion"] = KINDS[0].0.into();
        document["kind"] = KINDS[0].1.into();
        Configuration::read(document)
    }

    #[test]
    fn defaults_and_exemptions() {
        let configuration = read(json!({
            "defaults": {"enforce": "baseline", "enforce-version": "v1.30", "warn": "restricted"},
            "exemptions": {"usernames": ["u"], "runtimeClasses": ["r"], "namespaces": ["n"]},
        }))
        .unwrap();
        let Policy { enforce, audit, warn } = configuration.defaults;
        let got = [enforce, audit, warn].map(|standard| standard.to_string());
        assert_eq!(got, ["baseline:v1.30", "privileged:latest", "restricted:latest"]);
        assert_eq!(configuration.exemptions.runtime_classes, ["r"]);
        assert_eq!(read(json!({})).unwrap().defaults, Policy::default());
    }

    #[test]
    fn what_is_wrong() {
        let check = |document: Value, expect: &str| assert_eq!(read(document).unwrap_err(), expect);
        check(
            json!({"defaults": {"enforce": "x", "audit-version": "1"}}),
            "[defaults.enforce: Invalid value: \"x\": must be one of privileged, baseline, restricted, \
             defaults.audit-version: Invalid value: \"1\": must be \"latest\" or \"v1.x\"]",
        );
        check(
            json!({"exemptions": {"usernames": ["", "a", "a"]}}),
            "[exemptions.usernames[0]: Required value, exemptions.usernames[2]: Duplicate value: \"a\"]",
        );
        assert!(read(json!({"exemptions": {"users": []}})).unwrap_err().contains("unknown field `users`"));
        assert!(read(json!({"exemptions": {"namespaces": ["A"]}})).is_err());
    }
}
