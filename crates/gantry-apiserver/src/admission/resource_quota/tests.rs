//! Writes against quotas.

use gantry_json::json;

use super::super::testing::request;
use super::*;
use crate::User;

fn quota(name: &str, hard: Value, used: Value) -> Value {
    json!({"metadata": {"name": name, "namespace": "shop"}, "spec": {"hard": hard},
        "status": {"hard": hard, "used": used}})
}

fn run(
    operation: Operation,
    target: &str,
    object: Value,
    old: Option<&Value>,
    quotas: &[Value],
) -> Result<Vec<String>, String> {
    run_limited(operation, target, object, old, quotas, &Limits::default())
}

fn run_limited(
    operation: Operation,
    target: &str,
    object: Value,
    old: Option<&Value>,
    quotas: &[Value],
    limits: &Limits,
) -> Result<Vec<String>, String> {
    let user = User::new("ada", []);
    let request = request(operation, target, &user, object, old);
    let resource = Resource::new(request.group, request.resource);
    if !concerns(&request, resource) {
        return Ok(Vec::new());
    }
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let charges = charges(&request, resource, quotas.iter(), limits, now)?;
    Ok(charges.iter().map(|used| used.as_ref().map(shown).unwrap_or_default()).collect())
}

fn pod(requests: Value) -> Value {
    json!({"metadata": {"name": "a", "namespace": "shop"},
        "spec": {"containers": [{"name": "c", "resources": {"requests": requests}}]}})
}

#[test]
fn new_objects() {
    let check = |target: &str, object: Value, quotas: &[Value], expect: Result<&[&str], &str>| {
        let got = run(Operation::Create, target, object, None, quotas);
        let expect = expect.map(|texts| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert_eq!(got, expect.map_err(str::to_owned), "{target}");
    };
    let cpu = |used: &str| {
        quota("q", json!({"requests.cpu": "1", "pods": "2"}), json!({"requests.cpu": used, "pods": "1"}))
    };
    check("pods", pod(json!({"cpu": "500m"})), &[cpu("500m")], Ok(&["pods=2,requests.cpu=1"]));
    check(
        "pods",
        pod(json!({"cpu": "600m"})),
        &[cpu("500m")],
        Err(
            "exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=500m, limited: requests.cpu=1",
        ),
    );
    check("pods", pod(json!({})), &[cpu("0")], Err("failed quota: q: must specify requests.cpu for: c"));
    let full =
        quota("full", json!({"pods": "1", "configmaps": "1"}), json!({"pods": "1", "configmaps": "0"}));
    check(
        "pods",
        pod(json!({"cpu": "1m"})),
        &[cpu("0"), full.clone()],
        Err("exceeded quota: full, requested: pods=1, used: pods=1, limited: pods=1"),
    );
    check(
        "configmaps",
        json!({"metadata": {"namespace": "shop"}}),
        &[cpu("0"), full],
        Ok(&["", "configmaps=1,pods=1"]),
    );
    let unknown = quota("new", json!({"pods": "1", "requests.cpu": "1"}), json!({"pods": "0"}));
    check(
        "pods",
        pod(json!({"cpu": "1"})),
        &[unknown],
        Err("status unknown for quota: new, resources: pods,requests.cpu"),
    );
    let fresh = json!({"metadata": {"name": "fresh"}, "spec": {"hard": {"pods": "0"}}});
    check("pods", pod(json!({})), &[fresh], Ok(&[""]));
    let widgets =
        quota("w", json!({"count/widgets.example.com": "1"}), json!({"count/widgets.example.com": "0"}));
    let widget = json!({"metadata": {"namespace": "shop"}});
    check("example.com:widgets", widget, &[widgets], Ok(&["count/widgets.example.com=1"]));
    check("events", json!({"metadata": {"namespace": "shop"}}), &[cpu("0")], Ok(&[]));
}

#[test]
fn changes_are_charged_by_what_they_add() {
    let claim = |size: &str| {
        json!({"metadata": {"name": "a", "namespace": "shop"},
            "spec": {"resources": {"requests": {"storage": size}}}})
    };
    let storage =
        |used: &str| quota("q", json!({"requests.storage": "10Gi"}), json!({"requests.storage": used}));
    let target = "persistentvolumeclaims";
    let grow = |to: &str, used: &str| {
        run(Operation::Update, target, claim(to), Some(&claim("4Gi")), &[storage(used)])
    };
    assert_eq!(grow("5Gi", "9Gi"), Ok(vec!["requests.storage=10Gi".to_owned()]));
    assert_eq!(grow("3Gi", "9Gi"), Ok(vec![String::new()]), "less is given back later");
    let why = "exceeded quota: q, requested: requests.storage=2Gi, used: requests.storage=9Gi, limited: requests.storage=10Gi";
    assert_eq!(grow("6Gi", "9Gi"), Err(why.to_owned()));
    let pods = |used: &str| quota("q", json!({"requests.cpu": "1"}), json!({"requests.cpu": used}));
    let (old, new) = (pod(json!({"cpu": "100m"})), pod(json!({"cpu": "300m"})));
    let resize = |target| run(Operation::Update, target, new.clone(), Some(&old), &[pods("700m")]);
    assert_eq!(resize("pods/resize"), Ok(vec!["requests.cpu=900m".to_owned()]));
    assert_eq!(resize("pods"), Ok(Vec::new()));
    let service = |kind: &str| json!({"metadata": {"namespace": "shop"}, "spec": {"type": kind, "ports": [{"port": 1}]}});
    let ports = quota("q", json!({"services.nodeports": "0"}), json!({"services.nodeports": "0"}));
    let got = run(Operation::Update, "services", service("NodePort"), Some(&service("ClusterIP")), &[ports]);
    let why = "exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=0, limited: services.nodeports=0";
    assert_eq!(got, Err(why.to_owned()));
}

#[test]
fn an_object_that_comes_into_scope_is_charged_whole() {
    let mut scoped =
        quota("q", json!({"persistentvolumeclaims": "1"}), json!({"persistentvolumeclaims": "0"}));
    scoped["spec"]["scopeSelector"] = json!({"matchExpressions": [
        {"scopeName": "VolumeAttributesClass", "operator": "In", "values": ["fast"]},
    ]});
    let claim = |class: &str| json!({"metadata": {"name": "a", "namespace": "shop"}, "spec": {"volumeAttributesClassName": class}});
    let change = |to: &str, from: &str| {
        run(Operation::Update, "persistentvolumeclaims", claim(to), Some(&claim(from)), &[scoped.clone()])
    };
    assert_eq!(change("fast", "slow"), Ok(vec!["persistentvolumeclaims=1".to_owned()]));
    assert_eq!(change("fast", "fast"), Ok(vec![String::new()]));
    assert_eq!(change("slow", "fast"), Ok(vec![String::new()]));
}

/// Names of widgets are known to the test's registry only as far as they are kinds.
#[test]
fn a_turn_is_taken_by_one() {
    let turns = Turns::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let first = turns.take("shop").await;
        let other = turns.take("mine").await;
        let mut second = Box::pin(turns.take("shop"));
        assert!(futures::poll!(&mut second).is_pending());
        drop((first, other));
        drop(second.await);
        drop(turns.take("else").await);
        assert_eq!(turns.0.lock().len(), 1);
    });
}

#[test]
fn what_is_limited_needs_a_quota() {
    let limits = Limits::read(json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "ResourceQuotaConfiguration",
        "limitedResources": [
            {"resource": "persistentvolumeclaims", "matchContains": ["gold.storageclass"]},
            {"resource": "pods", "matchScopes": [
                {"scopeName": "PriorityClass", "operator": "In", "values": ["high", "higher"]}]},
        ],
    }));
    let limits = limits.unwrap();
    let check = |target: &str, object: Value, quotas: &[Value], expect: Result<(), &str>| {
        let got = run_limited(Operation::Create, target, object, None, quotas, &limits).map(drop);
        assert_eq!(got, expect.map_err(str::to_owned), "{target}");
    };
    let claim = |class: &str| {
        json!({"metadata": {"name": "c", "namespace": "shop"}, "spec": {"storageClassName": class,
            "resources": {"requests": {"storage": "1Gi"}}}})
    };
    let storage = "gold.storageclass.storage.k8s.io/requests.storage";
    let claims = "gold.storageclass.storage.k8s.io/persistentvolumeclaims";
    check("persistentvolumeclaims", claim("silver"), &[], Ok(()));
    let none = format!("insufficient quota to consume: {claims},{storage}");
    check("persistentvolumeclaims", claim("gold"), &[], Err(&none));
    let one = quota("q", json!({claims: "2"}), json!({claims: "0"}));
    let missing = format!("insufficient quota to consume: {storage}");
    check("persistentvolumeclaims", claim("gold"), &[one], Err(&missing));
    let both = quota("q", json!({claims: "2", storage: "5Gi"}), json!({claims: "0", storage: "0"}));
    check("persistentvolumeclaims", claim("gold"), &[both], Ok(()));
    let important = |class: &str| {
        let mut pod = pod(json!({}));
        pod["spec"]["priorityClassName"] = class.into();
        pod
    };
    check("pods", important("low"), &[], Ok(()));
    let scopes = "insufficient quota to match these scopes: [{PriorityClass In [high higher]}]";
    check("pods", important("high"), &[], Err(scopes));
    let mut scoped = quota("q", json!({"pods": "2"}), json!({"pods": "0"}));
    let selector =
        json!({"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]});
    scoped["spec"]["scopeSelector"] = selector;
    check("pods", important("high"), &[scoped.clone()], Ok(()));
    check("pods", important("higher"), &[scoped], Err(scopes));
}
