//! Which of the built-in versions and resources are served: upstream's `--runtime-config`.
//!
//! Stable versions are on, all others off, until a key says otherwise. What a key says of one resource
//! outweighs what is said of its version, and that what is said of all versions of a sort.

use std::collections::{BTreeMap, BTreeSet};

use crate::features::truth;
use crate::registry::Registry;

/// Versions that are registered upstream, but of which nothing is served: to name them is no error.
const UNSERVED: &[(&str, &[&str])] = &[
    ("apps", &["v1beta1", "v1beta2"]),
    ("authentication.k8s.io", &["v1alpha1", "v1beta1"]),
    ("authorization.k8s.io", &["v1beta1"]),
    ("autoscaling", &["v2beta1", "v2beta2"]),
    ("batch", &["v1beta1"]),
    ("certificates.k8s.io", &["v1alpha1"]),
    ("discovery.k8s.io", &["v1beta1"]),
    ("events.k8s.io", &["v1beta1"]),
    ("extensions", &["v1beta1"]),
    ("flowcontrol.apiserver.k8s.io", &["v1beta1", "v1beta2", "v1beta3"]),
    ("internal.apiserver.k8s.io", &["v1alpha1"]),
    ("networking.k8s.io", &["v1beta1"]),
    ("node.k8s.io", &["v1alpha1", "v1beta1"]),
    ("policy", &["v1beta1"]),
    ("rbac.authorization.k8s.io", &["v1alpha1", "v1beta1"]),
    ("resource.k8s.io", &["v1alpha3", "v1beta1", "v1beta2"]),
    ("scheduling.k8s.io", &["v1alpha1", "v1beta1"]),
    ("storage.k8s.io", &["v1alpha1", "v1beta1"]),
];

/// How stable a version is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stability {
    Stable,
    Beta,
    Alpha,
}

/// The stability that a version such as `v1beta2` has by its name.
fn stability(version: &str) -> Option<Stability> {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let rest = version.strip_prefix('v')?;
    if number(rest) {
        return Some(Stability::Stable);
    }
    let (major, level) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
    let found = match (level.strip_prefix("beta"), level.strip_prefix("alpha")) {
        (Some(minor), _) => (minor, Stability::Beta),
        (_, Some(minor)) => (minor, Stability::Alpha),
        _ => return None,
    };
    (number(major) && number(found.0)).then_some(found.1)
}

/// The keys that stand for all versions of a sort, in the order in which they count.
const SORTS: [(&str, Option<Stability>); 4] = [
    ("api/all", None),
    ("api/ga", Some(Stability::Stable)),
    ("api/beta", Some(Stability::Beta)),
    ("api/alpha", Some(Stability::Alpha)),
];

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeConfigError {
    /// Nothing would be served.
    #[error("invalid key with only api/all=false")]
    Nothing,
    /// A key that names neither a version nor a resource of one.
    #[error("runtime-config invalid key {0}")]
    Key(String),
    /// Groups that there are not.
    #[error("unknown api groups {0}")]
    Groups(String),
    /// The value of a sort of versions is neither `true` nor `false`.
    #[error("invalid value {0}={1}")]
    Sort(String, String),
    /// A version that there is not.
    #[error("group version {0} that has not been registered")]
    Version(String),
    /// A value is no truth value.
    #[error("invalid value of {0}: {1}, err: {2}")]
    Value(String, String, String),
    /// A resource is not written as resources are.
    #[error("invalid key {0}: group/version/resource and resource is always lowercase plural, not {1:?}")]
    Resource(String, String),
}

/// Which versions and resources are served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuntimeConfig {
    sorts: [Option<bool>; 4],
    versions: BTreeMap<(String, String), bool>,
    resources: BTreeMap<[String; 3], bool>,
}

/// The pairs of settings such as `a=b,c`: of a key that comes twice the last one counts.
pub(crate) fn pairs<'a>(settings: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, String> {
    let parts = settings.into_iter().flat_map(|text| text.split(',')).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            (key.trim().to_owned(), value.trim().to_owned())
        })
        .collect()
}

impl RuntimeConfig {
    /// Reads settings such as `api/beta=true,batch/v1/jobs=false`.
    pub fn parse<'a>(settings: impl IntoIterator<Item = &'a str>) -> Result<Self, RuntimeConfigError> {
        let pairs = pairs(settings);
        if pairs.len() == 1 && pairs.get("api/all").is_some_and(|value| value == "false") {
            return Err(RuntimeConfigError::Nothing);
        }
        let sort = |key: &str| SORTS.iter().position(|(name, _)| *name == key);
        let named = || pairs.iter().filter(|(key, _)| sort(key).is_none());
        if let Some((key, _)) = named().find(|(key, _)| !(2..=3).contains(&key.split('/').count())) {
            return Err(RuntimeConfigError::Key(key.clone()));
        }
        let known = registered();
        let group = |key: &str| key.split('/').next().unwrap_or_default().to_owned();
        let groups = named().map(|(key, _)| group(key));
        let unknown: Vec<String> =
            groups.filter(|group| !known.iter().any(|(name, _)| name == group)).collect();
        if !unknown.is_empty() {
            return Err(RuntimeConfigError::Groups(unknown.join(",")));
        }
        let mut config = Self::default();
        for (at, (key, _)) in SORTS.iter().enumerate() {
            config.sorts[at] = match pairs.get(*key).map(String::as_str) {
                None => None,
                Some("true") => Some(true),
                Some("false") => Some(false),
                Some(other) => return Err(RuntimeConfigError::Sort((*key).into(), other.into())),
            };
        }
        for (key, value) in named() {
            let mut parts = key.splitn(3, '/').map(str::to_owned);
            let version = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            if !known.contains(&version) {
                let shown =
                    if version.0.is_empty() { version.1 } else { format!("{}/{}", version.0, version.1) };
                return Err(RuntimeConfigError::Version(shown));
            }
            let on = match value.as_str() {
                "" => true,
                text => {
                    truth(text).map_err(|why| RuntimeConfigError::Value(key.clone(), text.to_owned(), why))?
                }
            };
            match parts.next() {
                None => drop(config.versions.insert(version, on)),
                Some(resource) if resource.to_lowercase() != resource => {
                    return Err(RuntimeConfigError::Resource(key.clone(), resource));
                }
                Some(resource) => drop(config.resources.insert([version.0, version.1, resource], on)),
            }
        }
        Ok(config)
    }

    /// Whether a resource of a built-in version is served.
    pub fn serves(&self, group: &str, version: &str, resource: &str) -> bool {
        let key = [group.to_owned(), version.to_owned(), resource.to_owned()];
        if let Some(said) = self.resources.get(&key) {
            return *said;
        }
        if let Some(said) = self.versions.get(&(group.to_owned(), version.to_owned())) {
            return *said;
        }
        let stability = stability(version);
        let said = SORTS.iter().zip(self.sorts).filter(|((_, sort), _)| sort.is_none() || *sort == stability);
        said.filter_map(|(_, on)| on).next_back().unwrap_or(stability == Some(Stability::Stable))
    }
}

/// All built-in versions that there are, with their groups.
fn registered() -> BTreeSet<(String, String)> {
    let served = Registry::known().iter().map(|kind| (kind.group.to_string(), kind.version.to_string()));
    let unserved = UNSERVED.iter().flat_map(|(group, versions)| {
        versions.iter().map(|version| ((*group).to_owned(), (*version).to_owned()))
    });
    served.chain(unserved).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrower_key_counts() {
        let check = |settings: &str, expect: [bool; 4]| {
            let config = RuntimeConfig::parse([settings]).expect(settings);
            let asked = [
                config.serves("admissionregistration.k8s.io", "v1beta1", "mutatingadmissionpolicies"),
                config.serves("admissionregistration.k8s.io", "v1beta1", "mutatingadmissionpolicybindings"),
                config.serves("admissionregistration.k8s.io", "v1alpha1", "mutatingadmissionpolicies"),
                config.serves("batch", "v1", "jobs"),
            ];
            assert_eq!(asked, expect, "{settings}");
        };
        check("", [false, false, false, true]);
        check("api/beta=true", [true, true, false, true]);
        check("api/all=true", [true; 4]);
        check("api/all=true,api/alpha=false", [true, true, false, true]);
        check("api/ga=false,batch/v1=true", [false, false, false, true]);
        check("admissionregistration.k8s.io/v1beta1", [true, true, false, true]);
        check("admissionregistration.k8s.io/v1beta1/mutatingadmissionpolicies=1", [true, false, false, true]);
        check("api/beta=true,admissionregistration.k8s.io/v1beta1=false", [false, false, false, true]);
        check(
            "admissionregistration.k8s.io/v1beta1=T,admissionregistration.k8s.io/v1beta1/mutatingadmissionpolicies=f",
            [false, true, false, true],
        );
        check("batch/v1/jobs=false, apps/v1beta1=true", [false, false, false, false]);
        check("/v1/pods=false", [false, false, false, true]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |settings: &str, expect: &str| {
            assert_eq!(RuntimeConfig::parse([settings]).expect_err(settings).to_string(), expect);
        };
        check("api/all=false", "invalid key with only api/all=false");
        check("v1=true", "runtime-config invalid key v1");
        check("a/b/c/d=true", "runtime-config invalid key a/b/c/d");
        check("shop.example/v1=true,api/x=true", "unknown api groups api,shop.example");
        check("api/beta=1", "invalid value api/beta=1");
        check("batch/v7=true", "group version batch/v7 that has not been registered");
        check(
            "batch/v1=yes",
            "invalid value of batch/v1: yes, err: strconv.ParseBool: parsing \"yes\": invalid syntax",
        );
        check(
            "batch/v1/Jobs=true",
            "invalid key batch/v1/Jobs: group/version/resource and resource is always lowercase plural, not \"Jobs\"",
        );
    }
}
