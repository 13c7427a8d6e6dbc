//! Objects that can be read but are wrong: names, labels, annotations, fields that do not change, writes
//! that lost a race. Each with its code, reason and field.

use anyhow::Result;
use gantry_json::{Value, json};
use gantry_testing::{Reply, TestServer};
use http::Method;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn check(reply: &Reply, expected: &[(&str, &str, &str)]) {
    let status = reply.json();
    assert_eq!((reply.code.as_u16(), &status["reason"]), (422, &json!("Invalid")), "{status}");
    let causes: Vec<_> = status["details"]["causes"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|cause| {
            (
                cause["field"].as_str().unwrap_or_default(),
                cause["reason"].as_str().unwrap_or_default(),
                cause["message"].as_str().unwrap_or_default(),
            )
        })
        .collect();
    assert_eq!(causes.len(), expected.len(), "{status}");
    for ((field, reason, message), (expected_field, expected_reason, part)) in causes.iter().zip(expected) {
        assert_eq!((field, reason), (expected_field, expected_reason));
        assert!(message.contains(part), "{message}");
    }
}

#[tokio::test]
async fn metadata() -> Result<()> {
    let server = TestServer::start().await?;
    let invalid = "FieldValueInvalid";
    let long = "a".repeat(254);
    let wide = "a".repeat(64);
    let name = "a lowercase RFC 1123 subdomain must consist of";
    let part = "name part must consist of alphanumeric characters";
    for (metadata, expected) in [
        (
            json!({}),
            vec![("metadata.name", "FieldValueRequired", "Required value: name or generateName is required")],
        ),
        (json!({"name": "Upper"}), vec![("metadata.name", invalid, name)]),
        (json!({"name": "a/b"}), vec![("metadata.name", invalid, name)]),
        (json!({"name": ".."}), vec![("metadata.name", invalid, name)]),
        (json!({"name": long}), vec![("metadata.name", invalid, "must be no more than 253 bytes")]),
        (
            json!({"generateName": "Bad_"}),
            vec![("metadata.generateName", invalid, "\"Bad_\""), ("metadata.name", invalid, name)],
        ),
        (json!({"name": "a", "labels": {"a b": "x"}}), vec![("metadata.labels", invalid, part)]),
        (
            json!({"name": "a", "labels": {"": "x"}}),
            vec![
                ("metadata.labels", invalid, "name part must be non-empty"),
                ("metadata.labels", invalid, part),
            ],
        ),
        (
            json!({"name": "a", "labels": {"/x": "x"}}),
            vec![("metadata.labels", invalid, "prefix part must be non-empty")],
        ),
        (
            json!({"name": "a", "labels": {"a/b/c": "x"}}),
            vec![("metadata.labels", invalid, "a qualified name must consist of alphanumeric characters")],
        ),
        (
            json!({"name": "a", "labels": {"UP.io/b": "x"}}),
            vec![("metadata.labels", invalid, "prefix part a lowercase RFC 1123")],
        ),
        (
            json!({"name": "a", "labels": {wide.clone(): "x"}}),
            vec![("metadata.labels", invalid, "name part must be no more than 63 bytes")],
        ),
        (
            json!({"name": "a", "labels": {"b": wide}}),
            vec![("metadata.labels", invalid, "must be no more than 63 bytes")],
        ),
        (
            json!({"name": "a", "labels": {"b": "-x"}}),
            vec![("metadata.labels", invalid, "a valid label must be an empty string")],
        ),
        (json!({"name": "a", "annotations": {"a b": "x"}}), vec![("metadata.annotations", invalid, part)]),
        (
            json!({"name": "a", "annotations": {"big": "x".repeat(256 << 10)}}),
            vec![(
                "metadata.annotations",
                "FieldValueTooLong",
                "Too long: may not be more than 262144 bytes",
            )],
        ),
        (
            json!({"name": "a", "finalizers": ["mine"]}),
            vec![(
                "metadata.finalizers[0]",
                invalid,
                "\"mine\": name is neither a standard finalizer name nor is it fully qualified",
            )],
        ),
        (
            json!({"name": "a", "finalizers": ["orphan", "foregroundDeletion"]}),
            vec![(
                "metadata.finalizers",
                invalid,
                "finalizer orphan and foregroundDeletion cannot be both set",
            )],
        ),
        (
            json!({"name": "a", "ownerReferences": [{"apiVersion": "", "kind": "", "name": "", "uid": ""}]}),
            vec![
                ("metadata.ownerReferences.apiVersion", invalid, "version must not be empty"),
                ("metadata.ownerReferences.kind", invalid, "must not be empty"),
                ("metadata.ownerReferences.name", invalid, "must not be empty"),
                ("metadata.ownerReferences.uid", invalid, "must not be empty"),
            ],
        ),
        (
            json!({"name": "a", "ownerReferences": [
                {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "1", "controller": true},
                {"apiVersion": "v1", "kind": "Pod", "name": "q", "uid": "2", "controller": true},
            ]}),
            vec![(
                "metadata.ownerReferences",
                invalid,
                "Only one reference can have Controller set to true. Found \"true\" in references for Pod/p and Pod/q",
            )],
        ),
    ] {
        check(&server.json(Method::POST, MAPS, &json!({"metadata": metadata})).await?, &expected);
    }
    let made = server
        .json(Method::POST, MAPS, &json!({"metadata": {"name": "a", "annotations": {"Up.io/B": "x"}}}))
        .await?;
    assert_eq!(made.code, 201, "capitals may stand in an annotation's prefix: {}", made.text());
    let versioned =
        server.json(Method::POST, MAPS, &json!({"metadata": {"name": "b", "resourceVersion": "7"}})).await?;
    assert_eq!(versioned.code, 400, "{}", versioned.text());
    Ok(())
}

#[tokio::test]
async fn names_by_kind() -> Result<()> {
    let server = TestServer::start().await?;
    let spec = json!({"ports": [{"port": 80}]});
    for (path, name, words) in [
        ("/api/v1/namespaces", "a.b", "must not contain dots"),
        ("/api/v1/namespaces", "a_b", "a lowercase RFC 1123 label must consist of"),
        ("/api/v1/namespaces/default/services", "1a", "a DNS-1035 label must consist of"),
        ("/api/v1/namespaces/default/services", &*"a".repeat(64), "must be no more than 63 bytes"),
        ("/apis/rbac.authorization.k8s.io/v1/clusterroles", "a%b", "may not contain '%'"),
        ("/api/v1/nodes", "a_b", "a lowercase RFC 1123 subdomain must consist of"),
    ] {
        let body = json!({"metadata": {"name": name}, "spec": spec});
        let reply = server.json(Method::POST, &format!("{path}?fieldValidation=Ignore"), &body).await?;
        check(&reply, &[("metadata.name", "FieldValueInvalid", words)]);
    }
    Ok(())
}

/// Makes an object, changes it by a merge patch and expects the change to be refused.
async fn immutable(
    server: &TestServer,
    path: &str,
    object: Value,
    change: Value,
    field: &str,
    message: &str,
) -> Result<()> {
    let made = server.json(Method::POST, path, &object).await?;
    assert_eq!(made.code, 201, "{path}: {}", made.text());
    let name = made.json()["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let path = format!("{path}/{name}");
    let reply =
        server.request(Method::PATCH, &path, "application/merge-patch+json", change.to_string()).await?;
    let status = reply.json();
    assert_eq!(
        (reply.code.as_u16(), &status["reason"]),
        (422, &json!("Invalid")),
        "{path} {change}: {status}"
    );
    let causes = status["details"]["causes"].as_array().cloned().unwrap_or_default();
    let found = causes.iter().find(|cause| cause["field"] == field);
    let text = found.and_then(|cause| cause["message"].as_str()).unwrap_or_default();
    assert!(text.contains(message), "{path} {change}: {status}");
    // And by an update as a whole.
    let mut whole = server.get(&path).await?.json();
    merge(&mut whole, &change);
    let put = server.json(Method::PUT, &path, &whole).await?;
    assert_eq!(put.code, 422, "{path} {change}: {}", put.text());
    Ok(())
}

fn merge(target: &mut Value, change: &Value) {
    let Value::Object(fields) = change else {
        *target = change.clone();
        return;
    };
    for (name, value) in fields {
        if value.is_null() {
            target.as_object_mut().map(|target| target.remove(name));
        } else {
            merge(&mut target[name.as_str()], value);
        }
    }
}

#[tokio::test]
async fn fields_that_do_not_change() -> Result<()> {
    let server = TestServer::start().await?;
    let set = "field is immutable when `immutable` is set";
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let workload = json!({"metadata": {"name": "w"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let other = json!({"spec": {"selector": {"matchLabels": {"a": "c"}}, "template": {"metadata": {"labels": {"a": "c"}}}}});
    server
        .json(
            Method::POST,
            "/api/v1/namespaces/default/serviceaccounts",
            &json!({"metadata": {"name": "default"}}),
        )
        .await?;
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let binding = json!({"metadata": {"name": "b"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}});
    let roles = json!({"roleRef": {"name": "edit"}});
    let mut cases = vec![
        (
            MAPS,
            json!({"metadata": {"name": "m"}, "data": {"a": "b"}, "immutable": true}),
            json!({"data": {"a": "c"}}),
            "data",
            set,
        ),
        (
            MAPS,
            json!({"metadata": {"name": "n"}, "immutable": true}),
            json!({"immutable": false}),
            "immutable",
            set,
        ),
        (
            "/api/v1/namespaces/default/secrets",
            json!({"metadata": {"name": "s"}, "type": "a/b"}),
            json!({"type": "a/c"}),
            "type",
            "\"a/c\": field is immutable",
        ),
        (
            "/api/v1/namespaces/default/secrets",
            json!({"metadata": {"name": "t"}, "immutable": true, "data": {"a": "YQ=="}}),
            json!({"data": {"a": "Yg=="}}),
            "data",
            set,
        ),
        (
            "/api/v1/namespaces/default/services",
            json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}),
            json!({"spec": {"clusterIP": "10.43.7.7", "clusterIPs": ["10.43.7.7"]}}),
            "spec.clusterIPs[0]",
            "may not change once set",
        ),
        (
            "/apis/apps/v1/namespaces/default/deployments",
            workload.clone(),
            other.clone(),
            "spec.selector",
            "field is immutable",
        ),
        (
            "/apis/apps/v1/namespaces/default/replicasets",
            workload,
            other,
            "spec.selector",
            "field is immutable",
        ),
        (
            "/api/v1/namespaces/default/pods",
            json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}),
            json!({"spec": {"hostname": "other"}}),
            "spec",
            "pod updates may not change fields other than",
        ),
        (
            "/apis/scheduling.k8s.io/v1/priorityclasses",
            json!({"metadata": {"name": "p"}, "value": 7}),
            json!({"value": 8}),
            "value",
            "may not be changed in an update.",
        ),
        (
            "/apis/node.k8s.io/v1/runtimeclasses",
            json!({"metadata": {"name": "r"}, "handler": "a"}),
            json!({"handler": "b"}),
            "handler",
            "field is immutable",
        ),
        (
            "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
            json!({"metadata": {"name": "e"}, "addressType": "IPv4", "endpoints": []}),
            json!({"addressType": "IPv6"}),
            "addressType",
            "field is immutable",
        ),
    ];
    let (namespaced, everywhere) =
        (format!("{rbac}/namespaces/default/rolebindings"), format!("{rbac}/clusterrolebindings"));
    cases.push((&namespaced, binding.clone(), roles.clone(), "roleRef", "cannot change roleRef"));
    cases.push((&everywhere, binding, roles, "roleRef", "cannot change roleRef"));
    for (path, object, change, field, message) in cases {
        immutable(&server, path, object, change, field, message).await?;
    }
    Ok(())
}

#[tokio::test]
async fn writes_that_conflict() -> Result<()> {
    let server = TestServer::start().await?;
    let made = server.json(Method::POST, MAPS, &json!({"metadata": {"name": "a"}})).await?.json();
    let path = format!("{MAPS}/a");
    for (change, message) in [
        (
            json!({"metadata": {"resourceVersion": "1"}}),
            "the object has been modified; please apply your changes to the latest version and try again",
        ),
        (
            json!({"metadata": {"uid": "other"}}),
            "Precondition failed: UID in precondition: other, UID in object meta: ",
        ),
    ] {
        let mut object = made.clone();
        merge(&mut object, &change);
        let reply = server.json(Method::PUT, &path, &object).await?;
        let status = reply.json();
        assert_eq!((reply.code.as_u16(), &status["reason"]), (409, &json!("Conflict")), "{status}");
        let text = status["message"].as_str().unwrap_or_default();
        assert!(
            text.starts_with(&format!("Operation cannot be fulfilled on configmaps \"a\": {message}")),
            "{text}"
        );
        assert_eq!(
            (&status["details"]["name"], &status["details"]["kind"]),
            (&json!("a"), &json!("configmaps"))
        );
    }
    for (body, message) in [
        (
            json!({"metadata": {}}),
            "the name of the object (based on URL) was undeterminable: name must be provided",
        ),
        (
            json!({"metadata": {"name": "b"}}),
            "the name of the object (b) does not match the name on the URL (a)",
        ),
    ] {
        let reply = server.json(Method::PUT, &path, &body).await?;
        assert_eq!((reply.code.as_u16(), &reply.json()["message"]), (400, &json!(message)));
    }
    let precondition = json!({"preconditions": {"resourceVersion": "1"}});
    let reply = server.json(Method::DELETE, &path, &precondition).await?;
    assert_eq!(reply.code, 409, "{}", reply.text());
    let held = json!({"metadata": {"name": "h", "finalizers": ["example.com/hold"]}});
    server.json(Method::POST, MAPS, &held).await?;
    server.json(Method::DELETE, &format!("{MAPS}/h"), &Value::Null).await?;
    let more = json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}});
    let reply = server
        .request(Method::PATCH, &format!("{MAPS}/h"), "application/merge-patch+json", more.to_string())
        .await?;
    check(
        &reply,
        &[(
            "metadata.finalizers",
            "FieldValueForbidden",
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{\"example.com/more\"}",
        )],
    );
    Ok(())
}
