//! The names of admission plugins, and which of them are on.

use std::collections::BTreeSet;

/// A plugin's place in upstream's list.
struct Known {
    name: &'static str,
    /// Whether it is on where nothing is said.
    on: bool,
    /// Whether this server has it.
    here: bool,
}

const fn on(name: &'static str) -> Known {
    Known { name, on: true, here: true }
}

const fn off(name: &'static str) -> Known {
    Known { name, on: false, here: true }
}

const fn missing(name: &'static str) -> Known {
    Known { name, on: false, here: false }
}

/// Upstream's plugins in the order in which they are asked. NodeRestriction, which upstream leaves to whoever
/// sets up a cluster, is on.
const KNOWN: [Known; 37] = [
    off("AlwaysAdmit"),
    missing("NamespaceAutoProvision"),
    on("NamespaceLifecycle"),
    off("NamespaceExists"),
    off("LimitPodHardAntiAffinityTopology"),
    on("LimitRanger"),
    on("ServiceAccount"),
    on("NodeRestriction"),
    on("TaintNodesByCondition"),
    off("AlwaysPullImages"),
    missing("ImagePolicyWebhook"),
    on("PodSecurity"),
    missing("PodNodeSelector"),
    on("Priority"),
    on("DefaultTolerationSeconds"),
    missing("PodTolerationRestriction"),
    missing("EventRateLimit"),
    missing("ExtendedResourceToleration"),
    on("DefaultStorageClass"),
    on("StorageObjectInUseProtection"),
    missing("OwnerReferencesPermissionEnforcement"),
    on("PersistentVolumeClaimResize"),
    on("RuntimeClass"),
    on("CertificateApproval"),
    on("CertificateSigning"),
    missing("ClusterTrustBundleAttest"),
    on("CertificateSubjectRestriction"),
    on("DefaultIngressClass"),
    off("DenyServiceExternalIPs"),
    on("PodTopologyLabels"),
    missing("NodeDeclaredFeatureValidator"),
    on("MutatingAdmissionPolicy"),
    on("MutatingAdmissionWebhook"),
    on("ValidatingAdmissionPolicy"),
    on("ValidatingAdmissionWebhook"),
    on("ResourceQuota"),
    off("AlwaysDeny"),
];

/// Which plugins are on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chosen(BTreeSet<&'static str>);

impl Default for Chosen {
    /// Those that are on by default.
    fn default() -> Self {
        Self(KNOWN.iter().filter(|known| known.on).map(|known| known.name).collect())
    }
}

impl Chosen {
    /// Those that are on by default with some `enabled` and some `disabled`. The error is in upstream's words.
    pub fn new(enabled: &[String], disabled: &[String]) -> Result<Self, String> {
        let of = |name: &String| KNOWN.iter().find(|known| known.name == *name);
        let mut errors = Vec::new();
        for name in enabled {
            match of(name) {
                None => errors.push(format!("enable-admission-plugins plugin {name:?} is unknown")),
                Some(known) if !known.here => {
                    errors
                        .push(format!("enable-admission-plugins plugin {name:?} is not part of this server"));
                }
                Some(_) => {}
            }
        }
        for name in disabled.iter().filter(|name| of(name).is_none()) {
            errors.push(format!("disable-admission-plugins plugin {name:?} is unknown"));
        }
        let both: BTreeSet<&str> =
            enabled.iter().filter(|name| disabled.contains(name)).map(String::as_str).collect();
        if !both.is_empty() {
            let both = both.into_iter().collect::<Vec<_>>().join(" ");
            errors.push(format!(
                "[{both}] in enable-admission-plugins and disable-admission-plugins overlapped"
            ));
        }
        match errors.as_slice() {
            [] => {}
            [one] => return Err(one.clone()),
            several => return Err(format!("[{}]", several.join(", "))),
        }
        let mut chosen = Self::default();
        chosen.0.extend(enabled.iter().filter_map(of).map(|known| known.name));
        chosen.0.retain(|name| !disabled.iter().any(|each| each == name));
        Ok(chosen)
    }

    /// Whether what the chain calls `name` is asked. What is no plugin of upstream's is always asked.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains(name) || !KNOWN.iter().any(|known| known.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_choose() {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let chosen = |enabled: &[&str], disabled: &[&str]| Chosen::new(&owned(enabled), &owned(disabled));
        let some = chosen(&["AlwaysPullImages", "PodSecurity"], &["Priority", "EventRateLimit"]).unwrap();
        assert!(some.has("AlwaysPullImages") && some.has("PodSecurity") && some.has("RBACEscalation"));
        assert!(!some.has("Priority") && !some.has("AlwaysDeny"));
        assert_eq!(
            chosen(&["A"], &["B"]).unwrap_err(),
            "[enable-admission-plugins plugin \"A\" is unknown, disable-admission-plugins plugin \"B\" is unknown]"
        );
        assert_eq!(
            chosen(&["Priority"], &["Priority"]).unwrap_err(),
            "[Priority] in enable-admission-plugins and disable-admission-plugins overlapped"
        );
        let missing = "enable-admission-plugins plugin \"EventRateLimit\" is not part of this server";
        assert_eq!(chosen(&["EventRateLimit"], &[]).unwrap_err(), missing);
    }
}
