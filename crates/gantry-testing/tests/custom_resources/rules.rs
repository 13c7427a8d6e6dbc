//! Rules in the schemas of custom kinds, through a whole server.

use anyhow::Result;
use gantry_json::{Value, json};
use gantry_testing::{Reply, TestServer};
use http::Method;

use crate::fixture::{THINGS, define, definition, expect, thing};

/// The causes of a refusal, as reason, field and message.
fn causes(reply: &Reply) -> Result<Vec<(String, String, String)>> {
    let status = expect(reply, 422)?;
    let causes = status["details"]["causes"].as_array().cloned().unwrap_or_default();
    let word = |cause: &Value, key: &str| cause[key].as_str().unwrap_or_default().to_owned();
    Ok(causes
        .iter()
        .map(|cause| (word(cause, "reason"), word(cause, "field"), word(cause, "message")))
        .collect())
}

async fn create(server: &TestServer, name: &str, spec: Value) -> Result<Reply> {
    server.json(Method::POST, THINGS, &thing(name, spec)).await
}

async fn served(spec: Value) -> Result<TestServer> {
    let server = TestServer::start().await?;
    let mut definition = definition(json!({}));
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"] = spec;
    define(&server, &definition).await?;
    Ok(server)
}

#[tokio::test]
async fn messages_paths_and_reasons() -> Result<()> {
    let server = served(json!({
        "type": "object",
        "properties": {
            "host": {"type": "string", "maxLength": 60}, "port": {"x-kubernetes-int-or-string": true, "maxLength": 10},
            "until": {"type": "string", "format": "date-time"}, "with-dash": {"type": "integer"},
            "labels": {"type": "object", "maxProperties": 5, "additionalProperties": {"type": "string", "maxLength": 20}},
        },
        "x-kubernetes-validations": [
            {"rule": "!has(self.host) || isIP(self.host)", "messageExpression": "'%s is no address'.format([self.host])",
             "fieldPath": ".host"},
            {"rule": "!has(self.port) || (type(self.port) == int ? self.port < 1000 : self.port.startsWith('p'))",
             "reason": "FieldValueForbidden"},
            {"rule": "!has(self.until) || self.until.getFullYear() > 2020", "message": "too early"},
            {"rule": "!has(self.with__dash__dash) || self.with__dash__dash > 0", "message": "must be above zero"},
            {"rule": "!has(self.labels) || self.labels.all(k, v, k.startsWith(v))", "message": "values begin keys"},
        ],
    }))
    .await?;
    let fine = json!({"host": "10.0.0.1", "port": "p80", "until": "2024-01-01T00:00:00Z", "with-dash": 1, "labels": {"ab": "a"}});
    expect(&create(&server, "fine", fine).await?, 201)?;
    let bad = json!({"host": "a", "port": 8080, "until": "2019-01-01T00:00:00Z", "with-dash": 0, "labels": {"ab": "b"}});
    let found = causes(&create(&server, "bad", bad).await?)?;
    let of =
        |reason: &str, field: &str, message: &str| (reason.to_owned(), field.to_owned(), message.to_owned());
    assert_eq!(
        found,
        [
            of("FieldValueInvalid", "spec.host", "Invalid value: a is no address"),
            of(
                "FieldValueForbidden",
                "spec",
                "Forbidden: failed rule: !has(self.port) || (type(self.port) == int ? self.port < 1000 : self.port.startsWith('p'))"
            ),
            of("FieldValueInvalid", "spec", "Invalid value: too early"),
            of("FieldValueInvalid", "spec", "Invalid value: must be above zero"),
            of("FieldValueInvalid", "spec", "Invalid value: values begin keys"),
        ]
    );
    Ok(())
}

#[tokio::test]
async fn changes_by_every_way() -> Result<()> {
    let server = served(json!({
        "type": "object",
        "properties": {
            "class": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "class is immutable"}]},
            "size": {"type": "integer"},
        },
        "x-kubernetes-validations": [{"rule": "self.size <= 10", "message": "size is at most 10"}],
    }))
    .await?;
    let path = format!("{THINGS}/t");
    let mut object = expect(&create(&server, "t", json!({"class": "a", "size": 1})).await?, 201)?;
    object["spec"]["class"] = "b".into();
    let found = causes(&server.json(Method::PUT, &path, &object).await?)?;
    assert_eq!(found[0].2, "Invalid value: \"b\": class is immutable");
    let merge =
        |body: Value| server.request(Method::PATCH, &path, "application/merge-patch+json", body.to_string());
    let found = causes(&merge(json!({"spec": {"size": 11}})).await?)?;
    assert_eq!((found[0].1.as_str(), found[0].2.as_str()), ("spec", "Invalid value: size is at most 10"));
    expect(&merge(json!({"spec": {"size": 9}})).await?, 200)?;
    let applied = format!("{path}?fieldManager=x&force=true");
    let body = thing("t", json!({"class": "c", "size": 12})).to_string();
    let found =
        causes(&server.request(Method::PATCH, &applied, "application/apply-patch+yaml", body).await?)?;
    let messages: Vec<_> = found.iter().map(|cause| cause.2.as_str()).collect();
    assert_eq!(messages, ["Invalid value: size is at most 10", "Invalid value: \"c\": class is immutable"]);
    Ok(())
}

#[tokio::test]
async fn rules_that_cost_too_much_end() -> Result<()> {
    let server = served(json!({
        "type": "object",
        "properties": {"list": {"type": "array", "maxItems": 1_000, "items": {"type": "integer"}}},
        "x-kubernetes-validations": [{"rule": "self.list.all(x, self.list.all(y, x >= 0 || y >= 0))"}],
    }))
    .await?;
    expect(&create(&server, "few", json!({"list": [1, 2, 3]})).await?, 201)?;
    let many: Vec<u32> = (0..1_000).collect();
    let found = causes(&create(&server, "many", json!({"list": many})).await?)?;
    assert!(
        found[0].2.contains(
            "'operation cancelled: actual cost limit exceeded': no further validation rules will be run"
        ),
        "{found:?}"
    );
    Ok(())
}

#[tokio::test]
async fn what_is_tolerated_is_warned_of() -> Result<()> {
    let server = served(json!({
        "type": "object",
        "properties": {
            "a": {"type": "string", "x-kubernetes-validations": [{"rule": "self == 'y'", "message": "must be y"}]},
            "b": {"type": "string"},
        },
    }))
    .await?;
    // It was there before the rule.
    let mut object = thing("t", json!({"a": "x"}));
    object["metadata"]["namespace"] = "default".into();
    object["metadata"]["uid"] = "5a3c4f5e-0000-4000-8000-000000000000".into();
    let key = "/registry/example.com/things/default/t";
    server.store.create(key, object.to_string().into_bytes(), None).await?;
    let path = format!("{THINGS}/t");
    let warnings = |reply: &Reply| -> Vec<String> {
        let all = reply.headers.get_all("warning").iter();
        all.filter_map(|each| each.to_str().ok()).map(str::to_owned).collect()
    };
    let warning = "299 - \"spec.a: Invalid value: \\\"x\\\": must be y\"";
    let mut object = expect(&server.get(&path).await?, 200)?;
    object["spec"]["b"] = "1".into();
    let updated = server.json(Method::PUT, &path, &object).await?;
    expect(&updated, 200)?;
    assert_eq!(warnings(&updated), [warning]);
    for (media_type, body) in [
        ("application/merge-patch+json", json!({"spec": {"b": "2"}})),
        ("application/json-patch+json", json!([{"op": "replace", "path": "/spec/b", "value": "3"}])),
        ("application/apply-patch+yaml", thing("t", json!({"b": "3"}))),
    ] {
        let path = format!("{path}?fieldManager=m");
        let patched = server.request(Method::PATCH, &path, media_type, body.to_string()).await?;
        expect(&patched, 200)?;
        assert_eq!(warnings(&patched), [warning], "{media_type}");
    }
    let body = json!({"spec": {"a": "z"}}).to_string();
    let refused = server.request(Method::PATCH, &path, "application/merge-patch+json", body).await?;
    assert_eq!(causes(&refused)?[0].2, "Invalid value: \"z\": must be y");
    assert_eq!(warnings(&refused), Vec::<String>::new());
    let body = json!({"spec": {"a": "y"}}).to_string();
    let mended = server.request(Method::PATCH, &path, "application/merge-patch+json", body).await?;
    expect(&mended, 200)?;
    assert_eq!(warnings(&mended), Vec::<String>::new());
    Ok(())
}
