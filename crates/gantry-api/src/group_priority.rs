//! The order in which groups and their versions are discovered, as numbers: those of the built-in ones,
//! and how they are compared.

use std::cmp::Ordering;

/// The priority of a group among all groups, and of a version in its group; higher is first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priority {
    /// The group's `groupPriorityMinimum`.
    pub group: i64,
    /// The version's `versionPriority`.
    pub version: i64,
}

/// The priority of the versions of CustomResourceDefinitions.
pub const CUSTOM: Priority = Priority { group: 1000, version: 100 };

/// The built-in groups with their priority.
const GROUPS: &[(&str, i64)] = &[
    ("", 18_000),
    ("apps", 17_800),
    ("events.k8s.io", 17_750),
    ("authentication.k8s.io", 17_700),
    ("authorization.k8s.io", 17_600),
    ("autoscaling", 17_500),
    ("batch", 17_400),
    ("certificates.k8s.io", 17_300),
    ("networking.k8s.io", 17_200),
    ("policy", 17_100),
    ("rbac.authorization.k8s.io", 17_000),
    ("storage.k8s.io", 16_800),
    ("apiextensions.k8s.io", 16_700),
    ("admissionregistration.k8s.io", 16_700),
    ("scheduling.k8s.io", 16_600),
    ("coordination.k8s.io", 16_500),
    ("node.k8s.io", 16_300),
    ("discovery.k8s.io", 16_200),
    ("flowcontrol.apiserver.k8s.io", 16_100),
    ("internal.apiserver.k8s.io", 16_000),
    ("resource.k8s.io", 15_900),
    ("storagemigration.k8s.io", 15_800),
];

/// The priority of a built-in version; `None`: it is none, or the one of APIServices themselves, which is
/// before all others without being registered.
pub fn builtin(group: &str, version: &str) -> Option<Priority> {
    let (_, of_group) = GROUPS.iter().find(|(name, _)| *name == group)?;
    let of_version = match (group, version) {
        ("", _) => 1,
        ("autoscaling", "v2") => 30,
        ("flowcontrol.apiserver.k8s.io", "v1") => 21,
        (_, "v1") => 15,
        (_, version) if version.contains("beta") => 12,
        _ => 9,
    };
    Some(Priority { group: *of_group, version: of_version })
}

/// How two versions of a group with the same priority are ordered, the better first: a `v2` is before a
/// `v1`, both are before betas, those before alphas, and these before any other name.
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    match (stability(a), stability(b)) {
        (Some(a), Some(b)) => b.cmp(&a),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

/// What a version that looks like Kubernetes' own is sorted by.
fn stability(version: &str) -> Option<(u8, u64, u64)> {
    let number = |text: &str| match text.starts_with(['0', '+']) {
        true => None,
        false => text.parse::<u64>().ok(),
    };
    let rest = version.strip_prefix('v')?;
    let Some(at) = rest.find(|c: char| !c.is_ascii_digit()) else { return Some((2, number(rest)?, 0)) };
    let (major, rest) = rest.split_at(at);
    let (level, minor) = match rest.strip_prefix("beta") {
        Some(minor) => (1, minor),
        None => (0, rest.strip_prefix("alpha")?),
    };
    Some((level, number(major)?, number(minor)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_stability_then_number() {
        let mut versions =
            ["foo10", "v1", "v3beta1", "v11alpha2", "v10", "v2", "foo1", "v12alpha1", "v10beta3", "v0"];
        versions.sort_by(|a, b| compare_versions(a, b));
        assert_eq!(
            versions,
            ["v10", "v2", "v1", "v10beta3", "v3beta1", "v12alpha1", "v11alpha2", "foo1", "foo10", "v0"]
        );
    }

    #[test]
    fn every_built_in_version_has_a_priority() {
        for kind in crate::registry::Registry::known().iter() {
            let own = kind.group == "apiregistration.k8s.io";
            assert_eq!(builtin(&kind.group, &kind.version).is_none(), own, "{}/{}", kind.group, kind.version);
        }
    }
}
