//! kubectl with a custom kind.

use anyhow::{Result, ensure};
use gantry_testing::TestServer;
use serde_json::json;

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
