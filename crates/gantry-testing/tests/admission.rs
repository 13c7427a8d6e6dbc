//! What the built-in admission plugins do to real requests.

use anyhow::Result;
use gantry_json::{Value, json};
use gantry_testing::TestServer;
use http::Method;

const PODS: &str = "/api/v1/namespaces/shop/pods";

/// A server with a namespace that has these labels, and its account.
async fn server(labels: Value) -> Result<TestServer> {
    let server = TestServer::start().await?;
    let namespace = json!({"metadata": {"name": "shop", "labels": labels}});
    create(&server, "/api/v1/namespaces", namespace).await?;
    create(&server, "/api/v1/namespaces/shop/serviceaccounts", json!({"metadata": {"name": "default"}}))
        .await?;
    Ok(server)
}

async fn create(server: &TestServer, path: &str, object: Value) -> Result<Value> {
    let reply = server.json(Method::POST, path, &object).await?;
    anyhow::ensure!(reply.code.is_success(), "{path}: {}", reply.text());
    Ok(reply.json())
}

fn pod(name: &str, container: Value) -> Value {
    let mut own = json!({"name": "c", "image": "i"});
    own.as_object_mut().expect("an object").extend(container.as_object().cloned().unwrap_or_default());
    json!({"metadata": {"name": name}, "spec": {"containers": [own]}})
}

#[tokio::test]
async fn limits_are_set_and_kept() -> Result<()> {
    let server = server(json!({})).await?;
    let limits = json!([{"type": "Container", "default": {"cpu": "100m"}, "max": {"cpu": "500m"}},
        {"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}}]);
    let range = json!({"metadata": {"name": "r"}, "spec": {"limits": limits}});
    create(&server, "/api/v1/namespaces/shop/limitranges", range).await?;
    let made = create(&server, PODS, pod("a", json!({}))).await?;
    let resources = json!({"limits": {"cpu": "100m"}, "requests": {"cpu": "100m"}});
    assert_eq!(made["spec"]["containers"][0]["resources"], resources);
    assert_eq!(made["status"]["qosClass"], "Burstable");
    let greedy = pod("b", json!({"resources": {"limits": {"cpu": "1"}}}));
    let refused = server.json(Method::POST, PODS, &greedy).await?;
    assert_eq!(refused.code, 403);
    let why = "pods \"b\" is forbidden: maximum cpu usage per Container is 500m, but limit is 1";
    assert_eq!(refused.json()["message"], why);
    let claim = json!({"metadata": {"name": "a"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "2Gi"}}}});
    let claims = "/api/v1/namespaces/shop/persistentvolumeclaims";
    assert_eq!(server.json(Method::POST, claims, &claim).await?.code, 403);
    Ok(())
}

#[tokio::test]
async fn standards_are_enforced_and_warned_of() -> Result<()> {
    let labels = json!({"pod-security.kubernetes.io/enforce": "baseline",
        "pod-security.kubernetes.io/warn": "restricted", "pod-security.kubernetes.io/warn-version": "v1.24"});
    let server = server(labels).await?;
    let refused =
        server.json(Method::POST, PODS, &pod("a", json!({"securityContext": {"privileged": true}}))).await?;
    assert_eq!(refused.code, 403);
    assert_eq!(
        refused.json()["message"],
        "pods \"a\" is forbidden: violates PodSecurity \"baseline:latest\": privileged (container \"c\" must not \
         set securityContext.privileged=true)"
    );
    let made = server.json(Method::POST, PODS, &pod("a", json!({}))).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    let warning = made.headers["warning"].to_str()?;
    assert!(
        warning.starts_with("299 - \"would violate PodSecurity \\\"restricted:v1.24\\\": allowPriv"),
        "{warning}"
    );
    let labels = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    let patch = async |labels: &Value| {
        let path = "/api/v1/namespaces/shop";
        server.request(Method::PATCH, path, "application/merge-patch+json", labels.to_string()).await
    };
    let stricter = patch(&labels).await?;
    assert_eq!(stricter.code, 200);
    let warnings: Vec<_> =
        stricter.headers.get_all("warning").iter().filter_map(|each| each.to_str().ok()).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings[1].contains("a: allowPrivilegeEscalation != false, unrestricted capabilities"),
        "{warnings:?}"
    );
    let wrong = patch(&json!({"metadata": {"labels": {"pod-security.kubernetes.io/warn": "none"}}})).await?;
    assert_eq!(wrong.code, 422, "{}", wrong.text());
    Ok(())
}

#[tokio::test]
async fn defaults_of_storage_and_ingress() -> Result<()> {
    let server = server(json!({})).await?;
    let class = json!({"metadata": {"name": "fast",
        "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}, "provisioner": "x/y"});
    create(&server, "/apis/storage.k8s.io/v1/storageclasses", class).await?;
    let claims = "/api/v1/namespaces/shop/persistentvolumeclaims";
    let claim = json!({"metadata": {"name": "a"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}});
    let made = create(&server, claims, claim).await?;
    assert_eq!(made["spec"]["storageClassName"], "fast");
    assert_eq!(made["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
    let class = json!({"metadata": {"name": "web",
        "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}}, "spec": {"controller": "x/y"}});
    create(&server, "/apis/networking.k8s.io/v1/ingressclasses", class).await?;
    let ingress = json!({"metadata": {"name": "a"}, "spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}});
    let made = create(&server, "/apis/networking.k8s.io/v1/namespaces/shop/ingresses", ingress).await?;
    assert_eq!(made["spec"]["ingressClassName"], "web");
    Ok(())
}

#[tokio::test]
async fn a_bound_pod_knows_its_zone() -> Result<()> {
    let server = server(json!({})).await?;
    let labels = json!({"topology.kubernetes.io/zone": "z1", "topology.kubernetes.io/region": "r1"});
    create(&server, "/api/v1/nodes", json!({"metadata": {"name": "n", "labels": labels}})).await?;
    create(&server, PODS, pod("a", json!({}))).await?;
    let binding = json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n"}});
    create(&server, &format!("{PODS}/a/binding"), binding).await?;
    let bound = server.get(&format!("{PODS}/a")).await?.json();
    assert_eq!(bound["spec"]["nodeName"], "n");
    assert_eq!(bound["metadata"]["labels"], labels);
    Ok(())
}

#[tokio::test]
async fn plugins_are_configured_by_a_file() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("admission.yaml");
    let configuration = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": [
        {"name": "PodSecurity", "configuration": {
            "apiVersion": "pod-security.admission.config.k8s.io/v1", "kind": "PodSecurityConfiguration",
            "defaults": {"enforce": "baseline"}, "exemptions": {"namespaces": ["kube-system"]}}},
        {"name": "ResourceQuota", "path": "quota.yaml"},
    ]});
    std::fs::write(&file, configuration.to_string())?;
    let limited = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "ResourceQuotaConfiguration",
        "limitedResources": [{"resource": "secrets", "matchContains": ["count/secrets"]}]});
    std::fs::write(directory.path().join("quota.yaml"), limited.to_string())?;
    let server = TestServer::with_config(|config| {
        config.admission.configuration_file = Some(file);
        config.admission.enabled = vec!["AlwaysPullImages".to_owned()];
        config.admission.disabled = vec!["ServiceAccount".to_owned()];
    })
    .await?;
    let privileged = pod("p", json!({"imagePullPolicy": "Never", "securityContext": {"privileged": true}}));
    let reply = server.json(Method::POST, "/api/v1/namespaces/default/pods", &privileged).await?;
    let why = "pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": privileged";
    assert!(
        reply.json()["message"].as_str().is_some_and(|message| message.starts_with(why)),
        "{}",
        reply.text()
    );
    let made = create(&server, "/api/v1/namespaces/kube-system/pods", privileged).await?;
    assert_eq!(made["spec"]["containers"][0]["imagePullPolicy"], "Always");
    assert_eq!(made["spec"]["serviceAccountName"], Value::Null);
    let secret = json!({"metadata": {"name": "s"}});
    let reply = server.json(Method::POST, "/api/v1/namespaces/default/secrets", &secret).await?;
    let why = "secrets \"s\" is forbidden: insufficient quota to consume: count/secrets";
    assert_eq!((reply.code.as_u16(), &reply.json()["message"]), (403, &json!(why)));
    let metrics = server.get("/metrics").await?.text();
    for line in [
        "pod_security_evaluations_total{decision=\"deny\",policy_level=\"baseline\",policy_version=\"latest\",\
         mode=\"enforce\",request_operation=\"create\",resource=\"pod\",subresource=\"\"} 1",
        "pod_security_exemptions_total{request_operation=\"create\",resource=\"pod\",subresource=\"\"} 1",
        // The pod and the secret.
        "apiserver_admission_step_admission_duration_seconds_count{operation=\"CREATE\",rejected=\"true\",type=\"validate\"} 2",
        "apiserver_admission_controller_admission_duration_seconds_count{name=\"ResourceQuota\",operation=\"CREATE\",\
         rejected=\"true\",type=\"validate\"} 1",
    ] {
        assert!(metrics.lines().any(|each| each == line), "{line} is not in\n{metrics}");
    }
    Ok(())
}
