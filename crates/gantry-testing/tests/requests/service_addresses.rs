//! Addresses of Services: each has its IPAddress, they come out of the ServiceCIDRs, and nobody gets one twice.

use std::collections::BTreeSet;
use std::future::Future;
use std::task::{Context as Turn, Waker};

use anyhow::{Context as _, Result};
use gantry_apiserver::storage;
use gantry_json::{Value, json};
use gantry_store::Store;
use gantry_store::engine::MemoryEngine;
use gantry_testing::{Reply, TestServer};
use http::Method;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use kube::Api;
use kube::api::PostParams;
use kube::runtime::wait::await_condition;
use tokio::task::JoinSet;

/// Longer than anything here takes.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

const SERVICES: &str = "/api/v1/namespaces/default/services";
const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";
const RANGES: &str = "/apis/networking.k8s.io/v1/servicecidrs";

fn service(name: &str, spec: Value) -> Value {
    let mut service = json!({"metadata": {"name": name}, "spec": spec});
    service["spec"]["ports"] = json!([{"port": 80}]);
    service
}

async fn create(server: &TestServer, name: &str, spec: Value) -> Result<Reply> {
    server.json(Method::POST, SERVICES, &service(name, spec)).await
}

/// The names of all IPAddresses.
async fn addresses(server: &TestServer) -> Result<BTreeSet<String>> {
    let all = server.get(ADDRESSES).await?.json();
    let items = all["items"].as_array().context("a list")?;
    Ok(items.iter().filter_map(|item| item["metadata"]["name"].as_str().map(str::to_owned)).collect())
}

async fn in_time<T, E: Into<anyhow::Error>>(work: impl Future<Output = Result<T, E>>) -> Result<T> {
    tokio::time::timeout(PATIENCE, work).await.context("in time")?.map_err(Into::into)
}

#[tokio::test]
async fn a_cluster_begins_with_its_range() -> Result<()> {
    let server = TestServer::start().await?;
    let range = server.get(&format!("{RANGES}/kubernetes")).await?.json();
    assert_eq!(range["spec"], json!({"cidrs": ["10.43.0.0/16"]}));
    let ready = &range["status"]["conditions"][0];
    let shown = ["type", "status", "reason", "message"].map(|field| ready[field].clone());
    assert_eq!(json!(shown), json!(["Ready", "True", "", "Kubernetes default Service CIDR is ready"]));
    let address = server.get(&format!("{ADDRESSES}/10.43.0.1")).await?.json();
    let parent = json!({"resource": "services", "namespace": "default", "name": "kubernetes"});
    assert_eq!(address["spec"], json!({"parentRef": parent}));
    let labels = json!({
        "ipaddress.kubernetes.io/ip-family": "IPv4",
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    });
    assert_eq!(address["metadata"]["labels"], labels);
    assert_eq!(address["metadata"]["managedFields"][0]["manager"], "kube-apiserver");

    // It is made again when it is gone.
    let uid = range["metadata"]["uid"].clone();
    let gone = server.json(Method::DELETE, &format!("{RANGES}/kubernetes"), &Value::Null).await?;
    assert_eq!(gone.code, 200, "{}", gone.text());
    let again = |range: Option<&ServiceCIDR>| {
        let status = range.and_then(|range| range.status.as_ref());
        range.is_some_and(|range| range.metadata.uid.as_deref() != uid.as_str())
            && status.is_some_and(|status| status.conditions.iter().flatten().next().is_some())
    };
    in_time(await_condition(Api::<ServiceCIDR>::all(server.client()), "kubernetes", again)).await?;
    Ok(())
}

#[tokio::test]
async fn addresses_come_and_go_with_their_services() -> Result<()> {
    let server = TestServer::start().await?;
    let before = addresses(&server).await?;
    let made = create(&server, "web", json!({})).await?.json();
    let address = made["spec"]["clusterIP"].as_str().context("an address")?.to_owned();
    let object = server.get(&format!("{ADDRESSES}/{address}")).await?.json();
    assert_eq!(object["spec"]["parentRef"]["name"], "web");
    let revision = |object: &Value| {
        object["metadata"]["resourceVersion"].as_str().unwrap_or_default().parse::<u64>().unwrap_or_default()
    };
    assert!(revision(&object) < revision(&made), "who sees the Service finds its IPAddress");
    let with = |address: &str| before.iter().cloned().chain([address.to_owned()]).collect::<BTreeSet<_>>();
    assert_eq!(addresses(&server).await?, with(&address));

    // Neither what is only tried nor what is refused leaves anything.
    let tried = format!("{SERVICES}?dryRun=All");
    assert_eq!(server.json(Method::POST, &tried, &service("dry", json!({}))).await?.code, 201);
    assert_eq!(create(&server, "web", json!({})).await?.code, 409);
    assert_eq!(create(&server, "web", json!({"clusterIP": "10.43.0.99"})).await?.code, 409);
    assert_eq!(create(&server, "bad", json!({"sessionAffinity": "Sometimes"})).await?.code, 422);
    assert_eq!(create(&server, "headless", json!({"clusterIP": "None"})).await?.code, 201);
    let outside = json!({"type": "ExternalName", "externalName": "a.b"});
    assert_eq!(create(&server, "outside", outside.clone()).await?.code, 201);
    assert_eq!(addresses(&server).await?, with(&address));
    let tried = server.json(Method::DELETE, &format!("{SERVICES}/web?dryRun=All"), &Value::Null).await?;
    assert_eq!(tried.code, 200);
    assert_eq!(addresses(&server).await?, with(&address));

    // A Service that becomes a name gives its address back, and gets another one when it is a Service again.
    let path = format!("{SERVICES}/web");
    let changed = server.json(Method::PUT, &path, &service("web", outside)).await?;
    assert_eq!(changed.code, 200, "{}", changed.text());
    assert_eq!(addresses(&server).await?, before);
    let back = server.json(Method::PUT, &path, &service("web", json!({"clusterIP": "10.43.0.77"}))).await?;
    assert_eq!(back.code, 200, "{}", back.text());
    assert_eq!(addresses(&server).await?, with("10.43.0.77"));
    assert_eq!(server.json(Method::DELETE, &path, &Value::Null).await?.code, 200);
    assert_eq!(addresses(&server).await?, before);

    // Names that are made up are those that the IPAddress says, and a finalizer holds both.
    let held = json!({"metadata": {"generateName": "made-", "finalizers": ["a.b/c"]},
        "spec": {"ports": [{"port": 80}]}});
    let made = server.json(Method::POST, SERVICES, &held).await?.json();
    let (name, address) = (&made["metadata"]["name"], made["spec"]["clusterIP"].as_str().context("one")?);
    let object = server.get(&format!("{ADDRESSES}/{address}")).await?.json();
    assert_eq!(&object["spec"]["parentRef"]["name"], name);
    let path = format!("{SERVICES}/{}", name.as_str().context("a name")?);
    server.json(Method::DELETE, &path, &Value::Null).await?;
    assert_eq!(addresses(&server).await?, with(address));
    let mut free = server.get(&path).await?.json();
    free["metadata"]["finalizers"] = json!([]);
    assert_eq!(server.json(Method::PUT, &path, &free).await?.code, 200);
    assert_eq!(addresses(&server).await?, before);
    Ok(())
}

#[tokio::test]
async fn what_others_hold_cannot_be_had() -> Result<()> {
    let server = TestServer::start().await?;
    let gateway = json!({"metadata": {"name": "10.43.0.5"},
        "spec": {"parentRef": {"group": "a.b", "resource": "gateways", "namespace": "n", "name": "g"}}});
    let made = server.json(Method::POST, ADDRESSES, &gateway).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    let refused = create(&server, "web", json!({"clusterIP": "10.43.0.5"})).await?;
    let why = "Service \"web\" is invalid: spec.clusterIPs: Invalid value: [\"10.43.0.5\"]: failed to allocate IP \
               10.43.0.5: provided IP is already allocated";
    assert_eq!((refused.code.as_u16(), &refused.json()["message"]), (422, &json!(why)));
    let gone = server.json(Method::DELETE, &format!("{ADDRESSES}/10.43.0.5"), &Value::Null).await?;
    assert_eq!(gone.code, 200);
    assert_eq!(create(&server, "web", json!({"clusterIP": "10.43.0.5"})).await?.code, 201);
    let taken = server.json(Method::POST, ADDRESSES, &gateway).await?;
    assert_eq!(taken.code, 409, "{}", taken.text());
    Ok(())
}

#[tokio::test]
async fn further_ranges_are_used_while_they_are_ready() -> Result<()> {
    let server =
        TestServer::with_config(|config| config.service_cidr = "10.43.0.0/30".parse().expect("one")).await?;
    assert_eq!(create(&server, "last", json!({})).await?.json()["spec"]["clusterIP"], "10.43.0.2");
    let full = create(&server, "web", json!({})).await?;
    let why = "Internal error occurred: failed to allocate a serviceIP: range is full";
    assert_eq!((full.code.as_u16(), &full.json()["message"]), (500, &json!(why)));
    let outside = create(&server, "web", json!({"clusterIP": "10.99.0.2"})).await?;
    let why = "Service \"web\" is invalid: spec.clusterIPs: Invalid value: [\"10.99.0.2\"]: failed to allocate IP \
               10.99.0.2: the provided network does not match the current range";
    assert_eq!((outside.code.as_u16(), &outside.json()["message"]), (422, &json!(why)));

    let more = json!({"metadata": {"name": "more"}, "spec": {"cidrs": ["10.99.0.0/29"]}});
    assert_eq!(server.json(Method::POST, RANGES, &more).await?.code, 201);
    assert_eq!(create(&server, "web", json!({"clusterIP": "10.99.0.2"})).await?.code, 201);
    let any = create(&server, "any", json!({})).await?.json();
    assert!(any["spec"]["clusterIP"].as_str().is_some_and(|ip| ip.starts_with("10.99.0.")), "{any}");

    let mut waiting = server.get(&format!("{RANGES}/more")).await?.json();
    waiting["status"] = json!({"conditions": [{"type": "Ready", "status": "False", "reason": "Why", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    let said = server.json(Method::PUT, &format!("{RANGES}/more/status"), &waiting).await?;
    assert_eq!(said.code, 200, "{}", said.text());
    assert_eq!(create(&server, "late", json!({})).await?.code, 500);
    let (good, shown) = server.kubectl(&["get", "servicecidr,ipaddress", "--no-headers"], "").await?;
    assert!(good, "{shown}");
    for expect in [
        ["servicecidr.networking.k8s.io/kubernetes", "10.43.0.0/30"],
        ["servicecidr.networking.k8s.io/more", "10.99.0.0/29"],
        ["ipaddress.networking.k8s.io/10.99.0.2", "services/default/web"],
    ] {
        let mut lines = shown.lines().map(|line| line.split_whitespace().take(2).collect::<Vec<_>>());
        assert!(lines.any(|line| line == expect), "{expect:?} in\n{shown}");
    }
    Ok(())
}

#[tokio::test]
async fn who_comes_at_once_gets_different_addresses() -> Result<()> {
    // Thirteen are left beside the cluster's own.
    let server =
        TestServer::with_config(|config| config.service_cidr = "10.43.0.0/28".parse().expect("one")).await?;
    let api: Api<Service> = Api::namespaced(server.client(), "default");
    let mut writes = JoinSet::new();
    for at in 0..30 {
        let spec = match at % 3 {
            0 => json!({"clusterIP": format!("10.43.0.{}", 2 + at % 5)}),
            _ => json!({"type": "NodePort"}),
        };
        let (api, service) = (api.clone(), gantry_json::from_value(service(&format!("s{at}"), spec))?);
        writes.spawn(async move { api.create(&PostParams::default(), &service).await });
    }
    while let Some(outcome) = writes.join_next().await {
        match outcome? {
            Ok(_) => {}
            Err(kube::Error::Api(status)) => {
                let expected = ["range is full", "provided IP is already allocated"];
                assert!(expected.iter().any(|words| status.message.ends_with(words)), "{status:?}");
            }
            Err(other) => return Err(other.into()),
        }
    }
    let stored = api.list(&Default::default()).await?.items;
    let field = |pick: fn(&Service) -> Option<String>| stored.iter().filter_map(pick).collect::<Vec<_>>();
    let ips = field(|service| service.spec.as_ref()?.cluster_ip.clone());
    let unique: BTreeSet<String> = ips.iter().cloned().collect();
    assert_eq!(unique.len(), ips.len(), "{ips:?}");
    assert_eq!(ips.len(), 14, "there is one for everybody who can have one");
    assert_eq!(addresses(&server).await?, unique);
    let ports = field(|service| Some(service.spec.as_ref()?.ports.as_ref()?.first()?.node_port?.to_string()));
    assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), ports.len(), "{ports:?}");
    Ok(())
}

#[tokio::test]
async fn a_write_that_nobody_waits_for_keeps_nothing() -> Result<()> {
    let server = TestServer::start().await?;
    let api: Api<Service> = Api::namespaced(server.client(), "default");
    for polls in 0..8 {
        let address = format!("10.43.0.5{polls}");
        let spec = json!({"clusterIP": address});
        let first: Service = gantry_json::from_value(service("first", spec.clone()))?;
        let params = PostParams::default();
        let mut write = Box::pin(api.create(&params, &first));
        for _ in 0..polls {
            if write.as_mut().poll(&mut Turn::from_waker(Waker::noop())).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(write);
        server.store.settled().await?;
        let stored = server.get(&format!("{SERVICES}/first")).await?.code == 200;
        let has = addresses(&server).await?.contains(&address);
        assert_eq!(has, stored, "both or neither, after {polls}");
        if stored {
            assert_eq!(create(&server, "second", spec).await?.code, 422);
            server.json(Method::DELETE, &format!("{SERVICES}/first"), &Value::Null).await?;
        } else {
            assert_eq!(create(&server, "second", spec).await?.code, 201, "after {polls}");
            server.json(Method::DELETE, &format!("{SERVICES}/second"), &Value::Null).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_was_stored_before_gets_its_objects() -> Result<()> {
    const STORED: &str = "/registry/networking.k8s.io/ipaddresses/";
    let store = Store::with_engine(MemoryEngine::default(), storage::options())?;
    let before = {
        let mut server = TestServer::with_store(store.clone()).await?;
        assert_eq!(create(&server, "web", json!({"clusterIP": "10.43.0.50"})).await?.code, 201);
        let before = addresses(&server).await?;
        server.stop();
        server.stopped().await?;
        before
    };
    // As if nobody had heard of IPAddresses then.
    for entry in store.snapshot().range("/registry/networking.k8s.io/", None) {
        store.delete(&entry.key, None, None).await?;
    }
    let leaked = json!({
        "kind": "IPAddress", "apiVersion": "networking.k8s.io/v1",
        "metadata": {"name": "10.43.0.60", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {
            "ipaddress.kubernetes.io/ip-family": "IPv4",
            "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
        }},
        "spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "gone"}},
    });
    store.create(&format!("{STORED}10.43.0.60"), storage::encode(&leaked), None).await?;
    let server = TestServer::with_store(store).await?;
    let taken = create(&server, "other", json!({"clusterIP": "10.43.0.50"})).await?;
    assert_eq!(taken.code, 422, "with or without an object");
    let api: Api<IPAddress> = Api::all(server.client());
    let there = |address: Option<&IPAddress>| address.is_some();
    let gone = |address: Option<&IPAddress>| address.is_none();
    for address in &before {
        in_time(await_condition(api.clone(), address, there)).await?;
    }
    in_time(await_condition(api.clone(), "10.43.0.60", gone)).await?;
    assert_eq!(addresses(&server).await?, before);

    // What somebody takes away, or changes, comes back as it has to be.
    let uid = api.get("10.43.0.50").await?.metadata.uid;
    let path = format!("{ADDRESSES}/10.43.0.50");
    assert_eq!(server.json(Method::DELETE, &path, &Value::Null).await?.code, 200);
    let again = |address: Option<&IPAddress>| address.is_some_and(|address| address.metadata.uid != uid);
    in_time(await_condition(api.clone(), "10.43.0.50", again)).await?;
    let mut stray = leaked.clone();
    stray["metadata"] = json!({"name": "10.43.0.61", "labels": leaked["metadata"]["labels"]});
    stray["spec"]["parentRef"]["name"] = json!("web");
    assert_eq!(server.json(Method::POST, ADDRESSES, &stray).await?.code, 201);
    in_time(await_condition(api.clone(), "10.43.0.61", gone)).await?;
    let events = server.get("/api/v1/namespaces/default/events").await?.json();
    let reasons: BTreeSet<&str> = events["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|event| event["reportingComponent"] == "ipallocator-repair-controller")
        .filter_map(|event| event["reason"].as_str())
        .collect();
    let expect = ["ClusterIPNotAllocated", "IPAddressNotAllocated", "IPAddressWrongReference"];
    assert_eq!(reasons, BTreeSet::from(expect), "{events}");
    Ok(())
}
