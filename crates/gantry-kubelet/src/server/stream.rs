//! exec, attach and port forwarding: the upgraded connection is passed to the runtime's streaming server.

use std::sync::Arc;

use bytes::Bytes;
use gantry_cri::{CriError, v1 as cri};
use http_body_util::Empty;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{Body, full, route::query, text};
use crate::{agent::Agent, observed::label, pod};

fn on(value: &str) -> bool {
    matches!(value, "1" | "true")
}

fn container_id(agent: &Agent, namespace: &str, name: &str, container: &str) -> Result<String, String> {
    let Some(pod) = agent.find_pod(namespace, name) else { return Err("pod does not exist".into()) };
    let status = pod.status.clone().unwrap_or_default();
    let lists =
        [status.container_statuses, status.init_container_statuses, status.ephemeral_container_statuses];
    let found = lists.into_iter().flatten().flatten().find(|s| s.name == container);
    let id = found.and_then(|s| s.container_id);
    id.as_deref()
        .and_then(|i| i.strip_prefix("gantry://"))
        .map(String::from)
        .ok_or_else(|| format!("container not found ({container:?})"))
}

/// Runs a command in a container.
pub async fn exec(
    agent: &Arc<Agent>,
    namespace: &str,
    name: &str,
    container: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    let id = match container_id(agent, namespace, name, container) {
        Ok(id) => id,
        Err(message) => return text(404, message),
    };
    let mut exec = cri::ExecRequest { container_id: id, ..Default::default() };
    for (key, value) in query(request.uri().query().unwrap_or_default()) {
        match key.as_str() {
            "command" => exec.cmd.push(value),
            "input" | "stdin" => exec.stdin = on(&value),
            "output" | "stdout" => exec.stdout = on(&value),
            "error" | "stderr" => exec.stderr = on(&value),
            "tty" => exec.tty = on(&value),
            _ => {}
        }
    }
    exec.stderr &= !exec.tty;
    let url = agent.runtime.exec(exec).await.map(|r| r.url);
    forward(url, request).await
}

/// Attaches to a container's streams.
pub async fn attach(
    agent: &Arc<Agent>,
    namespace: &str,
    name: &str,
    container: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    let id = match container_id(agent, namespace, name, container) {
        Ok(id) => id,
        Err(message) => return text(404, message),
    };
    let tty = agent
        .find_pod(namespace, name)
        .and_then(|p| pod::find_container(&p, container))
        .is_some_and(|(_, c)| c.tty.unwrap_or(false));
    let mut attach = cri::AttachRequest { container_id: id, tty, ..Default::default() };
    for (key, value) in query(request.uri().query().unwrap_or_default()) {
        match key.as_str() {
            "input" | "stdin" => attach.stdin = on(&value),
            "output" | "stdout" => attach.stdout = on(&value),
            "error" | "stderr" => attach.stderr = on(&value),
            _ => {}
        }
    }
    attach.stderr &= !tty;
    let url = agent.runtime.attach(attach).await.map(|r| r.url);
    forward(url, request).await
}

/// Forwards ports of a pod.
pub async fn port_forward(
    agent: &Arc<Agent>,
    namespace: &str,
    name: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    let Some(pod) = agent.find_pod(namespace, name) else { return text(404, "pod does not exist") };
    let filter = cri::PodSandboxFilter {
        state: Some(cri::PodSandboxStateValue { state: cri::PodSandboxState::SandboxReady as i32 }),
        label_selector: [(label::POD_UID.to_string(), pod::uid(&pod).to_string())].into(),
        ..Default::default()
    };
    let list = agent.runtime.list_pod_sandbox(cri::ListPodSandboxRequest { filter: Some(filter) }).await;
    let sandbox = list.unwrap_or_default().items.into_iter().next();
    let Some(sandbox) = sandbox else { return text(404, "pod is not running") };
    let ports = query(request.uri().query().unwrap_or_default());
    let port = ports
        .iter()
        .filter(|(k, _)| matches!(k.as_str(), "port" | "ports"))
        .flat_map(|(_, v)| v.split(',').filter_map(|p| p.parse().ok()).collect::<Vec<i32>>())
        .collect();
    let forwarding = cri::PortForwardRequest { pod_sandbox_id: sandbox.id, port };
    let url = agent.runtime.port_forward(forwarding).await.map(|r| r.url);
    forward(url, request).await
}

/// Repeats the upgrade request at the runtime's URL and joins the two byte streams.
async fn forward(url: Result<String, CriError>, mut request: Request<Incoming>) -> Response<Body> {
    let url = match url {
        Ok(url) => url,
        Err(error) => return text(500, error.message),
    };
    match connect(&url, &mut request).await {
        Ok(response) => response,
        Err(error) => text(502, format!("error streaming to the runtime: {error}")),
    }
}

async fn connect(
    url: &str,
    request: &mut Request<Incoming>,
) -> Result<Response<Body>, Box<dyn std::error::Error + Send + Sync>> {
    let target: http::Uri = url.parse()?;
    let authority = target.authority().ok_or("the runtime's URL has no host")?.clone();
    let stream = TcpStream::connect(authority.as_str()).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        // Errors show at both ends of the stream.
        let _ = connection.with_upgrades().await;
    });
    let path = target.path_and_query().map_or("/", |p| p.as_str());
    let mut outgoing = Request::builder().method(request.method().clone()).uri(path);
    for (name, value) in
        request.headers().iter().filter(|(n, _)| !matches!(n.as_str(), "host" | "authorization"))
    {
        outgoing = outgoing.header(name, value);
    }
    let outgoing = outgoing.header("host", authority.as_str()).body(Empty::<Bytes>::new())?;
    let mut response = sender.send_request(outgoing).await?;
    if response.status() != http::StatusCode::SWITCHING_PROTOCOLS {
        let (parts, body) = response.into_parts();
        let data = http_body_util::BodyExt::collect(body).await?.to_bytes();
        return Ok(Response::from_parts(parts, full(data)));
    }
    let (upstream, downstream) = (hyper::upgrade::on(&mut response), hyper::upgrade::on(request));
    tokio::spawn(async move {
        match tokio::try_join!(upstream, downstream) {
            Ok((up, down)) => {
                let (mut up, mut down) = (TokioIo::new(up), TokioIo::new(down));
                // Either side may end the session at any time.
                let _ = tokio::io::copy_bidirectional(&mut up, &mut down).await;
            }
            Err(error) => tracing::debug!(%error, "connection not upgraded"),
        }
    });
    let (parts, _) = response.into_parts();
    Ok(Response::from_parts(parts, full(Bytes::new())))
}
