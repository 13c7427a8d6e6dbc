//! Definitions: their names, their conditions, and what a change of them does.

use anyhow::Result;
use gantry_json::{Value, json};
use gantry_testing::TestServer;
use http::Method;

use crate::fixture::{
    DEFINITIONS, THINGS, Watch, condition, define, definition, expect, settled, thing, version,
};

fn string() -> Value {
    json!({"a": {"type": "string"}})
}

#[tokio::test]
async fn a_definition_is_established_and_its_kind_served() -> Result<()> {
    let server = TestServer::start().await?;
    let missing = server.get(THINGS).await?;
    assert_eq!(expect(&missing, 404)?["message"], "the server could not find the requested resource");
    define(&server, &definition(string())).await?;
    let object = server.get(&format!("{DEFINITIONS}/things.example.com")).await?.json();
    let status = &object["status"];
    assert_eq!(
        status["acceptedNames"],
        json!({"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList",
            "shortNames": ["th"], "categories": ["all"]})
    );
    assert_eq!(status["storedVersions"], json!(["v1"]));
    let words: Vec<_> = status["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|each| ["type", "status", "reason", "message"].map(|field| each[field].clone()))
        .collect();
    assert_eq!(
        json!(words),
        json!([
            ["NamesAccepted", "True", "NoConflicts", "no conflicts found"],
            ["Established", "True", "InitialNamesAccepted", "the initial names have been accepted"],
        ])
    );
    let list = server.get(THINGS).await?.json();
    assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("ThingList"), &json!("example.com/v1")));
    Ok(())
}

#[tokio::test]
async fn a_name_is_one_kinds_until_it_gives_it_back() -> Result<()> {
    let server = TestServer::start().await?;
    define(&server, &definition(string())).await?;
    let mut other = definition(string());
    other["metadata"]["name"] = "others.example.com".into();
    other["spec"]["names"] = json!({"plural": "others", "kind": "Thing"});
    expect(&server.json(Method::POST, DEFINITIONS, &other).await?, 201)?;
    let refused =
        settled(&server, "others.example.com", |object| condition(object, "NamesAccepted") == "False")
            .await?;
    let conditions = &refused["status"]["conditions"];
    // The kind of lists is refused last, and that is told.
    assert_eq!(
        (&conditions[0]["reason"], &conditions[0]["message"]),
        (&json!("ListKindConflict"), &json!("\"ThingList\" is already in use"))
    );
    assert_eq!(
        (&conditions[1]["status"], &conditions[1]["reason"]),
        (&json!("False"), &json!("NotAccepted"))
    );
    let others = "/apis/example.com/v1/namespaces/default/others";
    assert_eq!(server.get(others).await?.code, 404);
    expect(
        &server.json(Method::DELETE, &format!("{DEFINITIONS}/things.example.com"), &Value::Null).await?,
        200,
    )?;
    settled(&server, "others.example.com", |object| condition(object, "Established") == "True").await?;
    assert_eq!(server.get(others).await?.code, 200);
    Ok(())
}

#[tokio::test]
async fn a_changed_definition_ends_watches_and_serves_what_it_says() -> Result<()> {
    let server = TestServer::start().await?;
    define(&server, &definition(string())).await?;
    expect(&server.json(Method::POST, THINGS, &thing("t", json!({"a": "x", "b": 1}))).await?, 201)?;
    let mut watch = Watch::open(&server, THINGS).await?;
    let seen = watch.expect("ADDED t").await?;
    assert_eq!(seen["spec"], json!({"a": "x"}));
    // Labels change nothing for its objects.
    let labels = json!({"metadata": {"labels": {"l": "1"}}}).to_string();
    let path = format!("{DEFINITIONS}/things.example.com");
    server.request(Method::PATCH, &path, "application/merge-patch+json", labels).await?;
    let mut next = server.get(&path).await?.json();
    next["spec"]["versions"] = json!([version(
        "v1",
        true,
        json!({"a": {"type": "string"}, "b": {"type": "integer", "default": 7}})
    )]);
    expect(&server.json(Method::PUT, &path, &next).await?, 200)?;
    assert_eq!(watch.try_next().await?, None);
    // What was stored before takes the default when it is read.
    let read = server.get(&format!("{THINGS}/t")).await?.json();
    assert_eq!(read["spec"], json!({"a": "x", "b": 7}));
    let list = server.get(THINGS).await?.json();
    assert_eq!(list["items"][0]["spec"], json!({"a": "x", "b": 7}));
    let mut watch = Watch::open(&server, THINGS).await?;
    assert_eq!(watch.expect("ADDED t").await?["spec"]["b"], 7);
    Ok(())
}

#[tokio::test]
async fn definitions_are_there_after_a_restart() -> Result<()> {
    let mut server = TestServer::start().await?;
    define(&server, &definition(string())).await?;
    expect(&server.json(Method::POST, THINGS, &thing("t", json!({"a": "x"}))).await?, 201)?;
    server.stop();
    server.stopped().await?;
    let next = TestServer::with_store(server.store.clone()).await?;
    // From the first request on.
    assert_eq!(next.get(&format!("{THINGS}/t")).await?.json()["spec"], json!({"a": "x"}));
    Ok(())
}

#[tokio::test]
async fn protected_groups_say_whether_they_are_approved() -> Result<()> {
    let server = TestServer::start().await?;
    let mut protected = definition(string());
    protected["metadata"] = json!({"name": "things.x.k8s.io",
        "annotations": {"api-approved.kubernetes.io": "unapproved, a trial"}});
    protected["spec"]["group"] = "x.k8s.io".into();
    define(&server, &protected).await?;
    let object = settled(&server, "things.x.k8s.io", |_| true).await?;
    assert_eq!(condition(&object, "KubernetesAPIApprovalPolicyConformant"), "False");
    Ok(())
}
