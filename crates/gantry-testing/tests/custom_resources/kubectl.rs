//! kubectl with a custom kind.

use anyhow::{Result, ensure};
use gantry_json::json;
use gantry_testing::TestServer;

use crate::fixture::{define, definition};

const THING: &str = "
apiVersion: example.com/v1
kind: Thing
metadata: {name: t}
spec: {color: red, size: 2}
";

#[tokio::test]
async fn applies_gets_explains_and_scales() -> Result<()> {
    let server = TestServer::start().await?;
    let mut definition = definition(json!({
        "color": {"type": "string", "description": "What it looks like."}, "size": {"type": "integer"},
    }));
    let version = &mut definition["spec"]["versions"][0];
    version["additionalPrinterColumns"] =
        json!([{"name": "Color", "type": "string", "jsonPath": ".spec.color"}]);
    version["subresources"] = json!({"status": {},
        "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}});
    define(&server, &definition).await?;
    let (done, text) = server.kubectl(&["apply", "-f", "-"], THING).await?;
    ensure!(done && text == "thing.example.com/t created\n", "{text}");
    let (done, text) = server.kubectl(&["apply", "-f", "-"], &THING.replace("red", "blue")).await?;
    ensure!(done && text == "thing.example.com/t configured\n", "{text}");
    let (done, text) =
        server.kubectl(&["apply", "--server-side", "-f", "-"], &THING.replace("red", "blue")).await?;
    ensure!(done && text == "thing.example.com/t serverside-applied\n", "{text}");
    let (done, text) = server.kubectl(&["apply", "-f", "-"], &THING.replace("color", "colour")).await?;
    ensure!(!done && text.contains("unknown field \"spec.colour\""), "{text}");
    let (done, text) = server.kubectl(&["get", "th"], "").await?;
    ensure!(done && text == "NAME   COLOR\nt      blue\n", "{text}");
    let (done, text) = server.kubectl(&["get", "all", "-o", "name"], "").await?;
    ensure!(done && text.contains("thing.example.com/t"), "{text}");
    let (done, text) = server.kubectl(&["explain", "things.spec.color"], "").await?;
    ensure!(done && text.contains("What it looks like."), "{text}");
    let old = ["explain", "thing.spec", "--output", "plaintext-openapiv2"];
    let (done, text) = server.kubectl(&old, "").await?;
    ensure!(done && text.contains("What it looks like."), "{text}");
    let (done, text) = server.kubectl(&["scale", "thing/t", "--replicas", "5"], "").await?;
    ensure!(done, "{text}");
    let size = ["get", "thing/t", "-o", "jsonpath={.spec.size}"];
    let (done, text) = server.kubectl(&size, "").await?;
    ensure!(done && text == "5", "{text}");
    let wait = ["wait", "--for=condition=established", "crd/things.example.com", "--timeout=10s"];
    let (done, text) = server.kubectl(&wait, "").await?;
    ensure!(done, "{text}");
    let (done, text) = server.kubectl(&["delete", "crd", "things.example.com"], "").await?;
    ensure!(done && text.contains("deleted"), "{text}");
    let (done, text) = server.kubectl(&["get", "things"], "").await?;
    ensure!(!done && text.contains("the server doesn't have a resource type \"things\""), "{text}");
    Ok(())
}

/// Runs kubectl, which has to succeed; what it printed.
async fn kubectl(server: &TestServer, words: &[&str], input: &str) -> Result<String> {
    let (done, text) = server.kubectl(words, input).await?;
    ensure!(done, "{words:?}: {text}");
    Ok(text)
}

#[tokio::test]
async fn edits_waits_patches_and_deletes() -> Result<()> {
    let server = TestServer::start().await?;
    let mut definition = definition(json!({
        "color": {"type": "string"}, "size": {"type": "integer", "default": 1},
    }));
    definition["spec"]["names"]["categories"] = json!(["shapes"]);
    definition["spec"]["versions"][0]["subresources"] = json!({"status": {}});
    define(&server, &definition).await?;
    let kinds = kubectl(&server, &["api-resources", "--api-group=example.com", "--no-headers"], "").await?;
    let words: Vec<&str> = kinds.split_whitespace().collect();
    ensure!(words == ["things", "th", "example.com/v1", "true", "Thing"], "{kinds}");
    kubectl(&server, &["apply", "-f", "-"], THING).await?;
    let named = kubectl(&server, &["get", "shapes", "-o", "name"], "").await?;
    ensure!(named == "thing.example.com/t\n", "{named}");

    // Two managers of server-side apply: the second needs to insist.
    let own = ["apply", "--server-side", "--field-manager=one", "--force-conflicts", "-f", "-"];
    kubectl(&server, &own, THING).await?;
    let theirs = ["apply", "--server-side", "--field-manager=two", "-f", "-"];
    let (done, text) = server.kubectl(&theirs, &THING.replace("red", "green")).await?;
    ensure!(!done && text.contains("conflict with \"one\": .spec.color"), "{text}");
    let theirs = ["apply", "--server-side", "--field-manager=two", "--force-conflicts", "-f", "-"];
    kubectl(&server, &theirs, &THING.replace("red", "green")).await?;

    // An editor that is a script.
    let edit = ["edit", "thing", "t"];
    let editor = "sed -i -e s/green/yellow/";
    let (done, text) = server.kubectl_with(&edit, "", &[("KUBE_EDITOR", editor)]).await?;
    ensure!(done && text.contains("thing.example.com/t edited"), "{text}");
    let color = kubectl(&server, &["get", "th", "t", "-o", "jsonpath={.spec.color}"], "").await?;
    ensure!(color == "yellow", "{color}");
    let (done, text) = server.kubectl_with(&edit, "", &[("KUBE_EDITOR", "sed -i -e s/yellow/[1]/")]).await?;
    ensure!(!done && text.contains("things.example.com \"t\" is invalid"), "{text}");

    let wait = ["wait", "--for=jsonpath={.spec.color}=yellow", "thing/t", "--timeout=30s"];
    kubectl(&server, &wait, "").await?;
    // What is waited for comes while somebody waits for it, or did before.
    let wait = ["wait", "--for=jsonpath={.status.phase}=Ready", "thing/t", "--timeout=60s"];
    let patch = [
        "patch",
        "thing",
        "t",
        "--subresource=status",
        "--type=merge",
        "-p",
        "{\"status\":{\"phase\":\"Ready\"}}",
    ];
    let (waited, patched) = tokio::join!(server.kubectl(&wait, ""), server.kubectl(&patch, ""));
    let ((waited, text), (patched, why)) = (waited?, patched?);
    ensure!(waited && patched, "{text} {why}");
    let labelled = kubectl(&server, &["label", "thing", "t", "a=b"], "").await?;
    ensure!(labelled == "thing.example.com/t labeled\n", "{labelled}");
    let found = kubectl(&server, &["get", "things", "-l", "a=b", "-o", "name"], "").await?;
    ensure!(found == "thing.example.com/t\n", "{found}");
    let strategic = ["patch", "thing", "t", "--type=strategic", "-p", "{}"];
    let (done, text) = server.kubectl(&strategic, "").await?;
    ensure!(!done && text.contains("strategic"), "{text}");
    let described = kubectl(&server, &["describe", "thing", "t"], "").await?;
    ensure!(described.contains("Color:  yellow"), "{described}");
    kubectl(&server, &["delete", "things", "--all", "--wait=true"], "").await?;
    let left = kubectl(&server, &["get", "things"], "").await?;
    ensure!(left.contains("No resources found"), "{left}");
    Ok(())
}
