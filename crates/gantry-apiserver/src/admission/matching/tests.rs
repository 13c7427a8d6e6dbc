//! Which requests rules and selectors select.

use gantry_json::json;
use gantry_store::engine::MemoryEngine;
use gantry_store::{Options, Store};

use super::*;
use crate::User;
use crate::admission::testing;

fn rule(resources: &[&str], scope: &str) -> Rule {
    Rule::read(&json!({"operations": ["CREATE", "UPDATE"], "apiGroups": ["", "apps"], "apiVersions": ["v1"],
        "resources": resources, "scope": scope}))
}

fn facts<'a>(group: &'a str, path: &'a str, namespace: &'a str) -> Facts<'a> {
    let (resource, subresource) = path.split_once('/').unwrap_or((path, ""));
    let resource = Resource { group, version: "v1", resource };
    Facts { operation: Operation::Create, resource, subresource, namespace, name: "x" }
}

#[test]
fn resources_and_subresources() {
    let check = |resources: &[&str], path: &str, expect: bool| {
        assert_eq!(rule(resources, "*").matches(&facts("", path, "n")), expect, "{resources:?} {path}");
    };
    check(&["pods"], "pods", true);
    check(&["pods"], "pods/status", false);
    check(&["pods/status"], "pods/status", true);
    check(&["pods/*"], "pods/exec", true);
    // Upstream reads the star as any part, the whole among them.
    check(&["pods/*"], "pods", true);
    check(&["*"], "pods", true);
    check(&["*"], "pods/exec", false);
    check(&["*/*"], "pods/exec", true);
    check(&["*/*"], "pods", true);
    check(&["*/scale"], "deployments/scale", true);
}

#[test]
fn groups_operations_scopes() {
    let rule_of = |scope| rule(&["*"], scope);
    assert!(rule_of("*").matches(&facts("apps", "deployments", "n")));
    assert!(!rule_of("*").matches(&facts("batch", "jobs", "n")));
    let deleted = Facts { operation: Operation::Delete, ..facts("", "pods", "n") };
    assert!(!rule_of("*").matches(&deleted));
    assert!(rule_of("Namespaced").matches(&facts("", "pods", "n")));
    assert!(!rule_of("Cluster").matches(&facts("", "pods", "n")));
    assert!(rule_of("Cluster").matches(&facts("", "nodes", "")));
    // A Namespace is cluster-scoped, though its requests have a namespace.
    assert!(rule_of("Cluster").matches(&facts("", "namespaces", "n")));
    assert!(!rule_of("Namespaced").matches(&facts("", "namespaces", "n")));
}

#[test]
fn other_versions_of_the_same_objects() {
    let registry = Registry::builtin();
    let kind = registry.lookup("autoscaling", "v2", "horizontalpodautoscalers").unwrap();
    let others = equivalents(registry, kind, "");
    assert_eq!(others.iter().map(|kind| kind.api_version()).collect::<Vec<_>>(), ["autoscaling/v1"]);
    let rule = Rule::read(&json!({"operations": ["*"], "apiGroups": ["autoscaling"], "apiVersions": ["v1"],
        "resources": ["horizontalpodautoscalers"]}));
    let resource = Resource { group: "autoscaling", version: "v2", resource: "horizontalpodautoscalers" };
    let facts = Facts { resource, ..facts("", "x", "n") };
    assert_eq!(find(std::slice::from_ref(&rule), &facts, None), None);
    let met = find(&[rule], &facts, Some(&others)).unwrap();
    assert_eq!((met.group, met.version), ("autoscaling", "v1"));
}

#[tokio::test]
async fn namespaces_and_objects() {
    let store = Store::with_engine(MemoryEngine::default(), Options::default()).unwrap();
    let namespace = json!({"metadata": {"name": "n", "labels": {"team": "a"}}}).to_string();
    store.create("/registry/namespaces/n", namespace.into_bytes(), None).await.unwrap();
    let snapshot = store.snapshot();
    let user = User::new("ada", []);
    let selectors = Selectors::read(&json!({
        "namespaceSelector": {"matchLabels": {"team": "a"}},
        "objectSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "db"]}]},
    }));
    let pod =
        |namespace: &str, app: &str| json!({"metadata": {"namespace": namespace, "labels": {"app": app}}});
    let request = testing::request(Operation::Create, "pods", &user, pod("n", "web"), None);
    assert_eq!(selectors.select_namespace(&request, &snapshot), Ok(true));
    assert_eq!(selectors.select_object(&request), Ok(true));
    let request = testing::request(Operation::Create, "pods", &user, pod("m", "other"), None);
    assert_eq!(selectors.select_namespace(&request, &snapshot).unwrap_err().code, 404);
    assert_eq!(selectors.select_object(&request), Ok(false));
    // The old object counts as well.
    let old = pod("n", "db");
    let request = testing::request(Operation::Update, "pods", &user, pod("n", "other"), Some(&old));
    assert_eq!(selectors.select_object(&request), Ok(true));
    // A new namespace is selected by the labels that it is to have.
    let new = json!({"metadata": {"name": "new", "labels": {"team": "a"}}});
    let request = testing::request(Operation::Create, "namespaces", &user, new, None);
    assert_eq!(selectors.select_namespace(&request, &snapshot), Ok(true));
}
