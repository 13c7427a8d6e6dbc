//! Bodies that cannot be read, or say what their kind does not have: code, reason and words.

use anyhow::Result;
use gantry_json::{Value, json};
use gantry_testing::{Reply, TestServer};
use http::Method;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const JSON_PATCH: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

async fn post(server: &TestServer, path: &str, kind: &str, body: &str) -> Result<Reply> {
    server.request(Method::POST, path, kind, body.to_owned()).await
}

fn check(reply: &Reply, code: u16, reason: &str, message: &str) {
    let status = reply.json();
    let text = |field: &str| status[field].as_str().unwrap_or_default().to_owned();
    assert_eq!((reply.code.as_u16(), text("reason"), text("message")), (code, reason.into(), message.into()));
    assert_eq!((&status["kind"], &status["code"]), (&json!("Status"), &json!(code)));
}

fn warnings(reply: &Reply) -> Vec<String> {
    let texts = reply.headers.get_all("warning").iter().filter_map(|value| value.to_str().ok());
    let quoted = texts.filter_map(|text| text.strip_prefix("299 - \"")?.strip_suffix('"'));
    quoted.map(|text| text.replace("\\\"", "\"")).collect()
}

#[tokio::test]
async fn what_is_not_written_as_it_should_be() -> Result<()> {
    let server = TestServer::start().await?;
    let unrecognized = "the object provided is unrecognized (must be of type ConfigMap): ";
    for (kind, body, why) in [
        (JSON, "", "couldn't get version/kind; json parse error: unexpected end of JSON input (<empty>)"),
        (
            JSON,
            "{\"kind\": ",
            "couldn't get version/kind; json parse error: unexpected end of JSON input ({\"kind\": )",
        ),
        (
            JSON,
            "{\"metadata\": {\"name\": \"a\",}, \"data\": {}}",
            "couldn't get version/kind; json parse error: invalid character '}' looking for beginning of object key \
             string ({\"metadata\": {\"name\": \"a\",}, \" ...)",
        ),
        (
            JSON,
            "kind: ConfigMap",
            "couldn't get version/kind; json parse error: invalid character 'k' looking for beginning of value \
             (6b696e643a20436f6e6669674d6170)",
        ),
    ] {
        check(&post(&server, MAPS, kind, body).await?, 400, "BadRequest", &format!("{unrecognized}{why}"));
    }
    let yaml = post(&server, MAPS, YAML, "data: [").await?;
    let text = yaml.json()["message"].as_str().unwrap_or_default().to_owned();
    assert!(
        yaml.code == 400 && text.starts_with(&format!("{unrecognized}error converting YAML to JSON: yaml: ")),
        "{text}"
    );
    for body in ["[", "{\"a\":"] {
        let deep = body.repeat(100_000);
        assert_eq!(post(&server, MAPS, JSON, &deep).await?.code, 400);
        assert_eq!(post(&server, MAPS, YAML, &deep).await?.code, 400);
    }
    let broken =
        server.request(Method::POST, MAPS, "application/vnd.kubernetes.protobuf", "k8s\0\u{1}").await?;
    assert_eq!(
        (broken.code.as_u16(), &broken.json()["reason"]),
        (400, &json!("BadRequest")),
        "{}",
        broken.text()
    );
    let not_text =
        server.request(Method::POST, MAPS, JSON, &b"{\"metadata\":{\"name\":\"\xff\xfe\"}}"[..]).await?;
    assert_eq!(not_text.code, 400, "{}", not_text.text());
    assert_eq!(server.get("/readyz").await?.text(), "ok");
    Ok(())
}

#[tokio::test]
async fn values_of_a_wrong_type_are_named() -> Result<()> {
    let server = TestServer::start().await?;
    let cannot = "in version \"v1\" cannot be handled as a";
    for (path, kind, body, why) in [
        (
            MAPS,
            "ConfigMap",
            json!({"metadata": {"name": "a"}, "data": {"a": 7}}),
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
        ),
        (
            MAPS,
            "ConfigMap",
            json!({"metadata": []}),
            "json: cannot unmarshal array into Go struct field ConfigMap.metadata of type v1.ObjectMeta",
        ),
        (MAPS, "ConfigMap", json!([1]), "json: cannot unmarshal array into Go value of type v1.ConfigMap"),
        (
            DEPLOYMENTS,
            "Deployment",
            json!({"spec": {"replicas": "three"}}),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            DEPLOYMENTS,
            "Deployment",
            json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "ports": [{"containerPort": true}]}]}}}}),
            "json: cannot unmarshal bool into Go struct field ContainerPort.spec.template.spec.containers.ports.containerPort \
             of type int32",
        ),
    ] {
        let message = format!("{kind} {cannot} {kind}: {why}");
        check(&post(&server, path, JSON, &body.to_string()).await?, 400, "BadRequest", &message);
    }
    let quantity =
        json!({"spec": {"template": {"spec": {"containers": [{"resources": {"limits": {"cpu": "much"}}}]}}}});
    let reply = post(&server, DEPLOYMENTS, JSON, &quantity.to_string()).await?;
    assert!(
        reply.code == 400 && reply.text().contains("quantities must match the regular expression"),
        "{}",
        reply.text()
    );
    let time = json!({"metadata": {"deletionTimestamp": "yesterday"}});
    let reply = post(&server, MAPS, JSON, &time.to_string()).await?;
    assert!(reply.code == 400 && reply.text().contains("parsing time"), "{}", reply.text());
    Ok(())
}

#[tokio::test]
async fn another_kind_or_version_is_refused() -> Result<()> {
    let server = TestServer::start().await?;
    for (body, message) in [
        (
            json!({"apiVersion": "v1", "kind": "Secret"}),
            "Secret in version \"v1\" cannot be handled as a ConfigMap: converting (v1.Secret) to (core.ConfigMap): unknown conversion",
        ),
        (
            // Of a wrong type as well, as a ConfigMap.
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "data": 1}),
            "Deployment in version \"v1\" cannot be handled as a ConfigMap: converting (v1.Deployment) to (core.ConfigMap): \
             unknown conversion",
        ),
        (
            json!({"apiVersion": "v2", "kind": "ConfigMap"}),
            "ConfigMap in version \"v2\" cannot be handled as a ConfigMap: no kind \"ConfigMap\" is registered for version \"v2\"",
        ),
        (
            json!({"kind": "Gadget"}),
            "Gadget in version \"v1\" cannot be handled as a ConfigMap: no kind \"Gadget\" is registered for version \"v1\"",
        ),
    ] {
        check(&post(&server, MAPS, JSON, &body.to_string()).await?, 400, "BadRequest", message);
    }
    let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "a"}});
    let reply = post(&server, "/api/v1/namespaces/default/events", JSON, &event.to_string()).await?;
    let message =
        "the API version in the data (events.k8s.io/v1) does not match the expected API version (v1)";
    check(&reply, 400, "BadRequest", message);
    let elsewhere = json!({"metadata": {"name": "a", "namespace": "other"}});
    let message = "the namespace of the provided object does not match the namespace sent on the request";
    check(&post(&server, MAPS, JSON, &elsewhere.to_string()).await?, 400, "BadRequest", message);
    Ok(())
}

/// A Deployment in JSON with fields that it does not have and fields that come twice.
fn deployment(name: &str) -> String {
    format!(
        r#"{{"apiVersion":"apps/v1","kind":"Deployment","metadata":{{"name":"{name}"}},"spec":{{"unknown1":"a","unknownDupe":1,
        "unknownDupe":2,"paused":true,"paused":false,"selector":{{"matchLabels":{{"a":"b"}}}},
        "template":{{"metadata":{{"labels":{{"a":"b"}}}},"spec":{{"containers":[{{"name":"c","image":"i","unknownNested":"x",
        "imagePullPolicy":"Always","imagePullPolicy":"Never"}}]}}}}}}}}"#
    )
}

const FOUND: [&str; 5] = [
    "unknown field \"spec.unknown1\"",
    "unknown field \"spec.unknownDupe\"",
    "duplicate field \"spec.paused\"",
    "unknown field \"spec.template.spec.containers[0].unknownNested\"",
    "duplicate field \"spec.template.spec.containers[0].imagePullPolicy\"",
];

#[tokio::test]
async fn fields_unknown_or_twice_in_json() -> Result<()> {
    let server = TestServer::start().await?;
    let strict =
        post(&server, &format!("{DEPLOYMENTS}?fieldValidation=Strict"), JSON, &deployment("a")).await?;
    let message = format!(
        "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: {}",
        FOUND.join(", ")
    );
    check(&strict, 400, "BadRequest", &message);
    for (at, (query, expected)) in
        [("", &FOUND[..]), ("?fieldValidation=Warn", &FOUND[..]), ("?fieldValidation=Ignore", &[][..])]
            .iter()
            .enumerate()
    {
        let name = format!("d{at}");
        let made = post(&server, &format!("{DEPLOYMENTS}{query}"), JSON, &deployment(&name)).await?;
        assert_eq!(
            (made.code.as_u16(), &warnings(&made)[..]),
            (201, &expected[..].iter().map(|each| (*each).to_owned()).collect::<Vec<_>>()[..])
        );
        let spec = &made.json()["spec"];
        assert_eq!(
            (&spec["unknown1"], &spec["template"]["spec"]["containers"][0]["imagePullPolicy"]),
            (&Value::Null, &json!("Never"))
        );
        let path = format!("{DEPLOYMENTS}/{name}{query}");
        let put = server.request(Method::PUT, &path, JSON, deployment(&name)).await?;
        assert_eq!((put.code.as_u16(), warnings(&put).len()), (200, expected.len()), "{}", put.text());
    }
    let put = server
        .request(Method::PUT, &format!("{DEPLOYMENTS}/d0?fieldValidation=Strict"), JSON, deployment("d0"))
        .await?;
    check(&put, 400, "BadRequest", &message);
    Ok(())
}

#[tokio::test]
async fn fields_unknown_or_twice_in_yaml() -> Result<()> {
    let server = TestServer::start().await?;
    let body = |name: &str| {
        format!(
            "kind: ConfigMap\nmetadata:\n  name: {name}\n  name: {name}\nextra: 1\ndata:\n  a: x\n  a: y\n"
        )
    };
    let strict = post(&server, &format!("{MAPS}?fieldValidation=Strict"), YAML, &body("a")).await?;
    check(
        &strict,
        400,
        "BadRequest",
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: error converting YAML to JSON: \
         yaml: unmarshal errors:\n  line 4: key \"name\" already set in map\n  line 8: key \"a\" already set in map, unknown field \
         \"extra\"",
    );
    let warned = post(&server, MAPS, YAML, &body("b")).await?;
    assert_eq!(
        (warned.code.as_u16(), warnings(&warned)),
        (
            201,
            vec![
                "line 4: key \"name\" already set in map".to_owned(),
                "line 8: key \"a\" already set in map".to_owned(),
                "unknown field \"extra\"".to_owned()
            ]
        )
    );
    assert_eq!(warned.json()["data"], json!({"a": "y"}));
    let ignored = post(&server, &format!("{MAPS}?fieldValidation=Ignore"), YAML, &body("c")).await?;
    assert_eq!((ignored.code.as_u16(), warnings(&ignored)), (201, Vec::new()));
    Ok(())
}

async fn patch(server: &TestServer, query: &str, kind: &str, body: &str) -> Result<Reply> {
    server.request(Method::PATCH, &format!("{DEPLOYMENTS}/d{query}"), kind, body.to_owned()).await
}

#[tokio::test]
async fn fields_unknown_or_twice_in_patches() -> Result<()> {
    let server = TestServer::start().await?;
    post(&server, &format!("{DEPLOYMENTS}?fieldValidation=Ignore"), JSON, &deployment("d")).await?;
    let merge = r#"{"spec":{"unknown1":1,"paused":true,"paused":false}}"#;
    let operations = r#"[{"op":"add","path":"/spec/unknown1","value":1,"foo":"bar"},{"op":"add","path":"/x","path":"/spec/paused","value":false}]"#;
    for (kind, body, found) in [
        (MERGE, merge, vec!["duplicate field \"spec.paused\"", "unknown field \"spec.unknown1\""]),
        (STRATEGIC, merge, vec!["duplicate field \"spec.paused\"", "unknown field \"spec.unknown1\""]),
        (
            JSON_PATCH,
            operations,
            vec![
                "json patch unknown field \"[0].foo\"",
                "json patch duplicate field \"[1].path\"",
                "unknown field \"spec.unknown1\"",
            ],
        ),
    ] {
        let strict = patch(&server, "?fieldValidation=Strict", kind, body).await?;
        let status = strict.json();
        assert_eq!((strict.code.as_u16(), &status["reason"]), (422, &json!("Invalid")), "{kind}: {status}");
        assert_eq!(status["details"]["causes"][0]["field"], "patch");
        let message = status["message"].as_str().unwrap_or_default();
        assert!(message.starts_with(" \"\" is invalid: patch: Invalid value: "), "{message}");
        assert!(message.ends_with(&format!("strict decoding error: {}", found.join(", "))), "{message}");
        let warned = patch(&server, "", kind, body).await?;
        assert_eq!(
            (warned.code.as_u16(), warnings(&warned)),
            (200, found.iter().map(|each| (*each).to_owned()).collect())
        );
        let ignored = patch(&server, "?fieldValidation=Ignore", kind, body).await?;
        assert_eq!((ignored.code.as_u16(), warnings(&ignored).len()), (200, 0));
    }
    Ok(())
}

#[tokio::test]
async fn patches_that_cannot_be_read_or_carried_out() -> Result<()> {
    let server = TestServer::start().await?;
    post(&server, &format!("{DEPLOYMENTS}?fieldValidation=Ignore"), JSON, &deployment("d")).await?;
    for (kind, body, code, reason) in [
        (JSON_PATCH, "{", 400, "BadRequest"),
        (JSON_PATCH, "{\"op\":\"add\"}", 400, "BadRequest"),
        (JSON_PATCH, "[1]", 400, "BadRequest"),
        (JSON_PATCH, r#"[{"op":"replace","path":"/spec/nothing/here","value":1}]"#, 422, "Invalid"),
        (JSON_PATCH, r#"[{"op":"remove","path":"/spec/nothing"}]"#, 422, "Invalid"),
        (JSON_PATCH, r#"[{"op":"test","path":"/spec/replicas","value":99}]"#, 422, "Invalid"),
        (JSON_PATCH, r#"[{"op":"grow","path":"/spec/replicas"}]"#, 422, "Invalid"),
        (JSON_PATCH, r#"[{"op":"add","path":"/spec/replicas","value":"many"}]"#, 422, "Invalid"),
        (MERGE, "[", 400, "BadRequest"),
        (MERGE, "[]", 400, "BadRequest"),
        (MERGE, r#"{"spec":{"replicas":"many"}}"#, 422, "Invalid"),
        (MERGE, r#"{"metadata":{"name":"other"}}"#, 400, "BadRequest"),
        (MERGE, r#"{"metadata":{"resourceVersion":"1"}}"#, 409, "Conflict"),
        (MERGE, r#"{"metadata":{"uid":"other"}}"#, 409, "Conflict"),
        (STRATEGIC, "nonsense", 400, "BadRequest"),
        (STRATEGIC, r#"{"spec":{"template":{"spec":{"containers":[{"image":"x"}]}}}}"#, 400, "BadRequest"),
        (STRATEGIC, r#"{"spec":{"$patch":"twist"}}"#, 400, "BadRequest"),
        (STRATEGIC, r#"{"spec":{"replicas":true}}"#, 422, "Invalid"),
        ("text/plain", "{}", 415, "UnsupportedMediaType"),
        (JSON, "{}", 415, "UnsupportedMediaType"),
        (";;;", "{}", 415, "UnsupportedMediaType"),
    ] {
        let reply = patch(&server, "", kind, body).await?;
        let status = reply.json();
        assert_eq!(
            (reply.code.as_u16(), status["reason"].as_str()),
            (code, Some(reason)),
            "{kind} {body}: {status}"
        );
    }
    let many =
        format!("[{}]", vec![r#"{"op":"test","path":"/kind","value":"Deployment"}"#; 10_001].join(","));
    let reply = patch(&server, "", JSON_PATCH, &many).await?;
    let message =
        "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001";
    check(&reply, 413, "RequestEntityTooLarge", message);
    let reply = patch(&server, "", "application/unknown+json", "{}").await?;
    let message = "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, \
                   application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml";
    check(&reply, 415, "UnsupportedMediaType", message);
    let forced = patch(&server, "?force=true", MERGE, "{}").await?;
    let message = "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch";
    check(&forced, 422, "Invalid", message);
    let absent = server.request(Method::PATCH, &format!("{DEPLOYMENTS}/absent"), MERGE, "{}").await?;
    check(&absent, 404, "NotFound", "deployments.apps \"absent\" not found");
    Ok(())
}

#[tokio::test]
async fn what_is_no_patch_is_told_in_upstreams_words() -> Result<()> {
    let server = TestServer::start().await?;
    post(&server, &format!("{DEPLOYMENTS}?fieldValidation=Ignore"), JSON, &deployment("d")).await?;
    let prefix = "error decoding patch: ";
    let (cut, array) = (
        "unexpected end of JSON input",
        "json: cannot unmarshal array into Go value of type map[string]interface {}",
    );
    for (query, kind, body, message) in [
        ("", JSON_PATCH, "[", format!("{prefix}{cut}")),
        (
            "",
            JSON_PATCH,
            "{}",
            format!("{prefix}json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"),
        ),
        ("?fieldValidation=Ignore", JSON_PATCH, "[", cut.to_owned()),
        (
            "?fieldValidation=Ignore",
            JSON_PATCH,
            "{}",
            "json: cannot unmarshal object into Go value of type jsonpatch.Patch".to_owned(),
        ),
        ("", MERGE, "{\"a\":", format!("{prefix}{cut}")),
        ("", MERGE, "[]", format!("{prefix}{array}")),
        ("", MERGE, "null", "Invalid JSON Patch".to_owned()),
        ("?fieldValidation=Ignore", MERGE, "{", "Invalid JSON Patch".to_owned()),
        ("", STRATEGIC, "{", cut.to_owned()),
        ("", STRATEGIC, "[]", array.to_owned()),
    ] {
        check(&patch(&server, query, kind, body).await?, 400, "BadRequest", &message);
        check(&patch(&server, &format!("/scale{query}"), kind, body).await?, 400, "BadRequest", &message);
    }
    Ok(())
}

#[tokio::test]
async fn items_are_applied_once() -> Result<()> {
    let server = TestServer::start().await?;
    let object = |name: &str, env: &[&str]| {
        let mut object: Value = gantry_json::from_str(&deployment(name)).expect("JSON");
        object["metadata"] = json!({"name": name, "namespace": "default"});
        object["spec"].as_object_mut().expect("an object").retain(|name, _| !name.starts_with("unknown"));
        let env: Vec<Value> = env.iter().map(|name| json!({"name": name, "value": "1"})).collect();
        object["spec"]["template"]["spec"] = json!({"containers": [{"name": "c", "image": "i", "env": env}]});
        object.to_string()
    };
    let apply = async |env: &[&str]| {
        patch(&server, "?fieldManager=m&force=true", "application/apply-patch+yaml", &object("d", env)).await
    };
    let message = "failed to create typed patch object (default/d; apps/v1, Kind=Deployment): \
                   .spec.template.spec.containers[name=\"c\"].env: duplicate entries for key [name=\"X\"]";
    check(&apply(&["X", "Y", "X"]).await?, 500, "", message);
    // What is there may have some twice.
    let made = post(&server, DEPLOYMENTS, JSON, &object("d", &["X", "Y", "X"])).await?;
    assert_eq!(made.code.as_u16(), 201, "{}", made.text());
    check(&apply(&["X", "Y", "X"]).await?, 500, "", message);
    let applied = apply(&["Z"]).await?;
    let env = &applied.json()["spec"]["template"]["spec"]["containers"][0]["env"];
    let names: Vec<_> = env.as_array().into_iter().flatten().map(|each| each["name"].clone()).collect();
    assert_eq!((applied.code.as_u16(), names), (200, ["X", "Y", "X", "Z"].map(Value::from).to_vec()));
    Ok(())
}

#[tokio::test]
async fn applies_that_are_wrong() -> Result<()> {
    let server = TestServer::start().await?;
    let apply = async |query: &str, body: &str| {
        server
            .request(
                Method::PATCH,
                &format!("{MAPS}/a{query}"),
                "application/apply-patch+yaml",
                body.to_owned(),
            )
            .await
    };
    let object = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
    let message =
        "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch";
    check(&apply("", object).await?, 422, "Invalid", message);
    let unknown = apply("?fieldManager=m&fieldValidation=Ignore", &format!("{object}extra: 1\n")).await?;
    let message = "failed to create typed patch object (default/a; /v1, Kind=ConfigMap): .extra: field not declared in schema";
    check(&unknown, 500, "", message);
    let wrong = apply("?fieldManager=m", &format!("{object}data: {{a: 1}}\nimmutable: x\n")).await?;
    let message = "failed to create typed patch object (default/a; /v1, Kind=ConfigMap): errors:\n  .data.a: expected string, got \
                   &value.valueUnstructured{Value:1}\n  .immutable: expected boolean, got &{x}";
    check(&wrong, 500, "", message);
    let twice = format!("{object}data: {{a: x}}\ndata: {{a: y}}\n");
    let strict = apply("?fieldManager=m&fieldValidation=Strict", &twice).await?;
    let message = "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line 5: key \"data\" already \
                   set in map";
    check(&strict, 400, "BadRequest", message);
    let unversioned = apply("?fieldManager=m", "metadata: {name: a, managedFields: [{manager: x}]}").await?;
    check(&unversioned, 400, "BadRequest", "invalid object type: /, Kind=");
    let other = apply("?fieldManager=m", "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n").await?;
    check(&other, 400, "BadRequest", "invalid object type: /v1, Kind=Secret");
    let object_with =
        |metadata: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a, {metadata}}}\n");
    for managed in ["[{manager: x}]", "[]"] {
        let managed = apply("?fieldManager=m", &object_with(&format!("managedFields: {managed}"))).await?;
        check(&managed, 400, "BadRequest", "metadata.managedFields must be nil");
    }
    let null = apply("?fieldManager=m&dryRun=All", &object_with("managedFields: null")).await?;
    assert_eq!(null.code.as_u16(), 201, "{}", null.text());
    let broken = apply("?fieldManager=m", "a: [").await?;
    assert!(broken.code == 400 && broken.text().contains("error decoding YAML: "), "{}", broken.text());
    let identified = apply("?fieldManager=m", &object_with("uid: some")).await?;
    check(
        &identified,
        409,
        "Conflict",
        "Operation cannot be fulfilled on configmaps \"a\": uid mismatch: the provided object specified uid some, and no existing \
         object was found",
    );
    let made = apply("?fieldManager=m", &twice).await?;
    assert_eq!(
        (made.code.as_u16(), warnings(&made)),
        (201, vec!["line 5: key \"data\" already set in map".to_owned()])
    );
    let other = apply("?fieldManager=n", &format!("{object}data: {{a: z}}\n")).await?;
    check(&other, 409, "Conflict", "Apply failed with 1 conflict: conflict with \"m\": .data.a");
    Ok(())
}
