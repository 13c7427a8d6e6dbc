//! Kinds with ways of their own: events in two forms, priority classes, runtime classes.

use anyhow::Result;
use bytes::Bytes;
use gantry_json::{Value, json};
use gantry_testing::TestServer;
use http::{Method, Request};

const CORE: &str = "/api/v1/namespaces/default/events";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";

fn core_event(name: &str, about: &str) -> Value {
    json!({
        "metadata": {"name": name}, "involvedObject": {"kind": "Pod", "name": about, "namespace": "default"},
        "reason": "Started", "message": "Started container", "type": "Normal", "count": 2,
        "source": {"component": "kubelet", "host": "n1"}, "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:01:00Z",
    })
}

fn event(name: &str) -> Value {
    json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": name},
        "regarding": {"kind": "Pod", "name": "q", "namespace": "default"}, "reason": "Scheduled",
        "note": "Successfully assigned", "type": "Normal", "action": "Binding",
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "default-scheduler",
        "reportingInstance": "s-1",
    })
}

#[tokio::test]
async fn an_event_is_one_object_in_two_forms() -> Result<()> {
    let server = TestServer::start().await?;
    assert_eq!(server.json(Method::POST, CORE, &core_event("a", "p")).await?.code, 201);
    let made = server.json(Method::POST, EVENTS, &event("b")).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    assert_eq!(
        (&made.json()["apiVersion"], &made.json()["note"]),
        (&json!("events.k8s.io/v1"), &event("b")["note"])
    );

    let other = server.get(&format!("{EVENTS}/a")).await?.json();
    assert_eq!(other["deprecatedSource"]["host"], "n1");
    assert_eq!((&other["note"], &other["regarding"]["name"]), (&json!("Started container"), &json!("p")));
    assert_eq!((&other["deprecatedCount"], &other["eventTime"]), (&json!(2), &Value::Null));
    let core = server.get(&format!("{CORE}/b")).await?.json();
    assert_eq!((&core["apiVersion"], &core["message"]), (&json!("v1"), &json!("Successfully assigned")));
    assert_eq!(core["reportingComponent"], "default-scheduler");
    assert_eq!((core.get("note"), core.get("regarding")), (None, None));

    let list = server.get(EVENTS).await?.json();
    assert_eq!(list["items"].as_array().map(Vec::len), Some(2));
    assert!(list["items"][0]["note"].is_string(), "{list}");
    for (path, selector) in [
        (CORE, "involvedObject.name=q,involvedObject.kind=Pod,type=Normal,reason=Scheduled"),
        (CORE, "reportingComponent=default-scheduler"),
        (CORE, "source=default-scheduler"),
        (EVENTS, "regarding.name=q"),
        (EVENTS, "reportingController=default-scheduler"),
    ] {
        let found = server.get(&format!("{path}?fieldSelector={selector}")).await?.json();
        assert_eq!(found["items"].as_array().map(Vec::len), Some(1), "{selector}: {found}");
        assert_eq!(found["items"][0]["metadata"]["name"], "b", "{selector}");
    }
    assert_eq!(server.get(&format!("{EVENTS}?fieldSelector=involvedObject.name%3Dq")).await?.code, 400);

    // A series is counted by patching it.
    let series = json!({"series": {"count": 2, "lastObservedTime": "2026-01-01T00:02:00.000000Z"}});
    let patched = server
        .request(
            Method::PATCH,
            &format!("{EVENTS}/b"),
            "application/strategic-merge-patch+json",
            series.to_string(),
        )
        .await?;
    assert_eq!(patched.code, 200, "{}", patched.text());
    assert_eq!(server.get(&format!("{CORE}/b")).await?.json()["series"]["count"], 2);
    let watched =
        server.get(&format!("{EVENTS}?watch=true&timeoutSeconds=1&resourceVersion=0")).await?.text();
    let first: Value = gantry_json::from_str(watched.lines().next().unwrap_or_default())?;
    assert_eq!((&first["type"], &first["object"]["note"]), (&json!("ADDED"), &json!("Started container")));
    assert_eq!(server.json(Method::DELETE, &format!("{EVENTS}/a"), &Value::Null).await?.code, 200);
    assert_eq!(server.get(&format!("{CORE}/a")).await?.code, 404);
    Ok(())
}

#[tokio::test]
async fn new_events_are_held_to_more() -> Result<()> {
    let server = TestServer::start().await?;
    let mut bad = event("a");
    bad["action"] = json!("");
    bad["deprecatedCount"] = json!(1);
    let refused = server.json(Method::POST, EVENTS, &bad).await?;
    assert_eq!(
        refused.json()["message"],
        "Event.events.k8s.io \"a\" is invalid: [action: Required value, count: Invalid value: \"\": needs to be unset]"
    );
    let elsewhere = json!({"metadata": {"name": "a"}, "involvedObject": {"namespace": "other"}});
    let refused = server.json(Method::POST, CORE, &elsewhere).await?.json();
    assert_eq!(
        refused["message"],
        "Event \"a\" is invalid: involvedObject.namespace: Invalid value: \"other\": does not match event.namespace"
    );
    server.json(Method::POST, EVENTS, &event("b")).await?;
    let mut changed = event("b");
    changed["reason"] = json!("Other");
    let refused = server.json(Method::PUT, &format!("{EVENTS}/b"), &changed).await?.json();
    assert_eq!(
        refused["message"],
        "Event.events.k8s.io \"b\" is invalid: reason: Invalid value: \"Other\": field is immutable"
    );
    Ok(())
}

async fn table(server: &TestServer, path: &str) -> Result<Value> {
    let request = Request::builder()
        .uri(path)
        .header("host", "x")
        .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")
        .body(Bytes::new())?;
    Ok(server.send(Some(&server.admin), request).await?.json())
}

#[tokio::test]
async fn both_forms_of_events_show_the_same_table() -> Result<()> {
    let server = TestServer::start().await?;
    server.json(Method::POST, CORE, &core_event("a", "p")).await?;
    for path in [CORE, EVENTS] {
        let table = table(&server, path).await?;
        let names: Vec<_> =
            table["columnDefinitions"].as_array().into_iter().flatten().map(|each| &each["name"]).collect();
        assert_eq!(
            names,
            [
                "Last Seen",
                "Type",
                "Reason",
                "Object",
                "Subobject",
                "Source",
                "Message",
                "First Seen",
                "Count",
                "Name"
            ]
        );
        let cells = &table["rows"][0]["cells"];
        assert_eq!((&cells[3], &cells[5]), (&json!("pod/p"), &json!("kubelet, n1")), "{table}");
        assert_eq!((&cells[6], &cells[8]), (&json!("Started container"), &json!(2)));
    }
    Ok(())
}

#[tokio::test]
async fn pods_get_their_class_number() -> Result<()> {
    const CLASSES: &str = "/apis/scheduling.k8s.io/v1/priorityclasses";
    let server = TestServer::start().await?;
    let system = server.get(&format!("{CLASSES}/system-node-critical")).await?.json();
    assert_eq!((&system["value"], &system["metadata"]["generation"]), (&json!(2_000_001_000), &json!(1)));
    let class = |name: &str| json!({"metadata": {"name": name}, "value": 7, "globalDefault": true});
    let made = server.json(Method::POST, CLASSES, &class("usual")).await?;
    assert_eq!((made.code.as_u16(), &made.json()["preemptionPolicy"]), (201, &json!("PreemptLowerPriority")));
    let second = server.json(Method::POST, CLASSES, &class("second")).await?;
    assert_eq!((second.code.as_u16(), &second.json()["reason"]), (403, &json!("Forbidden")));
    let mut changed = class("usual");
    changed["value"] = json!(8);
    let refused = server.json(Method::PUT, &format!("{CLASSES}/usual"), &changed).await?;
    assert_eq!(
        refused.json()["details"]["causes"][0]["message"],
        "Forbidden: may not be changed in an update."
    );
    let gone = server.json(Method::DELETE, &format!("{CLASSES}/system-node-critical"), &Value::Null).await?;
    assert_eq!(gone.code, 403, "{}", gone.text());

    let account = json!({"metadata": {"name": "default"}});
    server.json(Method::POST, "/api/v1/namespaces/default/serviceaccounts", &account).await?;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let pod = server.json(Method::POST, "/api/v1/namespaces/default/pods", &pod).await?.json();
    assert_eq!((&pod["spec"]["priority"], &pod["spec"]["priorityClassName"]), (&json!(7), &json!("usual")));
    let shown = table(&server, CLASSES).await?;
    let rows = shown["rows"].as_array().cloned().unwrap_or_default();
    let row = rows.iter().find(|row| row["cells"][0] == "usual").cloned().unwrap_or_default();
    assert_eq!((&row["cells"][1], &row["cells"][2]), (&json!(7), &json!(true)));
    Ok(())
}

#[tokio::test]
async fn a_runtime_class_must_be_there() -> Result<()> {
    const CLASSES: &str = "/apis/node.k8s.io/v1/runtimeclasses";
    let server = TestServer::start().await?;
    let refused =
        server.json(Method::POST, CLASSES, &json!({"metadata": {"name": "vm"}, "handler": ""})).await?;
    assert_eq!(
        refused.json()["message"],
        "RuntimeClass.node.k8s.io \"vm\" is invalid: handler: Required value"
    );
    let account = json!({"metadata": {"name": "default"}});
    server.json(Method::POST, "/api/v1/namespaces/default/serviceaccounts", &account).await?;
    let pod = json!({"metadata": {"name": "p"},
        "spec": {"runtimeClassName": "vm", "containers": [{"name": "c", "image": "i"}]}});
    let pods = "/api/v1/namespaces/default/pods";
    let refused = server.json(Method::POST, pods, &pod).await?.json();
    assert_eq!(refused["message"], "pods \"p\" is forbidden: pod rejected: RuntimeClass \"vm\" not found");
    let class =
        json!({"metadata": {"name": "vm"}, "handler": "vm", "overhead": {"podFixed": {"cpu": "100m"}}});
    assert_eq!(server.json(Method::POST, CLASSES, &class).await?.code, 201);
    let made = server.json(Method::POST, pods, &pod).await?;
    assert_eq!(made.json()["spec"]["overhead"]["cpu"], "100m", "{}", made.text());
    Ok(())
}
