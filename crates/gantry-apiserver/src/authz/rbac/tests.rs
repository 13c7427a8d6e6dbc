//! The index against the plainest way to decide: look at every binding and every rule.

use std::collections::BTreeMap;

use gantry_json::{Value, json};
use proptest::prelude::*;

use super::*;

const NAMESPACES: [&str; 3] = ["", "a", "b"];
const NAMES: [&str; 3] = ["x", "y", "z"];
const USERS: [&str; 3] = ["u", "v", "system:serviceaccount:a:w"];

/// The objects by key, decided on without an index.
fn plainly(objects: &BTreeMap<String, Value>, attributes: &Attributes) -> bool {
    let rules = |namespace: &str, reference: &Value| -> Vec<Rule> {
        let name = reference["name"].as_str().unwrap();
        let key = match reference["kind"].as_str() {
            Some("Role") => format!("{ROLES}{namespace}/{name}"),
            _ => format!("{CLUSTER_ROLES}{name}"),
        };
        let Some(role) = objects.get(&key) else { return Vec::new() };
        if role["aggregationRule"].is_null() {
            return gantry_json::from_value(role["rules"].clone()).unwrap();
        }
        let labelled = objects.iter().filter(|(key, other)| {
            key.starts_with(CLUSTER_ROLES)
                && other["aggregationRule"].is_null()
                && other["metadata"]["labels"]["to"] == "x"
        });
        labelled
            .flat_map(|(_, other)| gantry_json::from_value::<Vec<Rule>>(other["rules"].clone()).unwrap())
            .collect()
    };
    objects.iter().any(|(key, binding)| {
        let namespace = if key.starts_with(CLUSTER_ROLE_BINDINGS) {
            ""
        } else if let Some(place) = key.strip_prefix(ROLE_BINDINGS) {
            let namespace = place.split('/').next().unwrap();
            if namespace != attributes.namespace {
                return false;
            }
            namespace
        } else {
            return false;
        };
        let subject = &binding["subjects"][0];
        let is = match subject["kind"].as_str() {
            Some("Group") => attributes.user.in_group(subject["name"].as_str().unwrap()),
            Some("ServiceAccount") => attributes.user.name == "system:serviceaccount:a:w",
            _ => attributes.user.name == subject["name"].as_str().unwrap(),
        };
        is && rules(namespace, &binding["roleRef"])
            .iter()
            .any(|rule| rule.allows(attributes, &attributes.resource))
    })
}

fn object(kind: usize, namespace: usize, name: usize, choice: usize) -> (String, Value) {
    let namespace = NAMESPACES[1 + namespace % 2];
    let name = NAMES[name];
    let group = ["", "*"][choice % 2];
    let resource = ["pods", "nodes", "*"][choice % 3];
    let verb = ["get", "list"][choice / 2 % 2];
    let rule = json!({"apiGroups": [group], "resources": [resource], "verbs": [verb]});
    let mut role = json!({"metadata": {"labels": {"to": NAMES[choice % 3]}}, "rules": [rule]});
    if kind == 1 && choice == 5 {
        role["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {"to": "x"}}]});
        role["rules"] = Value::Null;
    }
    let subject = match choice % 3 {
        0 => json!({"kind": "User", "name": "u"}),
        1 => json!({"kind": "Group", "name": "g"}),
        _ => json!({"kind": "ServiceAccount", "name": "w", "namespace": "a"}),
    };
    let reference = |cluster: bool| {
        let kind = if cluster || choice.is_multiple_of(2) { "ClusterRole" } else { "Role" };
        json!({"kind": kind, "name": NAMES[choice % 3]})
    };
    match kind {
        0 => (format!("{ROLES}{namespace}/{name}"), role),
        1 => (format!("{CLUSTER_ROLES}{name}"), role),
        2 => (
            format!("{ROLE_BINDINGS}{namespace}/{name}"),
            json!({"subjects": [subject], "roleRef": reference(false)}),
        ),
        _ => (
            format!("{CLUSTER_ROLE_BINDINGS}{name}"),
            json!({"subjects": [subject], "roleRef": reference(true)}),
        ),
    }
}

proptest! {
    /// After any sequence of changes the index decides as a look at all objects does.
    #[test]
    fn decides_as_a_look_at_all_objects_does(
        changes in prop::collection::vec((0usize..4, 0usize..2, 0usize..3, 0usize..6, any::<bool>()), 1..40),
    ) {
        let mut rbac = Rbac::default();
        let mut objects = BTreeMap::new();
        for (kind, namespace, name, choice, delete) in changes {
            let (key, value) = object(kind, namespace, name, choice);
            if delete {
                rbac.apply(&key, None);
                objects.remove(&key);
            } else {
                rbac.apply(&key, Some(value.to_string().as_bytes()));
                objects.insert(key, value);
            }
        }
        for (user, namespace) in USERS.iter().flat_map(|user| NAMESPACES.map(|namespace| (*user, namespace))) {
            for (verb, resource) in [("get", "pods"), ("list", "pods"), ("get", "nodes"), ("list", "secrets")] {
                let groups: &[&str] = if user == "v" { &["g"] } else { &[] };
                let attributes = Attributes {
                    user: User::new(user, groups.iter().copied()).into(),
                    verb: verb.into(),
                    resource: resource.into(),
                    namespace: namespace.into(),
                    is_resource: true,
                    ..Attributes::default()
                };
                let expect = plainly(&objects, &attributes);
                prop_assert_eq!(rbac.authorize(&attributes).is_allowed(), expect, "{:?}", attributes);
            }
        }
    }
}
