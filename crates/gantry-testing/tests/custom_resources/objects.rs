//! Objects of custom kinds: reading, writing, watching, selecting, counting.

use anyhow::Result;
use bytes::Bytes;
use gantry_json::{Value, json};
use gantry_testing::TestServer;
use http::{Method, Request};

use crate::fixture::{THINGS, Watch, define, definition, expect, thing};

fn properties() -> Value {
    json!({
        "a": {"type": "string"}, "count": {"type": "integer", "minimum": 1, "default": 3},
        "color": {"type": "string"}, "on": {"type": "boolean"},
    })
}

async fn server() -> Result<TestServer> {
    let server = TestServer::start().await?;
    let mut definition = definition(properties());
    definition["spec"]["versions"][0]["selectableFields"] =
        json!([{"jsonPath": ".spec.color"}, {"jsonPath": ".spec.count"}, {"jsonPath": ".spec.on"}]);
    definition["spec"]["versions"][0]["additionalPrinterColumns"] = json!([
        {"name": "Count", "type": "integer", "jsonPath": ".spec.count", "description": "How many"},
        {"name": "Color", "type": "string", "jsonPath": ".spec.color", "priority": 1},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]);
    define(&server, &definition).await?;
    Ok(server)
}

#[tokio::test]
async fn objects_are_defaulted_pruned_and_checked() -> Result<()> {
    let server = server().await?;
    let created = server.json(Method::POST, THINGS, &thing("t", json!({"a": "x", "unknown": 1}))).await?;
    assert_eq!(created.headers["warning"], "299 - \"unknown field \\\"spec.unknown\\\"\"");
    let object = expect(&created, 201)?;
    assert_eq!(object["spec"], json!({"a": "x", "count": 3}));
    let metadata = &object["metadata"];
    assert_eq!((&metadata["generation"], &metadata["namespace"]), (&json!(1), &json!("default")));
    assert!(metadata["uid"].is_string() && metadata["creationTimestamp"].is_string());
    assert_eq!(
        metadata["managedFields"][0]["fieldsV1"],
        json!({"f:spec": {".": {}, "f:a": {}, "f:count": {}}})
    );

    let strict = format!("{THINGS}?fieldValidation=Strict");
    let refused = server.json(Method::POST, &strict, &thing("s", json!({"unknown": 1}))).await?;
    assert_eq!(
        expect(&refused, 400)?["message"],
        "Thing in version \"v1\" cannot be handled as a Thing: strict decoding error: unknown field \"spec.unknown\""
    );
    let twice = r#"{"apiVersion":"example.com/v1","kind":"Thing","metadata":{"name":"s","x":1},"spec":{"a":"1","a":"2"}}"#;
    let refused = server.request(Method::POST, &strict, "application/json", twice).await?;
    let message = expect(&refused, 400)?["message"].as_str().unwrap_or_default().to_owned();
    assert!(
        message.contains("duplicate field \"spec.a\"") && message.contains("unknown field \"metadata.x\""),
        "{message}"
    );

    let wrong = server.json(Method::POST, THINGS, &thing("w", json!({"a": 1, "count": 0}))).await?;
    let status = expect(&wrong, 422)?;
    assert_eq!((&status["reason"], &status["details"]["group"]), (&json!("Invalid"), &json!("example.com")));
    let fields: Vec<_> = status["details"]["causes"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|each| each["field"].clone())
        .collect();
    assert_eq!(fields, ["spec.a", "spec.count"]);
    let kind = json!({"apiVersion": "example.com/v1", "kind": "Other", "metadata": {"name": "o"}});
    let refused = server.json(Method::POST, THINGS, &kind).await?;
    assert!(expect(&refused, 422)?["message"].as_str().unwrap_or_default().contains("must be Thing"));
    Ok(())
}

#[tokio::test]
async fn objects_say_what_they_are_and_which_version_they_replace() -> Result<()> {
    let server = server().await?;
    let mut object = thing("t", json!({"count": 2.0}));
    let check = async |method: Method, path: &str, object: &Value, code: u16, message: &str| -> Result<()> {
        let refused = expect(&server.json(method, path, object).await?, code)?;
        assert_eq!(refused["message"], message);
        Ok(())
    };
    object["kind"] = Value::Null;
    let text = object.to_string();
    let message = format!(
        "the object provided is unrecognized (must be of type Thing): Object 'Kind' is missing in '{text}' ({} ...)",
        &text[..30]
    );
    check(Method::POST, THINGS, &object, 400, &message).await?;
    object["kind"] = "Thing".into();
    object["apiVersion"] = Value::Null;
    let message = "the API version in the data () does not match the expected API version (example.com/v1)";
    check(Method::POST, THINGS, &object, 400, message).await?;
    object["apiVersion"] = "example.com/v1".into();
    let made = server.json(Method::POST, THINGS, &object).await?;
    // Whoever reads an integer cannot read a fraction.
    assert!(made.text().contains("\"count\":2}"), "{}", made.text());
    let path = format!("{THINGS}/t");
    let message = "things.example.com \"t\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update";
    check(Method::PUT, &path, &object, 422, message).await?;
    object["metadata"]["resourceVersion"] = "0".into();
    check(Method::PUT, &path, &object, 422, message).await?;
    let mut made = expect(&made, 201)?;
    made["spec"]["count"] = 5.into();
    let next = expect(&server.json(Method::PUT, &path, &made).await?, 200)?;
    assert_eq!(next["spec"]["count"], 5);

    let apply = format!("{path}?fieldManager=m");
    let applied = async |api_version: Value, kind: &str| {
        let body = json!({"apiVersion": api_version, "kind": kind, "spec": {"a": "b"}}).to_string();
        server.request(Method::PATCH, &apply, "application/apply-patch+yaml", body).await
    };
    for (api_version, kind, given) in [
        (Value::Null, "Thing", "/, Kind=Thing"),
        ("other/v1".into(), "Thing", "other/v1, Kind=Thing"),
        ("example.com/v1".into(), "Other", "example.com/v1, Kind=Other"),
    ] {
        let refused = expect(&applied(api_version, kind).await?, 400)?;
        assert_eq!(refused["message"], format!("invalid object type: {given}"));
    }
    expect(&applied("example.com/v1".into(), "Thing").await?, 200)?;
    Ok(())
}

#[tokio::test]
async fn generations_count_changes_of_the_content() -> Result<()> {
    let server = server().await?;
    let mut object = expect(&server.json(Method::POST, THINGS, &thing("t", json!({"a": "x"}))).await?, 201)?;
    let path = format!("{THINGS}/t");
    let mut step = async |change: &dyn Fn(&mut Value), generation: i64| -> Result<()> {
        change(&mut object);
        object = expect(&server.json(Method::PUT, &path, &object).await?, 200)?;
        assert_eq!(object["metadata"]["generation"], generation);
        Ok(())
    };
    step(&|object| object["metadata"]["labels"] = json!({"l": "1"}), 1).await?;
    step(&|object| object["spec"]["a"] = json!("y"), 2).await?;
    // Without the subresource a status is a field like any other.
    step(&|object| object["status"] = json!({"phase": "x"}), 3).await?;
    step(&|_| {}, 3).await?;
    let stale = json!({"apiVersion": "example.com/v1", "kind": "Thing",
        "metadata": {"name": "t", "resourceVersion": "1"}, "spec": {}});
    assert_eq!(server.json(Method::PUT, &path, &stale).await?.code, 409);
    Ok(())
}

#[tokio::test]
async fn watches_selectors_and_collections() -> Result<()> {
    let server = server().await?;
    let colored = format!("{THINGS}?fieldSelector=spec.color=red");
    let mut watch = Watch::open(&server, &colored).await?;
    for (name, color) in [("a", "red"), ("b", "blue"), ("c", "red")] {
        let mut object = thing(name, json!({"color": color, "on": name == "a"}));
        object["metadata"]["labels"] = json!({"color": color});
        expect(&server.json(Method::POST, THINGS, &object).await?, 201)?;
    }
    watch.expect("ADDED a").await?;
    watch.expect("ADDED c").await?;
    let blue = json!({"spec": {"color": "blue"}}).to_string();
    server.request(Method::PATCH, &format!("{THINGS}/a"), "application/merge-patch+json", blue).await?;
    let left = watch.expect("DELETED a").await?;
    assert_eq!(left["spec"]["color"], "red");
    let names = async |query: &str| -> Result<Vec<String>> {
        let list = expect(&server.get(&format!("{THINGS}?{query}")).await?, 200)?;
        let items = list["items"].as_array().cloned().unwrap_or_default();
        Ok(items
            .iter()
            .map(|each| each["metadata"]["name"].as_str().unwrap_or_default().to_owned())
            .collect())
    };
    assert_eq!(names("fieldSelector=spec.color%3Dblue").await?, ["a", "b"]);
    assert_eq!(names("fieldSelector=spec.color!%3Dblue").await?, ["c"]);
    assert_eq!(names("fieldSelector=spec.count%3D3").await?, ["a", "b", "c"]);
    assert_eq!(names("fieldSelector=spec.on%3Dtrue").await?, ["a"]);
    assert_eq!(names("labelSelector=color%3Dred").await?, ["a", "c"]);
    assert_eq!(names("fieldSelector=metadata.name%3Db").await?, ["b"]);
    let first =
        expect(&server.get(&format!("{THINGS}?limit=1&fieldSelector=spec.color%3Dblue")).await?, 200)?;
    let token = first["metadata"]["continue"].as_str().unwrap_or_default();
    assert_eq!(names(&format!("limit=1&fieldSelector=spec.color%3Dblue&continue={token}")).await?, ["b"]);
    let refused = server.get(&format!("{THINGS}?fieldSelector=spec.a%3Dx")).await?;
    assert_eq!(expect(&refused, 400)?["message"], "field label not supported: spec.a");
    let selected = format!("{THINGS}?fieldSelector=spec.color%3Dblue");
    expect(&server.json(Method::DELETE, &selected, &Value::Null).await?, 200)?;
    assert_eq!(names("").await?, ["c"]);
    // Everywhere, and the whole kind at once.
    let all = expect(&server.get("/apis/example.com/v1/things").await?, 200)?;
    assert_eq!(all["items"].as_array().map(Vec::len), Some(1));
    Ok(())
}

#[tokio::test]
async fn tables_have_the_definitions_columns() -> Result<()> {
    let server = server().await?;
    expect(&server.json(Method::POST, THINGS, &thing("t", json!({"color": "red"}))).await?, 201)?;
    let get = async |accept: &'static str| {
        let request = Request::get(THINGS).header("host", "x").header("accept", accept).body(Bytes::new())?;
        server.send(Some(&server.admin), request).await
    };
    let table = expect(&get("application/json;as=Table;g=meta.k8s.io;v=v1").await?, 200)?;
    let columns: Vec<_> = table["columnDefinitions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|each| json!([each["name"], each["type"], each["priority"], each["format"]]))
        .collect();
    assert_eq!(
        json!(columns),
        json!([
            ["Name", "string", 0, "name"],
            ["Count", "integer", 0, ""],
            ["Color", "string", 1, ""],
            ["Age", "date", 0, ""]
        ])
    );
    assert_eq!(table["columnDefinitions"][1]["description"], "How many");
    let cells = &table["rows"][0]["cells"];
    assert_eq!((&cells[0], &cells[1], &cells[2]), (&json!("t"), &json!(3), &json!("red")));
    let metadata =
        expect(&get("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1").await?, 200)?;
    assert_eq!(metadata["items"][0]["metadata"]["name"], "t");
    // Protobuf is for metadata alone.
    assert_eq!(get("application/vnd.kubernetes.protobuf").await?.code, 406);
    let either = get("application/vnd.kubernetes.protobuf, application/json").await?;
    assert_eq!(either.headers["content-type"], "application/json");
    let metadata =
        get("application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1").await?;
    assert_eq!(metadata.headers["content-type"], "application/vnd.kubernetes.protobuf");
    let sent = server.request(Method::POST, THINGS, "application/vnd.kubernetes.protobuf", "k8s\0").await?;
    assert_eq!(sent.code, 415);
    Ok(())
}

#[tokio::test]
async fn rules_are_evaluated() -> Result<()> {
    let server = TestServer::start().await?;
    let mut definition = definition(json!({"low": {"type": "integer"}, "high": {"type": "integer"}}));
    let spec = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    spec["x-kubernetes-validations"] = json!([
        {"rule": "self.low <= self.high", "message": "low must not be above high"},
        {"rule": "self.high >= oldSelf.high", "message": "high must not shrink"},
    ]);
    define(&server, &definition).await?;
    let created = server.json(Method::POST, THINGS, &thing("t", json!({"low": 1, "high": 2}))).await?;
    let mut object = expect(&created, 201)?;
    let refused = server.json(Method::POST, THINGS, &thing("u", json!({"low": 3, "high": 2}))).await?;
    let message = expect(&refused, 422)?["message"].clone();
    assert!(
        message.as_str().is_some_and(|message| message.contains("low must not be above high")),
        "{message}"
    );
    object["spec"]["high"] = json!(1);
    let refused = server.json(Method::PUT, &format!("{THINGS}/t"), &object).await?;
    let message = expect(&refused, 422)?["message"].clone();
    assert!(message.as_str().is_some_and(|message| message.contains("high must not shrink")), "{message}");
    Ok(())
}
