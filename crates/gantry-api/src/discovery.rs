//! Discovery documents: which groups, versions and resources there are.

use serde_json::{Value, json};

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

/// Each group with its versions, the preferred first.
fn groups(registry: &Registry) -> impl Iterator<Item = (&str, Vec<&str>)> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for (group, version) in group_versions(registry) {
        match groups.iter_mut().find(|(name, _)| *name == group) {
            Some((_, versions)) => versions.push(version),
            None => groups.push((group, vec![version])),
        }
    }
    groups.into_iter()
}

/// `/apis`.
pub fn api_group_list(registry: &Registry) -> Value {
    let groups: Vec<Value> = groups(registry)
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
    for kind in registry.iter().filter(|kind| kind.group == group && kind.version == version) {
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
        resources.push(entry);
        resources.extend(kind.subresources.iter().map(|each| subresource(kind, each)));
    }
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Some(json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": resources,
    }))
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
pub fn aggregated(registry: &Registry, core: bool) -> Value {
    let items: Vec<Value> = groups(registry)
        .filter(|(group, _)| group.is_empty() == core)
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|version| {
                    let resources = aggregated_resources(registry, group, version);
                    json!({"version": version, "resources": resources, "freshness": "Current"})
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

fn aggregated_resources(registry: &Registry, group: &str, version: &str) -> Vec<Value> {
    let scope = |namespaced: bool| if namespaced { "Namespaced" } else { "Cluster" };
    let response =
        |[group, version, kind]: [&str; 3]| json!({"group": group, "version": version, "kind": kind});
    let mut resources = Vec::new();
    for kind in registry.iter().filter(|kind| kind.group == group && kind.version == version) {
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
