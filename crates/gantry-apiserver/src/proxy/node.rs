//! Requests that a node's kubelet answers: logs, exec, attach and port-forward of pods, and
//! the node proxy. They go over mutual TLS to the node's internal address.

use std::net::IpAddr;
use std::sync::Arc;

use gantry_api::status::ApiError;
use gantry_json::Value;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::exchange::{self, Backend};
use super::{CONNECT_TIMEOUT, forward, log_socket, target, unavailable};
use crate::ApiServer;
use crate::body::Body;
use crate::request::{Query, RequestInfo};
use crate::server::certificate::Shown;
use crate::tls::{self, Trust};
use crate::{trace, websocket};

/// The port of a kubelet that its Node does not say otherwise.
const KUBELET_PORT: u64 = 10250;

/// The most bytes of a kubelet's refusal that are repeated.
const LONGEST_REFUSAL: usize = 10_000;

/// The TLS client that kubelets are called with; `None`: the server was given no identity.
pub(crate) fn connector(
    config: &crate::Config,
    shown: Option<Arc<Shown>>,
) -> Result<Option<TlsConnector>, crate::Error> {
    let Some(shown) = shown else { return Ok(None) };
    let trust = Trust::only(&config.kubelet_ca)?;
    let tls = tls::client(trust, Some(shown))?;
    Ok(Some(TlsConnector::from(Arc::new(tls))))
}

/// `pods/{log,exec,attach,portforward}`.
pub(crate) async fn pod_stream(
    server: &ApiServer,
    info: &RequestInfo,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let pod = server.read_object("", "pods", &info.namespace, &info.name)?;
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    if info.subresource == "portforward" {
        if node.is_empty() {
            return Err(ApiError::bad_request(format!("pod {} does not have a host assigned", info.name)));
        }
        let path = format!("/portForward/{}/{}", info.namespace, info.name);
        return call(server, node, &path, raw_query(&request).as_deref(), request).await;
    }
    let query = Query::parse(request.uri().query());
    let container = container(&pod, &info.name, query.filled("container"))?;
    if node.is_empty() {
        if info.subresource == "log" {
            let mut response = Response::new(Body::Empty);
            response
                .headers_mut()
                .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
            return Ok(response);
        }
        return Err(ApiError::bad_request(format!("pod {} does not have a host assigned", info.name)));
    }
    let verb = match info.subresource.as_str() {
        "log" => "containerLogs",
        other => other,
    };
    let path = format!("/{verb}/{}/{}/{container}", info.namespace, info.name);
    let onward = kubelet_query(request.uri().query().unwrap_or_default(), info.subresource != "log");
    if info.subresource == "log" && websocket::is_asked(request.headers()) {
        let mut request = request;
        let client = log_socket::Client::take(&mut request)?;
        let log = refusal(call(server, node, &path, Some(&onward), request).await?).await?;
        return client.serve(log);
    }
    let response = call(server, node, &path, Some(&onward), request).await?;
    if info.subresource == "log" { refusal(response).await } else { Ok(response) }
}

/// The kubelet refuses in plain text, of which clients of the API expect a Status.
async fn refusal(response: Response<Body>) -> Result<Response<Body>, ApiError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = Limited::new(response.into_body(), LONGEST_REFUSAL).collect().await;
    let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let text = String::from_utf8_lossy(&body).trim_end().to_owned();
    Err(match status {
        StatusCode::BAD_REQUEST => ApiError::bad_request(text),
        StatusCode::NOT_FOUND => ApiError::new(404, "NotFound", text),
        _ => ApiError::internal(text),
    })
}

/// The query for the kubelet, whose names of the streams are not those of the API.
fn kubelet_query(query: &str, renamed: bool) -> String {
    let mut onward = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "container" => {}
            "stdin" | "stdout" | "stderr" if renamed => {
                if !matches!(value.as_ref(), "false" | "0") {
                    let kubelet = match name.as_ref() {
                        "stdin" => "input",
                        "stdout" => "output",
                        _ => "error",
                    };
                    onward.append_pair(kubelet, "1");
                }
            }
            "tty" if renamed => {
                if !matches!(value.as_ref(), "false" | "0") {
                    onward.append_pair("tty", "1");
                }
            }
            _ => {
                onward.append_pair(&name, &value);
            }
        }
    }
    onward.finish()
}

/// `nodes/NAME/proxy/...`.
pub(crate) async fn node_proxy(
    server: &ApiServer,
    info: &RequestInfo,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let target = target::split("node", &info.name)?;
    let kubelet = Kubelet::of(server, target.name)?;
    if target.port.is_empty() || target.port == kubelet.port.to_string() {
        let Kubelet { host, port, connector } = kubelet;
        let backend = Backend { host, port: Some(port.to_string()), tls: Some(connector) };
        return exchange::serve(backend, info, request).await;
    }
    let allowed = match kubelet.host.parse::<IpAddr>() {
        Ok(_) => target::is_proxyable(&kubelet.host),
        Err(_) => {
            let found = tokio::net::lookup_host((kubelet.host.as_str(), 0)).await;
            let mut found = found.map_err(|error| ApiError::bad_request(error.to_string()))?;
            found.all(|address| target::is_proxyable(&address.ip().to_string()))
        }
    };
    if !allowed {
        return Err(ApiError::bad_request("address not allowed"));
    }
    let backend = Backend::new(target.scheme, &kubelet.host, Some(target.port.to_owned()))?;
    exchange::serve(backend, info, request).await
}

/// A node's kubelet.
struct Kubelet {
    host: String,
    port: u64,
    connector: TlsConnector,
}

impl Kubelet {
    fn of(server: &ApiServer, node: &str) -> Result<Self, ApiError> {
        let object = server.read_object("", "nodes", "", node)?;
        let connector = server.kubelets.clone().ok_or_else(|| {
            ApiError::service_unavailable("this server has no identity to call kubelets with")
        })?;
        let host = address(&object).ok_or_else(|| {
            ApiError::internal(format!("no preferred addresses found; known addresses: [] ({node})"))
        })?;
        let port = &object["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"];
        Ok(Self { host: host.to_owned(), port: port.as_u64().unwrap_or(KUBELET_PORT), connector })
    }
}

fn raw_query(request: &Request<Body>) -> Option<String> {
    request.uri().query().map(str::to_owned)
}

fn container(pod: &Value, name: &str, asked: Option<&str>) -> Result<String, ApiError> {
    let names = |field: &str| -> Vec<&str> {
        let list = pod["spec"][field].as_array();
        list.into_iter().flatten().filter_map(|each| each["name"].as_str()).collect()
    };
    let (containers, init, ephemeral) =
        (names("containers"), names("initContainers"), names("ephemeralContainers"));
    if let Some(asked) = asked {
        let found = [&containers, &init, &ephemeral].iter().any(|list| list.contains(&asked));
        return match found {
            true => Ok(asked.to_owned()),
            false => Err(ApiError::bad_request(format!("container {asked} is not valid for pod {name}"))),
        };
    }
    match containers.as_slice() {
        [] => Err(ApiError::bad_request(format!("a container name must be specified for pod {name}"))),
        [only] => Ok((*only).to_owned()),
        several => {
            let mut message = format!(
                "a container name must be specified for pod {name}, choose one of: [{}]",
                several.join(" ")
            );
            if !init.is_empty() {
                message += &format!(" or one of the init containers: [{}]", init.join(" "));
            }
            Err(ApiError::bad_request(&message))
        }
    }
}

async fn call(
    server: &ApiServer,
    node: &str,
    path: &str,
    query: Option<&str>,
    mut request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let Kubelet { host, port, connector } = Kubelet::of(server, node)?;
    let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let target = match query.filter(|query| !query.is_empty()) {
        Some(query) => format!("https://{authority}{path}?{query}"),
        None => format!("https://{authority}{path}"),
    };
    let uri: Uri = target.parse().map_err(|error| unavailable(&error))?;
    let name = ServerName::try_from(host).map_err(|error| unavailable(&error))?;
    let connect = async {
        let stream = TcpStream::connect(&authority).await?;
        stream.set_nodelay(true)?;
        connector.connect(name, stream).await
    };
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, connect)
        .await
        .map_err(|error| unavailable(&error))?
        .map_err(|error| unavailable(&format!("dial tcp {authority}: {error}")))?;
    let traced = trace::Call::begin(&mut request, Some(&uri));
    let answer = forward(stream, request, &uri).await?;
    traced.answered(answer.status());
    Ok(answer)
}

fn address(node: &Value) -> Option<&str> {
    let addresses = node["status"]["addresses"].as_array()?;
    ["InternalIP", "ExternalIP", "Hostname"].iter().find_map(|kind| {
        addresses.iter().find(|each| each["type"] == *kind).and_then(|each| each["address"].as_str())
    })
}
