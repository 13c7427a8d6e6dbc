//! The default roles at work, changes, refusals, escalation, reviews.

use futures::FutureExt;
use gantry_json::{Value, json};
use gantry_store::Options;
use gantry_store::engine::MemoryEngine;

use super::*;
use crate::{User, bootstrap};

fn key(object: &Value) -> String {
    let plural = format!("{}s", object["kind"].as_str().unwrap().to_lowercase());
    let name = object["metadata"]["name"].as_str().unwrap();
    let place = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    };
    format!("/registry/rbac.authorization.k8s.io/{plural}/{place}")
}

async fn put(store: &Store, object: &Value) {
    let value = gantry_json::to_vec(object).unwrap();
    store.create(&key(object), value, None).await.unwrap();
}

async fn cluster() -> (Store, Authorizer) {
    let store = Store::with_engine(MemoryEngine::default(), Options::default()).unwrap();
    for object in bootstrap::roles().iter().chain(&bootstrap::bindings()) {
        put(&store, object).await;
    }
    let authorizer = Authorizer::new(&store);
    (store, authorizer)
}

fn request(user: &User, verb: &str, target: &str, namespace: &str, name: &str) -> Attributes {
    if target.starts_with('/') {
        let (user, verb, path) = (user.clone().into(), verb.into(), target.into());
        return Attributes { user, verb, path, ..Attributes::default() };
    }
    let (group, resource) = target.rsplit_once(':').unwrap_or(("", target));
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    Attributes {
        user: user.clone().into(),
        verb: verb.into(),
        group: group.into(),
        resource: resource.into(),
        subresource: subresource.into(),
        namespace: namespace.into(),
        name: name.into(),
        is_resource: true,
        ..Attributes::default()
    }
}

fn binding(namespace: &str, role: &str, user: &str) -> Value {
    json!({
        "kind": "RoleBinding", "metadata": {"namespace": namespace, "name": format!("{user}-{role}")},
        "roleRef": {"kind": "ClusterRole", "name": role}, "subjects": [{"kind": "User", "name": user}],
    })
}

/// What needs no waiting.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("ready at once")
}

#[tokio::test]
async fn default_roles_decide() {
    let (store, authorizer) = cluster().await;
    put(&store, &binding("shop", "edit", "eve")).await;
    put(&store, &binding("shop", "view", "vic")).await;
    put(&store, &binding("shop", "admin", "ada")).await;
    let check = |name: &str, verb: &str, target: &str, namespace: &str, expect: bool| {
        let user = match name {
            "root" => User::new(name, ["system:masters"]),
            "n1" => User::new("system:node:n1", ["system:nodes"]),
            _ => User::new(name, []),
        };
        let decision = now(authorizer.authorize(&request(&user, verb, target, namespace, "")));
        assert_eq!(decision.is_allowed(), expect, "{name} {verb} {target} {namespace}: {decision:?}");
    };
    check("root", "delete", "nodes", "", true);
    check("eve", "create", "apps:deployments", "shop", true);
    check("eve", "create", "apps:deployments", "other", false);
    check("eve", "list", "pods", "shop", true);
    check("eve", "get", "secrets", "shop", true);
    check("eve", "create", "rbac.authorization.k8s.io:roles", "shop", false);
    check("ada", "create", "rbac.authorization.k8s.io:roles", "shop", true);
    check("ada", "patch", "apps:deployments/scale", "shop", true);
    check("vic", "list", "pods", "shop", true);
    check("vic", "get", "secrets", "shop", false);
    check("vic", "create", "pods/exec", "shop", false);
    check("vic", "get", "/version", "", true);
    check("vic", "get", "/metrics", "", false);
    check("vic", "create", "authorization.k8s.io:selfsubjectaccessreviews", "", true);
    check("system:kube-scheduler", "create", "pods/binding", "x", true);
    check("system:kube-scheduler", "create", "pods", "x", false);
    check("system:kube-controller-manager", "list", "anything.example:things", "", true);
    check("system:serviceaccount:kube-system:deployment-controller", "create", "apps:replicasets", "x", true);
    check("n1", "list", "services", "", true);
    check("n1", "list", "apps:deployments", "", false);
}

#[tokio::test]
async fn changes_count_at_once() {
    let (store, authorizer) = cluster().await;
    let eve = User::new("eve", []);
    let allowed = || now(authorizer.authorize(&request(&eve, "list", "pods", "shop", ""))).is_allowed();
    assert!(!allowed());
    let object = binding("shop", "view", "eve");
    put(&store, &object).await;
    assert!(allowed());
    store.delete(&key(&object), None, None).await.unwrap();
    assert!(!allowed());
    let role = json!({
        "kind": "ClusterRole",
        "metadata": {"name": "things", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
        "rules": [{"apiGroups": ["e.x"], "resources": ["things"], "verbs": ["get"]}],
    });
    put(&store, &object).await;
    put(&store, &role).await;
    let things = request(&eve, "get", "e.x:things", "shop", "a");
    let reason = "RBAC: allowed by RoleBinding \"eve-view/shop\" of ClusterRole \"view\" to User \"eve\"";
    assert_eq!(now(authorizer.authorize(&things)), Decision::Allow(reason.into()), "aggregated into view");
}

#[test]
fn refusals_are_told_as_clients_know_them() {
    let user = User::new("x", []);
    let check = |target: &str, namespace: &str, name: &str, reason: &str, expect: &str| {
        let attributes = request(&user, "list", target, namespace, name);
        assert_eq!(forbidden_message(&attributes, reason), expect);
    };
    check(
        "pods",
        "y",
        "",
        "",
        "pods is forbidden: User \"x\" cannot list resource \"pods\" in API group \"\" in the namespace \"y\"",
    );
    check(
        "apps:deployments/scale",
        "",
        "web",
        "because",
        "deployments.apps \"web\" is forbidden: User \"x\" cannot list resource \"deployments/scale\" \
         in API group \"apps\" at the cluster scope: because",
    );
    check("/metrics", "", "", "", "forbidden: User \"x\" cannot list path \"/metrics\"");
}

#[tokio::test]
async fn nobody_grants_what_they_do_not_have() {
    let (store, authorizer) = cluster().await;
    put(&store, &binding("shop", "admin", "ada")).await;
    let ada = User::new("ada", ["devs"]);
    let root = User::new("root", ["system:masters"]);
    let rule = |verbs: &[&str], resource: &str| Rule {
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        api_groups: vec![String::new()],
        resources: vec![resource.into()],
        ..Rule::default()
    };
    let check = |user: &User, rule: Rule, expect: Result<(), &str>| {
        let got = now(check_role_write(&authorizer, user, "shop", "r", std::slice::from_ref(&rule)));
        assert_eq!(got, expect.map_err(str::to_owned), "{} {rule:?}", user.name);
    };
    check(&ada, rule(&["get", "list"], "pods"), Ok(()));
    check(
        &ada,
        rule(&["get", "list"], "nodes"),
        Err(
            "user \"ada\" (groups=[\"devs\" \"system:authenticated\"]) is attempting to grant RBAC permissions \
             not currently held:\n{APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\" \"list\"]}",
        ),
    );
    check(
        &ada,
        rule(&["*"], "pods"),
        Err("user \"ada\" (groups=[\"devs\" \"system:authenticated\"]) is \
        attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"pods\"], \
        Verbs:[\"*\"]}"),
    );
    check(&root, rule(&["*"], "nodes"), Ok(()));
    let bind = |user, role| now(check_binding_write(&authorizer, user, "shop", "ClusterRole", role));
    assert_eq!(bind(&ada, "edit"), Ok(()));
    assert!(bind(&ada, "cluster-admin").is_err());
    assert_eq!(bind(&ada, "nope"), Err("clusterroles.rbac.authorization.k8s.io \"nope\" not found".into()));
}

#[tokio::test]
async fn reviews_answer() {
    let (store, authorizer) = cluster().await;
    put(&store, &binding("shop", "view", "vic")).await;
    let vic = User::new("vic", []);
    let spec = json!({"resourceAttributes": {"namespace": "shop", "verb": "list", "resource": "pods"}});
    let status = self_subject_access_review(&authorizer, &vic, &spec).await.unwrap();
    assert_eq!(status["allowed"], true);
    let spec = json!({"user": "vic", "nonResourceAttributes": {"path": "/metrics", "verb": "get"}});
    assert_eq!(subject_access_review(&authorizer, &spec).await.unwrap(), json!({"allowed": false}));
    assert!(subject_access_review(&authorizer, &json!({"resourceAttributes": {}})).await.is_err());
    assert!(local_subject_access_review(&authorizer, "other", &spec).await.is_err());
    let rules = self_subject_rules_review(&authorizer, &vic, "shop");
    assert!(rules["resourceRules"].as_array().unwrap().len() > 5);
    assert_eq!(rules["nonResourceRules"].as_array().unwrap().len(), 2);
}
