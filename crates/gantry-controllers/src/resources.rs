//! Which resources the API serves, by its aggregated discovery.

use kube::Client;
use kube::core::ApiResource;
use kube::core::discovery::v2::{APIGroupDiscoveryList, APIResourceDiscovery};

/// A resource that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Served {
    /// Group, version, kind and plural name.
    pub resource: ApiResource,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
    verbs: Vec<String>,
}

impl Served {
    /// Whether it has all these verbs.
    pub fn can(&self, verbs: &[&str]) -> bool {
        verbs.iter().all(|verb| self.verbs.iter().any(|each| each == verb))
    }

    /// `group/version, Resource=name`, as messages name a resource.
    pub fn described(&self) -> String {
        let ApiResource { group, version, plural, .. } = &self.resource;
        format!("{group}/{version}, Resource={plural}")
    }
}

/// What discovery tells.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Discovered {
    /// Every resource in the version that its group prefers.
    pub resources: Vec<Served>,
    /// Every resource in every version.
    pub kinds: Vec<Served>,
    /// Group versions whose resources are not known now, as `group/version: why`.
    pub failures: Vec<String>,
}

/// Asks the API.
pub(crate) async fn discover(client: &Client) -> kube::Result<Discovered> {
    let core = client.list_core_api_versions_aggregated().await?;
    let groups = client.list_api_groups_aggregated().await?;
    let mut discovered = Discovered::default();
    read(core, &mut discovered);
    read(groups, &mut discovered);
    Ok(discovered)
}

fn read(list: APIGroupDiscoveryList, into: &mut Discovered) {
    for group in list.items {
        let name = group.metadata.and_then(|metadata| metadata.name).unwrap_or_default();
        for version in group.versions {
            let number = version.version.unwrap_or_default();
            let api_version = if name.is_empty() { number.clone() } else { format!("{name}/{number}") };
            if version.freshness.as_deref() == Some("Stale") {
                into.failures.push(format!("{api_version}: stale GroupVersion discovery: {api_version}"));
            }
            for resource in version.resources {
                let Some(served) = served(resource, &name, &number, &api_version) else { continue };
                // Versions come in the order of preference.
                let same = |each: &Served| {
                    each.resource.group == name && each.resource.plural == served.resource.plural
                };
                into.kinds.push(served.clone());
                if !into.resources.iter().any(same) {
                    into.resources.push(served);
                }
            }
        }
    }
}

fn served(resource: APIResourceDiscovery, group: &str, version: &str, api_version: &str) -> Option<Served> {
    let resource_of = ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: api_version.to_owned(),
        kind: resource.response_kind?.kind?,
        plural: resource.resource?,
    };
    let namespaced = resource.scope.as_deref() == Some("Namespaced");
    Some(Served { resource: resource_of, namespaced, verbs: resource.verbs })
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    #[test]
    fn the_preferred_version_counts_and_stale_ones_are_named() {
        let resource = |plural: &str, kind: &str| json!({"resource": plural, "responseKind": {"kind": kind}, "scope": "Namespaced", "verbs": ["get", "delete"]});
        let list = json!({"items": [
            {"metadata": {"name": "a.io"}, "versions": [
                {"version": "v1", "freshness": "Current", "resources": [resource("xs", "X")]},
                {"version": "v1beta1", "freshness": "Current", "resources": [resource("xs", "X"), resource("ys", "Y")]},
            ]},
            {"metadata": {"name": "b.io"}, "versions": [{"version": "v1", "freshness": "Stale", "resources": []}]},
        ]});
        let mut found = Discovered::default();
        read(gantry_json::from_value(list).expect("a list"), &mut found);
        let names: Vec<_> = found.resources.iter().map(Served::described).collect();
        assert_eq!(names, ["a.io/v1, Resource=xs", "a.io/v1beta1, Resource=ys"]);
        assert_eq!(found.kinds.len(), 3);
        assert_eq!(found.failures, ["b.io/v1: stale GroupVersion discovery: b.io/v1"]);
        assert!(found.resources[0].can(&["get", "delete"]) && !found.resources[0].can(&["get", "watch"]));
    }
}
