//! Requests that a pod or a Service's endpoint answers: `pods/NAME/proxy` and
//! `services/NAME/proxy`. Plain HTTP, as the workload speaks it.

use gantry_api::status::ApiError;
use http::{Request, Response, Uri};
use tokio::net::TcpStream;

use super::{CONNECT_TIMEOUT, forward, unavailable};
use crate::ApiServer;
use crate::body::Body;
use crate::request::RequestInfo;

/// `pods/[SCHEME:]NAME[:PORT]/proxy/...`.
pub(crate) async fn pod_proxy(
    server: &ApiServer,
    info: &RequestInfo,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let (name, port) = split(&info.name)?;
    let pod = server.read_object("", "pods", &info.namespace, name)?;
    let address = pod["status"]["podIP"].as_str().unwrap_or_default();
    if address.is_empty() {
        return Err(ApiError::bad_request("address not allowed"));
    }
    let port = match port {
        Some(port) => port.parse().map_err(|_| ApiError::bad_request(format!("invalid port {port:?}")))?,
        None => pod["spec"]["containers"][0]["ports"][0]["containerPort"].as_u64().unwrap_or(80),
    };
    send(address, port, info, request).await
}

/// `services/[SCHEME:]NAME[:PORT]/proxy/...`: the first ready endpoint of the port.
pub(crate) async fn service_proxy(
    server: &ApiServer,
    info: &RequestInfo,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let (name, port) = split(&info.name)?;
    let service = server.read_object("", "services", &info.namespace, name)?;
    let ports = service["spec"]["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    let chosen = match port {
        None if ports.len() == 1 => ports.first(),
        None => None,
        Some(port) => {
            ports.iter().find(|each| each["name"] == port || each["port"].as_u64() == port.parse().ok())
        }
    };
    let missing =
        || ApiError::service_unavailable(format!("no endpoints available for service {:?}", info.name));
    let port_name = chosen.ok_or_else(missing)?["name"].as_str().unwrap_or_default();
    let endpoints = server.read_object("", "endpoints", &info.namespace, name).map_err(|_| missing())?;
    let subsets = endpoints["subsets"].as_array().map(Vec::as_slice).unwrap_or_default();
    let target = subsets.iter().find_map(|subset| {
        let address = subset["addresses"][0]["ip"].as_str()?;
        let ports = subset["ports"].as_array()?;
        let port = ports.iter().find(|each| each["name"].as_str().unwrap_or_default() == port_name)?;
        Some((address, port["port"].as_u64()?))
    });
    let (address, port) = target.ok_or_else(missing)?;
    send(address, port, info, request).await
}

fn split(name: &str) -> Result<(&str, Option<&str>), ApiError> {
    let parts: Vec<&str> = name.split(':').collect();
    match parts.as_slice() {
        [name] => Ok((name, None)),
        [name, port] | ["http" | "", name, port] => Ok((name, (!port.is_empty()).then_some(*port))),
        _ => Err(ApiError::bad_request(format!("invalid proxy target {name:?}"))),
    }
}

async fn send(
    address: &str,
    port: u64,
    info: &RequestInfo,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let authority =
        if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") };
    let target = match request.uri().query() {
        Some(query) => format!("http://{authority}/{}?{query}", info.rest),
        None => format!("http://{authority}/{}", info.rest),
    };
    let uri: Uri = target.parse().map_err(|error| unavailable(&error))?;
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(&authority))
        .await
        .map_err(|error| unavailable(&error))?
        .map_err(|error| unavailable(&format!("dial tcp {authority}: {error}")))?;
    forward(stream, request, &uri).await
}
