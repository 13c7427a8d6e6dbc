//! Discovery documents: which groups, versions and resources there are.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use gantry_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::group_priority::{self, Priority};
use crate::registry::{Kind, Registry, Subresource};

/// Each group and version once, in the registry's order.
fn group_versions(registry: &Registry) -> Vec<(&str, &str)> {
    let mut all = Vec::new();
    for each in registry.iter().map(|kind| (&*kind.group, &*kind.version)) {
        if !all.contains(&each) {
            all.push(each);
        }
    }
    all
}

/// A version that another server answers for.
#[derive(Debug, Clone, PartialEq)]
pub struct Remote {
    /// The group.
    pub group: String,
    /// The version.
    pub version: String,
    /// Where it stands among the others.
    pub priority: Priority,
    /// Its resources, as aggregated discovery has them.
    pub resources: Vec<Value>,
    /// Whether the server has not answered lately.
    pub stale: bool,
}

/// The place of what this server answers for itself.
fn priority(group: &str, version: &str) -> Priority {
    // APIServices are before everything that they order.
    let first = Priority { group: 20_000, version: 100 };
    match group {
        "apiregistration.k8s.io" => first,
        _ => group_priority::builtin(group, version).unwrap_or(group_priority::CUSTOM),
    }
}

/// Each group with its versions, the preferred first; the groups by the best priority of a version.
fn groups<'a>(
    registry: &'a Registry,
    others: &'a [Remote],
) -> impl Iterator<Item = (&'a str, Vec<&'a str>)> + use<'a> {
    let own = group_versions(registry).into_iter();
    let own = own.filter(|(group, version)| remote(others, group, version).is_none());
    let mut all: Vec<(&str, &str, Priority)> =
        own.map(|(group, version)| (group, version, priority(group, version))).collect();
    all.extend(others.iter().map(|each| (each.group.as_str(), each.version.as_str(), each.priority)));
    all.sort_by(|a, b| b.2.group.cmp(&a.2.group).then_with(|| (a.1, a.0).cmp(&(b.1, b.0))));
    let mut groups: Vec<(&str, Vec<(&str, i64)>)> = Vec::new();
    for (group, version, priority) in all {
        match groups.iter_mut().find(|(name, _)| *name == group) {
            Some((_, versions)) => versions.push((version, priority.version)),
            None => groups.push((group, vec![(version, priority.version)])),
        }
    }
    groups.into_iter().map(|(group, mut versions)| {
        versions.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| group_priority::compare_versions(a.0, b.0)));
        (group, versions.into_iter().map(|(version, _)| version).collect())
    })
}

fn remote<'a>(others: &'a [Remote], group: &str, version: &str) -> Option<&'a Remote> {
    others.iter().find(|each| each.group == group && each.version == version)
}

/// `/apis`.
pub fn api_group_list(registry: &Registry, others: &[Remote]) -> Value {
    let groups: Vec<Value> = groups(registry, others)
        .filter(|(group, _)| !group.is_empty())
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|version| json!({"groupVersion": format!("{group}/{version}"), "version": version}))
                .collect();
            json!({"name": group, "versions": versions, "preferredVersion": versions[0]})
        })
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/api/VERSION` or `/apis/GROUP/VERSION`; `None` where there is no such version.
pub fn api_resource_list(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    if !group_versions(registry).contains(&(group, version)) {
        return None;
    }
    let mut resources = Vec::new();
    for kind in kinds(registry, group, version) {
        let mut entry = json!({
            "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind,
            "verbs": kind.verbs,
        });
        if !kind.short_names.is_empty() {
            entry["shortNames"] = json!(kind.short_names);
        }
        if !kind.categories.is_empty() {
            entry["categories"] = json!(kind.categories);
        }
        if let Some(hash) = storage_version_hash(registry, kind) {
            entry["storageVersionHash"] = hash.into();
        }
        resources.push(entry);
        resources.extend(kind.subresources.iter().map(|each| subresource(kind, each)));
    }
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Some(json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": resources,
    }))
}

/// The kinds of a version, by the names of their resources.
fn kinds<'a>(registry: &'a Registry, group: &str, version: &str) -> Vec<&'a Kind> {
    let all = registry.iter().map(|kind| &**kind);
    let mut kinds: Vec<&Kind> = all.filter(|kind| kind.group == group && kind.version == version).collect();
    kinds.sort_by(|a, b| a.plural.cmp(&b.plural));
    kinds
}

/// Tells clients when what is kept of a kind changes its form; `None` where nothing is kept, or in a version
/// of a definition that is not served.
fn storage_version_hash(registry: &Registry, kind: &Kind) -> Option<String> {
    let kept = match kind.stored {
        Some(stored) => {
            let mut own = registry.iter().filter(|each| each.stored.is_none());
            own.find(|each| (&*each.group, &*each.plural) == (stored.group, stored.plural))?
        }
        None => kind,
    };
    let version = match kind.as_custom().map(|custom| custom.definition.storage()) {
        Some(storage) => registry.lookup(&kind.group, &storage.name, &kind.plural).map(|_| &*storage.name)?,
        None => &*kept.version,
    };
    let watched = kind.verbs.contains(&"watch");
    let hash = || Sha256::digest(format!("{}/{version}/{}", kept.group, kept.kind));
    watched.then(|| BASE64_STANDARD.encode(&hash()[..8]))
}

fn subresource(kind: &Kind, each: &Subresource) -> Value {
    let [group, version, name] = each.kind.unwrap_or([&kind.group, &kind.version, &kind.kind]);
    let mut entry = json!({
        "name": format!("{}/{}", kind.plural, each.name), "singularName": "", "namespaced": kind.namespaced,
        "kind": name, "verbs": each.verbs,
    });
    if (group, version) != (&*kind.group, &*kind.version) {
        entry["group"] = group.into();
        entry["version"] = version.into();
    }
    entry
}

/// Aggregated discovery, of the core group or of the named groups.
pub fn aggregated(registry: &Registry, others: &[Remote], core: bool) -> Value {
    let items: Vec<Value> = groups(registry, others)
        .filter(|(group, _)| group.is_empty() == core)
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|version| match remote(others, group, version) {
                    Some(remote) => described(remote),
                    None => {
                        let resources = aggregated_resources(registry, group, version);
                        json!({"version": version, "resources": resources, "freshness": "Current"})
                    }
                })
                .collect();
            let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items,
    })
}

fn described(remote: &Remote) -> Value {
    let freshness = if remote.stale { "Stale" } else { "Current" };
    let mut entry = json!({"version": remote.version, "freshness": freshness});
    if !remote.resources.is_empty() {
        entry["resources"] = json!(remote.resources);
    }
    entry
}

/// The resources of an APIResourceList, as aggregated discovery has them.
pub fn resources_of(list: &Value, group: &str, version: &str) -> Vec<Value> {
    let mut resources: Vec<Value> = Vec::new();
    for each in list["resources"].as_array().into_iter().flatten() {
        let text = |key: &str| each[key].as_str().filter(|text| !text.is_empty());
        let kind = json!({
            "group": text("group").unwrap_or(group), "version": text("version").unwrap_or(version),
            "kind": text("kind").unwrap_or_default(),
        });
        let name = text("name").unwrap_or_default();
        let scope = if each["namespaced"] == true { "Namespaced" } else { "Cluster" };
        match name.split_once('/') {
            None => {
                let mut entry = json!({"resource": name, "responseKind": kind, "scope": scope,
                    "singularResource": text("singularName").unwrap_or_default(), "verbs": each["verbs"]});
                for key in ["shortNames", "categories"] {
                    if each[key].is_array() {
                        entry[key] = each[key].clone();
                    }
                }
                resources.push(entry);
            }
            Some((parent, subresource)) => {
                let at = resources.iter().position(|each| each["resource"] == parent).unwrap_or_else(|| {
                    resources.push(
                        json!({"resource": parent, "scope": scope, "singularResource": "", "verbs": []}),
                    );
                    resources.len() - 1
                });
                let entry = json!({"subresource": subresource, "responseKind": kind, "verbs": each["verbs"]});
                match resources[at]["subresources"].as_array_mut() {
                    Some(all) => all.push(entry),
                    None => resources[at]["subresources"] = json!([entry]),
                }
            }
        }
    }
    resources
}

fn aggregated_resources(registry: &Registry, group: &str, version: &str) -> Vec<Value> {
    let scope = |namespaced: bool| if namespaced { "Namespaced" } else { "Cluster" };
    let response =
        |[group, version, kind]: [&str; 3]| json!({"group": group, "version": version, "kind": kind});
    let mut resources = Vec::new();
    for kind in kinds(registry, group, version) {
        let mut entry = json!({
            "resource": kind.plural, "responseKind": response([&kind.group, &kind.version, &kind.kind]),
            "scope": scope(kind.namespaced), "singularResource": kind.singular, "verbs": kind.verbs,
        });
        if !kind.short_names.is_empty() {
            entry["shortNames"] = json!(kind.short_names);
        }
        if !kind.categories.is_empty() {
            entry["categories"] = json!(kind.categories);
        }
        let subresources: Vec<Value> = kind
            .subresources
            .iter()
            .map(|each| {
                let kind = each.kind.unwrap_or([&kind.group, &kind.version, &kind.kind]);
                json!({"subresource": each.name, "responseKind": response(kind), "verbs": each.verbs})
            })
            .collect();
        if !subresources.is_empty() {
            entry["subresources"] = json!(subresources);
        }
        resources.push(entry);
    }
    resources
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(group: &str, version: &str, priority: (i64, i64)) -> Remote {
        let priority = Priority { group: priority.0, version: priority.1 };
        Remote { group: group.into(), version: version.into(), priority, resources: Vec::new(), stale: true }
    }

    #[test]
    fn groups_are_ordered_by_priority() {
        let others = [
            remote("b.example", "v1alpha1", (2000, 10)),
            remote("b.example", "v1", (1500, 10)),
            remote("a.example", "v1", (100, 10)),
        ];
        let list = api_group_list(Registry::builtin(), &others);
        let names: Vec<&str> =
            list["groups"].as_array().unwrap().iter().map(|each| each["name"].as_str().unwrap()).collect();
        assert_eq!(names[..3], ["apiregistration.k8s.io", "apps", "events.k8s.io"]);
        assert_eq!(names[names.len() - 2..], ["b.example", "a.example"]);
        let of_b = &list["groups"][names.len() - 2];
        assert_eq!(of_b["preferredVersion"]["version"], "v1");
        let autoscaling =
            list["groups"].as_array().unwrap().iter().find(|each| each["name"] == "autoscaling");
        assert_eq!(autoscaling.unwrap()["preferredVersion"]["version"], "v2");
        let aggregated = aggregated(Registry::builtin(), &others, false);
        let last = aggregated["items"].as_array().unwrap().last().unwrap();
        assert_eq!(last["versions"], json!([{"version": "v1", "freshness": "Stale"}]));
    }

    #[test]
    fn resources_are_in_order_and_tell_what_is_kept() {
        let of = |group, version| api_resource_list(Registry::builtin(), group, version).unwrap();
        let text = |list: &Value, name: &str, key: &str| {
            let found = list["resources"].as_array().unwrap().iter().find(|each| each["name"] == name);
            found.unwrap()[key].as_str().map(str::to_owned)
        };
        let core = of("", "v1");
        assert!(core["resources"].as_array().unwrap().is_sorted_by_key(|each| each["name"].as_str()));
        // What v1.35 itself says of them.
        let hash = |list: &Value, name: &str| text(list, name, "storageVersionHash");
        assert_eq!(hash(&core, "pods").unwrap(), "xPOwRZ+Yhw8=");
        assert_eq!(hash(&core, "services").unwrap(), "0/CO1lhkEBI=");
        assert_eq!(hash(&of("events.k8s.io", "v1"), "events").unwrap(), "r2yiGXH7wu8=");
        assert_eq!(hash(&core, "bindings"), None);
        assert_eq!(hash(&core, "componentstatuses"), None);
        assert_eq!(hash(&of("authentication.k8s.io", "v1"), "tokenreviews"), None);
        let scalers = |version| hash(&of("autoscaling", version), "horizontalpodautoscalers").unwrap();
        assert_eq!(scalers("v1"), scalers("v2"));
        assert_eq!(text(&core, "nodes/proxy", "kind").unwrap(), "NodeProxyOptions");
        assert_eq!(text(&core, "pods/proxy", "kind").unwrap(), "PodProxyOptions");
        assert_eq!(text(&core, "services/proxy", "kind").unwrap(), "ServiceProxyOptions");
    }

    #[test]
    fn old_lists_are_understood() {
        let list = json!({"resources": [
            {"name": "things", "singularName": "thing", "namespaced": true, "kind": "Thing", "verbs": ["get"]},
            {"name": "things/scale", "namespaced": true, "group": "autoscaling", "version": "v1", "kind": "Scale",
                "verbs": ["get"]},
        ]});
        let resources = resources_of(&list, "a.example", "v1");
        assert_eq!(
            resources,
            [
                json!({"resource": "things", "singularResource": "thing", "scope": "Namespaced", "verbs": ["get"],
                "responseKind": {"group": "a.example", "version": "v1", "kind": "Thing"},
                "subresources": [{"subresource": "scale", "verbs": ["get"],
                    "responseKind": {"group": "autoscaling", "version": "v1", "kind": "Scale"}}]})
            ]
        );
    }
}
