//! What objects count for.

use gantry_json::json;

use super::*;

fn used(group: &str, plural: &str, object: Value) -> String {
    let now = "2026-01-01T00:00:10Z".parse().expect("a time");
    shown(&Resource::new(group, plural).usage(&object, now))
}

#[test]
fn objects_count() {
    assert_eq!(used("apps", "deployments", json!({})), "count/deployments.apps=1");
    assert_eq!(used("", "configmaps", json!({})), "configmaps=1,count/configmaps=1");
    let service = |kind: &str, more: Value| {
        let mut spec = json!({"type": kind, "ports": [{"port": 1}, {"port": 2, "nodePort": 30000}]});
        spec.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        used("", "services", json!({"spec": spec}))
    };
    let text = |ports: u32, balancers: u32| {
        format!("count/services=1,services=1,services.loadbalancers={balancers},services.nodeports={ports}")
    };
    assert_eq!(service("ClusterIP", json!({})), text(0, 0));
    assert_eq!(service("NodePort", json!({})), text(2, 0));
    assert_eq!(service("LoadBalancer", json!({})), text(2, 1));
    assert_eq!(service("LoadBalancer", json!({"allocateLoadBalancerNodePorts": false})), text(1, 1));
    let claim = json!({"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "1Gi"}}},
        "status": {"allocatedResources": {"storage": "2Gi"}}});
    assert_eq!(
        used("", "persistentvolumeclaims", claim),
        "count/persistentvolumeclaims=1,gold.storageclass.storage.k8s.io/persistentvolumeclaims=1,\
         gold.storageclass.storage.k8s.io/requests.storage=2Gi,persistentvolumeclaims=1,requests.storage=2Gi"
    );
    let claim = json!({"spec": {"devices": {"requests": [
        {"exactly": {"deviceClassName": "gpu", "count": 2}},
        {"firstAvailable": [{"deviceClassName": "gpu", "count": 3}, {"deviceClassName": "nic"}]},
    ]}}});
    assert_eq!(
        used("resource.k8s.io", "resourceclaims", claim),
        "count/resourceclaims.resource.k8s.io=1,gpu.deviceclass.resource.k8s.io/devices=5,\
         nic.deviceclass.resource.k8s.io/devices=1"
    );
}

#[test]
fn pods_count_while_they_live() {
    let resources = json!({"requests": {"cpu": "1", "hugepages-2Mi": "2Mi", "example.com/gpu": "1"},
        "limits": {"cpu": "2"}});
    let pod = |metadata: Value, status: Value| {
        json!({"metadata": metadata, "status": status,
            "spec": {"overhead": {"cpu": "100m", "memory": "1Mi"}, "containers": [{"name": "c", "resources": resources}]}})
    };
    let all = "count/pods=1,cpu=1100m,hugepages-2Mi=2Mi,limits.cpu=2100m,memory=1Mi,pods=1,requests.cpu=1100m,\
               requests.example.com/gpu=1,requests.hugepages-2Mi=2Mi,requests.memory=1Mi";
    assert_eq!(used("", "pods", pod(json!({}), json!({}))), all);
    for phase in ["Succeeded", "Failed"] {
        assert_eq!(used("", "pods", pod(json!({}), json!({"phase": phase}))), "count/pods=1");
    }
    let going = |seconds: u32| json!({"deletionTimestamp": "2026-01-01T00:00:05Z", "deletionGracePeriodSeconds": seconds});
    assert_eq!(used("", "pods", pod(going(4), json!({}))), "count/pods=1");
    assert_eq!(used("", "pods", pod(going(6), json!({}))), all);
    let status = json!({"containerStatuses": [{"name": "c", "resources": {"limits": {"cpu": "5"}},
        "allocatedResources": {"cpu": "3"}}]});
    let resized = used("", "pods", pod(json!({}), status));
    assert!(resized.contains("requests.cpu=3100m") && resized.contains("limits.cpu=5100m"), "{resized}");
}

#[test]
fn names_belong_to_resources() {
    let check = |group: &str, plural: &str, name: &str, expect: bool| {
        assert_eq!(Resource::new(group, plural).matches(name), expect, "{plural}.{group} {name}");
    };
    check("", "pods", "requests.cpu", true);
    check("", "pods", "requests.example.com/gpu", true);
    check("", "pods", "limits.example.com/gpu", false);
    check("", "pods", "count/pods", true);
    check("", "pods", "count/pods.x", false);
    check("", "pods", "requests.storage", false);
    check("", "services", "services.nodeports", true);
    check("", "secrets", "secrets", true);
    check("", "secrets", "configmaps", false);
    check("", "persistentvolumeclaims", "gold.storageclass.storage.k8s.io/requests.storage", true);
    check("apps", "deployments", "count/deployments.apps", true);
    check("a.apps", "deployments", "count/deployments.apps", false);
    check("example.com", "widgets", "count/widgets.example.com", true);
}

#[test]
fn containers_must_say_what_quotas_limit() {
    let pod = |spec: Value| json!({"spec": spec});
    let plain = pod(json!({"containers": [{"name": "b"}, {"name": "a"}, {"name": "c",
        "resources": {"requests": {"cpu": "1"}}}]}));
    let names = ["requests.cpu", "limits.memory", "pods", "requests.ephemeral-storage"];
    assert_eq!(
        missing(names, &plain).as_deref(),
        Some("must specify limits.memory for: a,b,c; requests.cpu for: a,b")
    );
    let whole = json!({"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}});
    assert_eq!(missing(names, &pod(json!({"resources": whole, "containers": [{"name": "a"}]}))), None);
}

#[test]
fn scopes_choose_pods_and_claims() {
    let quota = |scopes: Value, expressions: Value| json!({"spec": {"scopes": scopes, "scopeSelector": {"matchExpressions": expressions}}});
    let check = |quota: &Value, plural: &str, spec: Value, expect: bool| {
        let found = in_scope(quota, Resource::new("", plural), &json!({"spec": spec}));
        assert_eq!(found, expect, "{quota} {plural} {spec}");
    };
    let plain = |scope: &str| quota(json!([scope]), json!([]));
    let bare = || json!({"containers": [{"name": "c"}]});
    let asking = || json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]});
    check(&quota(json!([]), json!([])), "pods", bare(), true);
    check(&quota(json!([]), json!([])), "services", json!({}), true);
    check(&plain("BestEffort"), "pods", bare(), true);
    check(&plain("BestEffort"), "pods", asking(), false);
    check(&plain("BestEffort"), "services", json!({}), false);
    check(&plain("NotBestEffort"), "pods", asking(), true);
    check(&plain("Terminating"), "pods", json!({"activeDeadlineSeconds": 1}), true);
    check(&plain("NotTerminating"), "pods", bare(), true);
    let both = quota(json!(["Terminating"]), json!([{"scopeName": "BestEffort", "operator": "Exists"}]));
    check(&both, "pods", bare(), false);
    let class = |operator: &str, values: Value| {
        quota(json!([]), json!([{"scopeName": "PriorityClass", "operator": operator, "values": values}]))
    };
    let high = || json!({"priorityClassName": "high"});
    check(&class("In", json!(["high"])), "pods", high(), true);
    check(&class("In", json!(["low"])), "pods", high(), false);
    check(&class("NotIn", json!(["low"])), "pods", high(), true);
    check(&class("NotIn", json!(["low"])), "pods", json!({}), true);
    check(&class("Exists", json!([])), "pods", json!({}), false);
    check(&class("DoesNotExist", json!([])), "pods", json!({}), true);
    let term = json!({"namespaces": ["a"]});
    let affinity = json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution":
        [{"podAffinityTerm": term}]}});
    check(&plain("CrossNamespacePodAffinity"), "pods", json!({"affinity": affinity}), true);
    check(&plain("CrossNamespacePodAffinity"), "pods", bare(), false);
    let attributes = |operator: &str, values: Value| {
        let expression =
            json!({"scopeName": "VolumeAttributesClass", "operator": operator, "values": values});
        quota(json!([]), json!([expression]))
    };
    let fast = || json!({"volumeAttributesClassName": "fast"});
    check(&attributes("In", json!(["fast"])), "persistentvolumeclaims", fast(), true);
    check(&attributes("NotIn", json!(["fast"])), "persistentvolumeclaims", json!({}), true);
    check(&attributes("Exists", json!([])), "persistentvolumeclaims", json!({}), false);
}
