//! What is served but will not be for ever: who asks for it is told so, and it is counted and noted.

use std::borrow::Cow;

use gantry_api::registry::Kind;

use super::Context;

/// Since when an API is deprecated, from when on it is not served, and what is there instead.
struct Life {
    deprecated: &'static str,
    /// Empty: it is served on.
    removed: &'static str,
    replacement: &'static str,
}

/// The life of a built-in kind in its version, where its end is in sight by v1.35.
fn life(kind: &Kind) -> Option<Life> {
    let life = |deprecated, removed, replacement| Some(Life { deprecated, removed, replacement });
    match (&*kind.version, &*kind.kind) {
        ("v1", "ComponentStatus") if kind.group.is_empty() => life("1.19", "", ""),
        ("v1", "Endpoints") if kind.group.is_empty() => life("1.33", "", "discovery.k8s.io/v1 EndpointSlice"),
        ("v1beta1", "IPAddress" | "ServiceCIDR" | "VolumeAttributesClass") => life("1.34", "1.37", ""),
        ("v1alpha2", "LeaseCandidate") => life("1.35", "", ""),
        _ => None,
    }
}

/// What users of a kind are told, and from which release on it is not served.
fn deprecation(kind: &Kind) -> Option<(Cow<'_, str>, &'static str)> {
    if let Some(custom) = kind.as_custom() {
        return custom.warning().map(|warning| (warning.into(), ""));
    }
    let Life { deprecated, removed, replacement } = life(kind)?;
    let mut warning = format!("{} {} is deprecated in v{deprecated}+", kind.api_version(), kind.kind);
    if !removed.is_empty() {
        warning += &format!(", unavailable in v{removed}+");
    }
    if !replacement.is_empty() {
        warning += &format!("; use {replacement}");
    }
    Some((warning.into(), removed))
}

/// Says what there is to say of the kind that is asked for.
pub(super) fn tell(context: &mut Context<'_>) {
    let Some((warning, removed)) = deprecation(context.kind) else { return };
    context.server.metrics.deprecated(context.kind, &context.info.subresource, removed);
    if let Some(annotations) = context.annotations {
        let mut noted = vec![("k8s.io/deprecated".to_owned(), "true".to_owned())];
        if !removed.is_empty() {
            noted.push(("k8s.io/removed-release".to_owned(), removed.to_owned()));
        }
        annotations.extend(noted.into_iter().collect());
    }
    context.warnings.push(warning.into_owned());
}

#[cfg(test)]
mod tests {
    use gantry_api::registry::Registry;

    use super::*;

    #[test]
    fn warnings_are_upstreams() {
        let check = |group: &str, version: &str, plural: &str, expect: Option<(&str, &str)>| {
            let kinds = Registry::builtin();
            let every = Registry::serving(
                &gantry_api::runtime_config::RuntimeConfig::parse(["api/all=true"]).unwrap(),
                &gantry_api::features::FeatureGates::parse(["AllAlpha=true,AllBeta=true"]).unwrap(),
            );
            let kind = every.lookup(group, version, plural).or_else(|| kinds.lookup(group, version, plural));
            let said =
                deprecation(kind.expect(plural)).map(|(warning, removed)| (warning.into_owned(), removed));
            assert_eq!(said, expect.map(|(warning, removed)| (warning.to_owned(), removed)), "{plural}");
        };
        check("", "v1", "pods", None);
        check("", "v1", "componentstatuses", Some(("v1 ComponentStatus is deprecated in v1.19+", "")));
        let endpoints = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice";
        check("", "v1", "endpoints", Some((endpoints, "")));
        check("networking.k8s.io", "v1", "ipaddresses", None);
        let address = "networking.k8s.io/v1beta1 IPAddress is deprecated in v1.34+, unavailable in v1.37+";
        check("networking.k8s.io", "v1beta1", "ipaddresses", Some((address, "1.37")));
        let candidate = "coordination.k8s.io/v1alpha2 LeaseCandidate is deprecated in v1.35+";
        check("coordination.k8s.io", "v1alpha2", "leasecandidates", Some((candidate, "")));
        check("coordination.k8s.io", "v1beta1", "leasecandidates", None);
    }
}
