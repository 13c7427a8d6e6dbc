//! A server with definitions, and watches of what happens in it.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use gantry_json::{Value, json};
use gantry_testing::{Reply, TestServer};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;

pub const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
pub const THINGS: &str = "/apis/example.com/v1/namespaces/default/things";

/// A definition of Things, with one version whose spec has these properties.
pub fn definition(properties: Value) -> Value {
    json!({
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing", "shortNames": ["th"],
                "categories": ["all"]},
            "versions": [version("v1", true, properties)],
        },
    })
}

pub fn version(name: &str, storage: bool, properties: Value) -> Value {
    json!({
        "name": name, "served": true, "storage": storage,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {
            "spec": {"type": "object", "properties": properties},
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }}},
    })
}

pub fn thing(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": name}, "spec": spec})
}

/// Creates a definition and waits until its kind is served.
pub async fn define(server: &TestServer, definition: &Value) -> Result<()> {
    let name = definition["metadata"]["name"].as_str().context("a name")?;
    let created = server.json(Method::POST, DEFINITIONS, definition).await?;
    ensure!(created.code == 201, "{}", created.text());
    settled(server, name, |object| condition(object, "Established") == "True").await.map(drop)
}

/// A condition's status.
pub fn condition<'a>(definition: &'a Value, kind: &str) -> &'a str {
    let conditions = definition["status"]["conditions"].as_array().into_iter().flatten();
    let mut found = conditions.filter(|each| each["type"] == kind);
    found.next().and_then(|each| each["status"].as_str()).unwrap_or_default()
}

/// Waits until a definition is as wanted.
pub async fn settled(server: &TestServer, name: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    let mut watch = Watch::open(server, &format!("{DEFINITIONS}?fieldSelector=metadata.name={name}")).await?;
    loop {
        let event = watch.next().await?;
        if event["type"] != "DELETED" && wanted(&event["object"]) {
            return Ok(event["object"].clone());
        }
    }
}

/// The object in an answer that has this code.
pub fn expect(reply: &Reply, code: u16) -> Result<Value> {
    ensure!(reply.code.as_u16() == code, "{} {}", reply.code, reply.text());
    Ok(reply.json())
}

/// A watch over a connection of its own, read an event at a time.
pub struct Watch {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Watch {
    /// Opens a watch of what a list at `path` lists.
    pub async fn open(server: &TestServer, path: &str) -> Result<Self> {
        let stream = TokioIo::new(server.connect(Some(&server.admin)).await?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
        tokio::spawn(connection);
        let query = if path.contains('?') { "&" } else { "?" };
        let request = Request::get(format!("{path}{query}watch=true")).header("host", "x");
        let response = sender.send_request(request.body(Full::new(Bytes::new()))?).await?;
        ensure!(response.status() == 200, "{path}: {}", response.status());
        Ok(Self { body: response.into_body(), buffer: Vec::new() })
    }

    /// The next event.
    pub async fn next(&mut self) -> Result<Value> {
        self.try_next().await?.context("the watch ended")
    }

    /// The next event; `None` where the watch has ended.
    pub async fn try_next(&mut self) -> Result<Option<Value>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Ok(Some(gantry_json::from_slice(&line)?));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            self.buffer.extend_from_slice(frame?.data_ref().context("trailers")?);
        }
    }

    /// The next event's object, which is `TYPE name`.
    pub async fn expect(&mut self, event: &str) -> Result<Value> {
        let next = self.next().await?;
        let name = next["object"]["metadata"]["name"].as_str().unwrap_or_default();
        let found = format!("{} {name}", next["type"].as_str().unwrap_or_default());
        ensure!(found == event, "{found} is not {event}: {next}");
        Ok(next["object"].clone())
    }
}
