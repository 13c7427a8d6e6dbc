//! The default roles and bindings, read from two tables, and how a start puts them right: what is
//! missing is added, what somebody added stays, and objects whose annotation
//! `rbac.authorization.kubernetes.io/autoupdate` is `false` are left alone.

use gantry_json::{Map, Value, json};

use crate::authz::Rule;

const POLICY: &str = include_str!("policy.txt");
const BINDINGS: &str = include_str!("bindings.txt");
const GROUP: &str = "rbac.authorization.k8s.io";
const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// The default ClusterRoles and Roles.
pub fn roles() -> Vec<Value> {
    let mut roles: Vec<Value> = Vec::new();
    for line in POLICY.lines().filter(|line| !line.starts_with('#')) {
        if let Some(rule) = line.strip_prefix(' ') {
            let role = roles.last_mut().expect("a role comes before its rules");
            if role["rules"].is_null() {
                role["rules"] = json!([]);
            }
            role["rules"].as_array_mut().expect("just made").push(json!(parse_rule(rule)));
        } else {
            roles.push(parse_role(line));
        }
    }
    fill_aggregated(&mut roles);
    roles
}

/// Puts the aggregated roles together, so that they are right from the first moment on.
fn fill_aggregated(roles: &mut [Value]) {
    for target in ["view", "edit", "admin"] {
        let label = format!("{GROUP}/aggregate-to-{target}");
        let parts = roles.iter().filter(|role| role["metadata"]["labels"][&label] == "true");
        let rules: Vec<Value> =
            parts.flat_map(|role| role["rules"].as_array().cloned().unwrap_or_default()).collect();
        if let Some(role) = roles.iter_mut().find(|role| role["metadata"]["name"] == target) {
            role["rules"] = json!(rules);
        }
    }
}

/// The rules of the default cluster role `name`.
pub fn cluster_role_rules(name: &str) -> Vec<Rule> {
    let head = format!("clusterrole {name}");
    let lines =
        POLICY.lines().skip_while(|line| *line != head && !line.starts_with(&format!("{head} "))).skip(1);
    lines.map_while(|line| line.strip_prefix(' ')).map(parse_rule).collect()
}

/// The default ClusterRoleBindings and RoleBindings.
pub fn bindings() -> Vec<Value> {
    let mut bindings: Vec<Value> =
        BINDINGS.lines().filter(|line| !line.starts_with('#')).map(parse_binding).collect();
    for line in POLICY.lines() {
        if let Some(name) = line.strip_prefix("clusterrole system:controller:") {
            let role = format!("system:controller:{name}");
            let account = format!("sa=kube-system/{name}");
            bindings.push(binding(None, &role, &role, [account.as_str()].into_iter()));
        }
    }
    bindings
}

fn metadata(namespace: Option<&str>, name: &str) -> Value {
    let mut metadata = json!({
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {AUTO_UPDATE: "true"},
    });
    if let Some(namespace) = namespace {
        metadata["namespace"] = json!(namespace);
    }
    metadata
}

fn parse_role(line: &str) -> Value {
    let mut words = line.split(' ');
    if words.next() == Some("role") {
        let (namespace, name) = (words.next(), words.next().unwrap_or_default());
        return json!({"apiVersion": format!("{GROUP}/v1"), "kind": "Role", "metadata": metadata(namespace, name)});
    }
    let name = words.next().unwrap_or_default();
    let mut role =
        json!({"apiVersion": format!("{GROUP}/v1"), "kind": "ClusterRole", "metadata": metadata(None, name)});
    for word in words {
        let label = |target: &str| format!("{GROUP}/aggregate-to-{target}");
        match word.split_once('=') {
            Some(("to", target)) => role["metadata"]["labels"][&label(target)] = json!("true"),
            Some(("from", target)) => {
                let labels = json!({label(target): "true"});
                role["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": labels}]});
            }
            _ => {}
        }
    }
    role
}

fn parse_rule(line: &str) -> Rule {
    if line == "EVENTS" {
        return parse_rule("create,patch,update core,events.k8s.io events");
    }
    let list = |text: &str| -> Vec<String> { text.split(',').map(str::to_owned).collect() };
    let mut words = line.split(' ');
    let mut next = || words.next().unwrap_or_default();
    let verbs = list(match next() {
        "READ" => "get,list,watch",
        "WRITE" => "create,delete,deletecollection,patch,update",
        "ALL" => "create,delete,deletecollection,get,list,patch,update,watch",
        verbs => verbs,
    });
    let groups = next();
    if groups == "url" {
        return Rule { verbs, non_resource_urls: list(next()), ..Rule::default() };
    }
    let api_groups =
        groups.split(',').map(|group| if group == "core" { "" } else { group }.to_owned()).collect();
    let resources = list(next());
    let resource_names = Some(next()).filter(|names| !names.is_empty()).map(list).unwrap_or_default();
    Rule { verbs, api_groups, resources, resource_names, ..Rule::default() }
}

fn parse_binding(line: &str) -> Value {
    let mut words = line.split(' ');
    let namespace = if words.next() == Some("in") { words.next() } else { None };
    let (name, role) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    binding(namespace, name, role, words)
}

fn binding<'a>(
    namespace: Option<&str>,
    name: &str,
    role: &str,
    subjects: impl Iterator<Item = &'a str>,
) -> Value {
    let subject = |text: &str| match text.split_once('=') {
        Some(("user", name)) => json!({"apiGroup": GROUP, "kind": "User", "name": name}),
        Some(("group", name)) => json!({"apiGroup": GROUP, "kind": "Group", "name": name}),
        Some((_, place)) => {
            let (namespace, name) = place.split_once('/').unwrap_or(("", place));
            json!({"kind": "ServiceAccount", "namespace": namespace, "name": name})
        }
        None => Value::Null,
    };
    let subjects: Vec<Value> = subjects.map(subject).collect();
    let (kind, role_kind) =
        if namespace.is_some() { ("RoleBinding", "Role") } else { ("ClusterRoleBinding", "ClusterRole") };
    let mut object = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": metadata(namespace, name),
        "roleRef": {"apiGroup": GROUP, "kind": role_kind, "name": role},
    });
    if !subjects.is_empty() {
        object["subjects"] = json!(subjects);
    }
    object
}

/// What `existing` has to become so that it holds the default role; `None`: it is right as it is.
pub fn reconcile_role(existing: &Value, default: &Value) -> Option<Value> {
    let mut next = protected(existing, default)?;
    if default.get("aggregationRule").is_some() {
        let selectors = |role: &Value| {
            role["aggregationRule"]["clusterRoleSelectors"].as_array().cloned().unwrap_or_default()
        };
        let mut held = selectors(&next);
        let lacking: Vec<Value> =
            selectors(default).into_iter().filter(|selector| !held.contains(selector)).collect();
        if !lacking.is_empty() {
            held.extend(lacking);
            next["aggregationRule"] = json!({"clusterRoleSelectors": held});
        }
    } else {
        let held: Vec<Rule> = gantry_json::from_value(next["rules"].clone()).unwrap_or_default();
        let wanted: Vec<Rule> = gantry_json::from_value(default["rules"].clone()).unwrap_or_default();
        let lacking = wanted
            .into_iter()
            .filter(|rule| rule.atoms().iter().any(|atom| !held.iter().any(|held| held.covers(atom))));
        let lacking: Vec<Value> = lacking.map(|rule| json!(rule)).collect();
        extend(&mut next, "rules", lacking);
    }
    (next != *existing).then_some(next)
}

/// What `existing` has to become so that it holds the default binding; `None`: it is right as it is. The
/// role of a binding cannot change: one to another role has to be made anew.
pub fn reconcile_binding(existing: &Value, default: &Value) -> Option<Value> {
    let mut next = protected(existing, default)?;
    if next["roleRef"] != default["roleRef"] {
        return Some(default.clone());
    }
    let held = next["subjects"].as_array().cloned().unwrap_or_default();
    let wanted = default["subjects"].as_array().cloned().unwrap_or_default();
    extend(&mut next, "subjects", wanted.into_iter().filter(|subject| !held.contains(subject)).collect());
    (next != *existing).then_some(next)
}

/// A copy with the default's labels and annotations, unless the object opted out of updates.
fn protected(existing: &Value, default: &Value) -> Option<Value> {
    let opted_out =
        existing["metadata"]["annotations"].get(AUTO_UPDATE).is_some_and(|value| value == "false");
    if opted_out {
        return None;
    }
    let mut next = existing.clone();
    for field in ["labels", "annotations"] {
        let wanted = default["metadata"][field].as_object().cloned().unwrap_or_default();
        let slot = &mut next["metadata"][field];
        if slot.is_null() {
            *slot = Value::Object(Map::new());
        }
        if let Some(map) = slot.as_object_mut() {
            for (key, value) in wanted {
                map.entry(key).or_insert(value);
            }
        }
    }
    Some(next)
}

fn extend(object: &mut Value, field: &str, items: Vec<Value>) {
    if items.is_empty() {
        return;
    }
    let list = &mut object[field];
    if !list.is_array() {
        *list = json!([]);
    }
    if let Some(list) = list.as_array_mut() {
        list.extend(items);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_binding_has_its_role_and_every_name_is_used_once() {
        let key = |object: &Value| {
            let metadata = &object["metadata"];
            format!("{} {} {}", object["kind"], metadata["namespace"], metadata["name"])
        };
        let (roles, bindings) = (roles(), bindings());
        let keys: HashSet<_> = roles.iter().chain(&bindings).map(key).collect();
        assert_eq!(keys.len(), roles.len() + bindings.len());
        for binding in &bindings {
            let namespace = if binding["kind"] == "RoleBinding" {
                &binding["metadata"]["namespace"]
            } else {
                &Value::Null
            };
            let role = format!("{} {namespace} {}", binding["roleRef"]["kind"], binding["roleRef"]["name"]);
            assert!(keys.contains(&role), "{role}");
        }
        for rule in roles.iter().flat_map(|role| role["rules"].as_array().into_iter().flatten()) {
            let rule: Rule = gantry_json::from_value(rule.clone()).unwrap();
            assert!(!rule.atoms().is_empty(), "{rule:?}");
        }
    }

    #[test]
    fn there_are_as_many_as_in_kubernetes() {
        let (roles, bindings) = (roles(), bindings());
        let count = |objects: &[Value], kind: &str, select: &dyn Fn(&str) -> bool| {
            let of_kind = objects.iter().filter(|object| object["kind"] == kind);
            of_kind.filter(|object| select(object["metadata"]["name"].as_str().unwrap())).count()
        };
        // Those that a cluster of ours has besides.
        let own = |name: &str| name.starts_with("gantry:") || name == "system:coredns";
        let controller = |name: &str| name.starts_with("system:controller:");
        let other = |name: &str| !own(name) && !controller(name);
        assert_eq!(count(&roles, "ClusterRole", &controller), 37);
        assert_eq!(count(&bindings, "ClusterRoleBinding", &controller), 37);
        assert_eq!(count(&roles, "ClusterRole", &other), 31);
        assert_eq!(count(&bindings, "ClusterRoleBinding", &other), 12);
        assert_eq!(count(&roles, "Role", &|name| !own(name)), 7);
        assert_eq!(count(&bindings, "RoleBinding", &|name| !own(name)), 7);
    }

    #[test]
    fn reads_the_table() {
        let check = |name: &str, expect: Value| {
            let roles = roles();
            let role = roles.iter().find(|role| role["metadata"]["name"] == name).unwrap();
            assert_eq!(role["rules"], expect, "{name}");
        };
        check(
            "cluster-admin",
            json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
                   {"nonResourceURLs": ["*"], "verbs": ["*"]}]),
        );
        check(
            "system:kube-dns",
            json!([{"apiGroups": [""], "resources": ["endpoints", "services"],
            "verbs": ["list", "watch"]}]),
        );
        assert_eq!(cluster_role_rules("system:node").len(), 25);
        let part = |name: &str| cluster_role_rules(&format!("system:aggregate-to-{name}")).len();
        let total = part("admin") + part("edit") + part("view");
        let roles = roles();
        let admin = roles.iter().find(|role| role["metadata"]["name"] == "admin").unwrap();
        assert_eq!(admin["rules"].as_array().unwrap().len(), total);
    }

    #[test]
    fn reconciling_adds_and_keeps() {
        let default = roles().into_iter().find(|role| role["metadata"]["name"] == "system:kube-dns").unwrap();
        assert_eq!(reconcile_role(&default, &default), None);
        let mut changed = default.clone();
        changed["rules"] = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
        let next = reconcile_role(&changed, &default).unwrap();
        assert_eq!(next["rules"].as_array().unwrap().len(), 2);
        changed["metadata"]["annotations"][AUTO_UPDATE] = json!("false");
        assert_eq!(reconcile_role(&changed, &default), None);
        changed["metadata"]["annotations"][AUTO_UPDATE] = json!("sometimes");
        changed["metadata"]["labels"]["kubernetes.io/bootstrapping"] = json!("mine");
        let next = reconcile_role(&changed, &default).unwrap();
        assert_eq!(next["metadata"], changed["metadata"], "what stands there stays");
        let edit = roles().into_iter().find(|role| role["metadata"]["name"] == "edit").unwrap();
        let mut changed = edit.clone();
        let selectors = json!([{"matchLabels": {"mine": "true"}}]);
        changed["aggregationRule"]["clusterRoleSelectors"] = selectors;
        let next = reconcile_role(&changed, &edit).unwrap();
        assert_eq!(next["aggregationRule"]["clusterRoleSelectors"].as_array().unwrap().len(), 2);
        let default = &bindings()[0];
        let mut changed = default.clone();
        changed["subjects"] = json!([]);
        assert_eq!(reconcile_binding(&changed, default).unwrap()["subjects"], default["subjects"]);
        changed["roleRef"]["name"] = json!("view");
        assert_eq!(reconcile_binding(&changed, default).as_ref(), Some(default));
    }
}
