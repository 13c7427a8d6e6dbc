//! Which standard a namespace asks for, by its labels.

use std::fmt;

use gantry_api::field::{FieldError, Path};
use gantry_json::Value;

/// How strict a standard is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Privileged,
    Baseline,
    Restricted,
}

impl Level {
    /// What there is to choose from.
    pub const WORDS: &'static str = "must be one of privileged, baseline, restricted";

    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "privileged" => Self::Privileged,
            "baseline" => Self::Baseline,
            "restricted" => Self::Restricted,
            _ => return None,
        })
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        })
    }
}

/// The release whose form of the standard is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 1.MINOR.
    Minor(u32),
    Latest,
}

impl Version {
    /// What there is to choose from.
    pub const WORDS: &'static str = "must be \"latest\" or \"v1.x\"";

    pub fn parse(text: &str) -> Option<Self> {
        if text == "latest" {
            return Some(Self::Latest);
        }
        let minor = text.strip_prefix("v1.")?;
        let canonical = minor.bytes().all(|digit| digit.is_ascii_digit()) && !minor.is_empty();
        let padded = minor.len() > 1 && minor.starts_with('0');
        if !canonical || padded {
            return None;
        }
        minor.parse().ok().map(Self::Minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Minor(minor) => write!(f, "v1.{minor}"),
            Self::Latest => f.write_str("latest"),
        }
    }
}

/// A standard: a level in the form of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standard {
    pub level: Level,
    pub version: Version,
}

impl Standard {
    /// Nothing is forbidden, which holds for namespaces without labels.
    pub const NONE: Self = Self { level: Level::Privileged, version: Version::Latest };

    /// What metrics call its version.
    pub fn counted_version(self) -> String {
        match self {
            // It is the same in every release.
            Self { level: Level::Privileged, .. } => Version::Latest.to_string(),
            Self { version: Version::Minor(minor), .. } if minor > NEWEST => "future".to_owned(),
            Self { version, .. } => version.to_string(),
        }
    }
}

/// The minor version of this server.
const NEWEST: u32 = 35;

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.level, self.version)
    }
}

/// What is refused, what is warned of and what is noted in the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    pub enforce: Standard,
    pub audit: Standard,
    pub warn: Standard,
}

impl Default for Policy {
    /// Nothing is forbidden.
    fn default() -> Self {
        Self { enforce: Standard::NONE, audit: Standard::NONE, warn: Standard::NONE }
    }
}

impl Policy {
    /// Whether nothing is forbidden at all.
    pub fn is_privileged(&self) -> bool {
        self.enforce.level == Level::Privileged && self.only_enforces()
    }

    /// Whether pods that only might come to be are of no interest.
    pub fn only_enforces(&self) -> bool {
        self.audit.level == Level::Privileged && self.warn.level == Level::Privileged
    }

    /// The policy of a namespace, and what is wrong with its labels. What they do not say is as in `defaults`.
    /// A level that cannot be read is enforced as the strictest, and neither warned of nor noted.
    pub fn of(namespace: &Value, defaults: &Self) -> (Self, Vec<FieldError>) {
        let labels = &namespace["metadata"]["labels"];
        let path = Path::new("metadata").child("labels");
        let mut errors = Vec::new();
        let mut read = |name: &str, version: &str, mut standard: Standard, unreadable: Level| {
            if let Some(text) = labels[name].as_str() {
                standard.level = Level::parse(text).unwrap_or_else(|| {
                    errors.push(FieldError::invalid(&path.key(name), text, Level::WORDS));
                    unreadable
                });
            }
            if let Some(text) = labels[version].as_str() {
                standard.version = Version::parse(text).unwrap_or_else(|| {
                    errors.push(FieldError::invalid(&path.key(version), text, Version::WORDS));
                    Version::Latest
                });
            }
            standard
        };
        let policy = Self {
            enforce: read(
                "pod-security.kubernetes.io/enforce",
                "pod-security.kubernetes.io/enforce-version",
                defaults.enforce,
                Level::Restricted,
            ),
            audit: read(
                "pod-security.kubernetes.io/audit",
                "pod-security.kubernetes.io/audit-version",
                defaults.audit,
                Level::Privileged,
            ),
            warn: read(
                "pod-security.kubernetes.io/warn",
                "pod-security.kubernetes.io/warn-version",
                defaults.warn,
                Level::Privileged,
            ),
        };
        (policy, errors)
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    #[test]
    fn labels_make_a_policy() {
        let check = |labels: Value, expect: [&str; 3], wrong: &[&str]| {
            let namespace = json!({"metadata": {"labels": labels}});
            let (policy, errors) = Policy::of(&namespace, &Policy::default());
            let got = [policy.enforce, policy.audit, policy.warn].map(|standard| standard.to_string());
            assert_eq!(got, expect, "{labels}");
            let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(errors, wrong);
        };
        let none = "privileged:latest";
        check(json!({}), [none; 3], &[]);
        let p = |name: &str| format!("pod-security.kubernetes.io/{name}");
        check(
            json!({p("enforce"): "baseline", p("warn"): "restricted", p("warn-version"): "v1.30"}),
            ["baseline:latest", none, "restricted:v1.30"],
            &[],
        );
        check(
            json!({p("enforce"): "x", p("audit"): "y", p("audit-version"): "v1.030"}),
            ["restricted:latest", none, none],
            &[
                "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"x\": \
                 must be one of privileged, baseline, restricted",
                "metadata.labels[pod-security.kubernetes.io/audit]: Invalid value: \"y\": \
                 must be one of privileged, baseline, restricted",
                "metadata.labels[pod-security.kubernetes.io/audit-version]: Invalid value: \"v1.030\": \
                 must be \"latest\" or \"v1.x\"",
            ],
        );
    }
}
