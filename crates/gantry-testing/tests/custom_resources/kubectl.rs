//! kubectl with a custom kind.

use anyhow::{Context, Result, ensure};
use gantry_testing::TestServer;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::fixture::{define, definition};

/// Runs kubectl as the administrator; what it prints.
async fn kubectl(server: &TestServer, words: &[&str], input: &str) -> Result<(bool, String)> {
    let home = tempfile::tempdir()?;
    let (certificate, key) = (home.path().join("cert.pem"), home.path().join("key.pem"));
    std::fs::write(&certificate, &server.admin.certificate)?;
    std::fs::write(&key, &server.admin.key)?;
    let mut child = Command::new("kubectl")
        .args(["--server", &server.url, "--insecure-skip-tls-verify"])
        .args(["--client-certificate".as_ref(), certificate.as_os_str()])
        .args(["--client-key".as_ref(), key.as_os_str()])
        .args(words)
        .env("HOME", home.path())
        .env_remove("KUBECONFIG")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .context("kubectl is in PATH; run the tests with `make test`")?;
    child.stdin.take().context("piped")?.write_all(input.as_bytes()).await?;
    let output = child.wait_with_output().await?;
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    Ok((output.status.success(), text.into_owned()))
}

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
    let (done, text) = kubectl(&server, &["apply", "-f", "-"], THING).await?;
    ensure!(done && text == "thing.example.com/t created\n", "{text}");
    let (done, text) = kubectl(&server, &["apply", "-f", "-"], &THING.replace("red", "blue")).await?;
    ensure!(done && text == "thing.example.com/t configured\n", "{text}");
    let (done, text) =
        kubectl(&server, &["apply", "--server-side", "-f", "-"], &THING.replace("red", "blue")).await?;
    ensure!(done && text == "thing.example.com/t serverside-applied\n", "{text}");
    let (done, text) = kubectl(&server, &["apply", "-f", "-"], &THING.replace("color", "colour")).await?;
    ensure!(!done && text.contains("unknown field \"spec.colour\""), "{text}");
    let (done, text) = kubectl(&server, &["get", "th"], "").await?;
    ensure!(done && text == "NAME   COLOR\nt      blue\n", "{text}");
    let (done, text) = kubectl(&server, &["get", "all", "-o", "name"], "").await?;
    ensure!(done && text.contains("thing.example.com/t"), "{text}");
    let (done, text) = kubectl(&server, &["explain", "things.spec.color"], "").await?;
    ensure!(done && text.contains("What it looks like."), "{text}");
    let old = ["explain", "thing.spec", "--output", "plaintext-openapiv2"];
    let (done, text) = kubectl(&server, &old, "").await?;
    ensure!(done && text.contains("What it looks like."), "{text}");
    let (done, text) = kubectl(&server, &["scale", "thing/t", "--replicas", "5"], "").await?;
    ensure!(done, "{text}");
    let size = ["get", "thing/t", "-o", "jsonpath={.spec.size}"];
    let (done, text) = kubectl(&server, &size, "").await?;
    ensure!(done && text == "5", "{text}");
    let wait = ["wait", "--for=condition=established", "crd/things.example.com", "--timeout=10s"];
    let (done, text) = kubectl(&server, &wait, "").await?;
    ensure!(done, "{text}");
    let (done, text) = kubectl(&server, &["delete", "crd", "things.example.com"], "").await?;
    ensure!(done && text.contains("deleted"), "{text}");
    let (done, text) = kubectl(&server, &["get", "things"], "").await?;
    ensure!(!done && text.contains("the server doesn't have a resource type \"things\""), "{text}");
    Ok(())
}
