//! Writes by every road: typed clients, server-side apply, patches, and what admission costs.

use anyhow::{Result, ensure};
use gantry_json::{Value, json};
use hyper::StatusCode;

use super::Arguments;
use super::call::Call;
use super::cluster::Cluster;
use super::http::Client;
use super::measurement::{How, Measurement, Measuring};
use super::objects::{self, PODS, idle_pod};
use super::report::Report;
use super::webhook::Webhook;

/// Pods that are changed in turn, so many that no two requests meet at one.
const CHANGED: usize = 1_000;
const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";

/// Measures.
pub async fn measure(arguments: &Arguments, report: &mut Report) -> Result<()> {
    let load = arguments.load();
    let mut cluster = Cluster::start(&arguments.gantry, &["server"], false).await?;
    let client = cluster.client().await?;
    client.create_namespace("bench").await?;
    load.all(&client, &apply("changed-OBJECT", "000000"), CHANGED).await?;
    let measuring = Measuring { cluster: &cluster, client: &client, load };
    measuring.run(&writes()?, report).await?;
    admission(&measuring, report).await?;
    cluster.stop()
}

fn writes() -> Result<Vec<Measurement>> {
    let patch = |media_type, body: Value| {
        Call::patch(format!("{PODS}/changed-OBJECT"), media_type, &body).over(CHANGED)
    };
    let image = "registry.example.com/team/app:NUMBER";
    let strategic = json!({"spec": {"containers": [{"name": "app", "image": image}]}});
    let merge = json!({"metadata": {"annotations": {"example.com/revision": "NUMBER"}}});
    let place = "/metadata/annotations/example.com~1revision";
    let operations = json!([{"op": "replace", "path": place, "value": "NUMBER"}]);
    let typed = Call::typed_post(PODS, &idle_pod("typed-OBJECT"))?;
    let of = Measurement::new;
    Ok(vec![
        of("create of a pod, JSON", How::Rate, Call::post(PODS, &idle_pod("json-OBJECT"))),
        of("create of a pod, protobuf", How::Rate, typed),
        of("server-side apply of a new pod", How::Rate, apply("applied-OBJECT", "000000")),
        of(
            "server-side apply that changes a field",
            How::Rate,
            apply("changed-OBJECT", "NUMBER").over(CHANGED),
        ),
        of("strategic merge patch", How::Rate, patch("application/strategic-merge-patch+json", strategic)),
        of("merge patch", How::Rate, patch("application/merge-patch+json", merge)),
        of("JSON patch", How::Rate, patch("application/json-patch+json", operations)),
    ])
}

fn apply(name: &str, revision: &str) -> Call {
    let mut pod = idle_pod(name);
    pod["metadata"]["annotations"]["example.com/revision"] = revision.into();
    Call::apply(&format!("{PODS}/{name}"), &pod)
}

/// Creates with nobody asked, with a policy, and with a webhook.
async fn admission(measuring: &Measuring<'_>, report: &mut Report) -> Result<()> {
    let client = measuring.client;
    measuring.run(&creates("no policy and no webhook", "plain"), report).await?;

    let [policy, binding] = objects::image_policy();
    client.create(&format!("{ADMISSION}/validatingadmissionpolicies"), &policy).await?;
    client.create(&format!("{ADMISSION}/validatingadmissionpolicybindings"), &binding).await?;
    refuses_other_images(client).await?;
    measuring.run(&creates("a ValidatingAdmissionPolicy", "policy"), report).await?;
    client.delete(&format!("{ADMISSION}/validatingadmissionpolicybindings/images")).await?;
    client.delete(&format!("{ADMISSION}/validatingadmissionpolicies/images")).await?;

    let webhook = Webhook::start().await?;
    let registration = objects::webhook(&webhook.url, &webhook.ca);
    let path = format!("{ADMISSION}/validatingwebhookconfigurations");
    client.create(&path, &registration).await?;
    measuring.run(&creates("a validating webhook", "webhook"), report).await?;
    ensure!(webhook.asked() > 0, "the webhook was not asked");
    client.delete(&format!("{path}/bench")).await
}

fn creates(with: &str, prefix: &str) -> [Measurement; 2] {
    let create = |name: &str| Call::post(PODS, &idle_pod(&format!("{prefix}-{name}-OBJECT")));
    [
        Measurement::new(format!("create of a pod with {with}"), How::Rate, create("many")),
        Measurement::new(format!("create of a pod with {with}"), How::Latency, create("one")),
    ]
}

/// An error where the policy is not in force.
async fn refuses_other_images(client: &Client) -> Result<()> {
    let mut pod = idle_pod("refused");
    pod["spec"]["containers"][0]["image"] = "other.example.com/app".into();
    let (status, text) = client.connect().await?.answer(&Call::post(PODS, &pod).request(0)).await?;
    ensure!(status == StatusCode::UNPROCESSABLE_ENTITY, "the policy does not refuse: {status} {text:?}");
    Ok(())
}
