//! Who answers requests for `pods/NAME/proxy` and `services/NAME/proxy`: a pod, or a pod behind a
//! Service. Nobody else can be reached this way, whatever Endpoints say.

use std::net::IpAddr;

use gantry_api::status::ApiError;
use gantry_json::Value;
use http::{Request, Response};
use rand::seq::SliceRandom;

use super::exchange::{self, Backend};
use crate::ApiServer;
use crate::body::Body;
use crate::request::RequestInfo;

/// `pods/[SCHEME:]NAME[:PORT]/proxy/...`.
pub(crate) async fn pod_proxy(
    server: &ApiServer,
    info: &RequestInfo,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let target = split("pod", &info.name)?;
    let pod = server.read_object("", "pods", &info.namespace, target.name)?;
    let address = pod["status"]["podIP"].as_str().unwrap_or_default();
    if !is_proxyable(address) {
        return Err(ApiError::bad_request("address not allowed"));
    }
    let port = match target.port {
        "" => items(&pod["spec"]["containers"])
            .find_map(|container| container["ports"][0]["containerPort"].as_u64())
            .map(|port| port.to_string()),
        port => Some(port.to_owned()),
    };
    exchange::serve(Backend::new(target.scheme, address, port)?, info, request).await
}

/// `services/[SCHEME:]NAME[:PORT]/proxy/...`.
pub(crate) async fn service_proxy(
    server: &ApiServer,
    info: &RequestInfo,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let target = split("service", &info.name)?;
    let mut port_name = target.port.to_owned();
    if let Ok(number) = target.port.parse::<i64>() {
        let service = server.read_object("", "services", &info.namespace, target.name)?;
        let port = items(&service["spec"]["ports"]).find(|each| each["port"] == number).ok_or_else(|| {
            let name = target.name;
            ApiError::service_unavailable(format!("no service port {number} found for service {name:?}"))
        })?;
        port_name = port["name"].as_str().unwrap_or_default().to_owned();
    }
    let endpoints = server.read_object("", "endpoints", &info.namespace, target.name)?;
    let is_pod = |name: &str, address: &str| {
        let pod = server.read_object("", "pods", &info.namespace, name).unwrap_or_default();
        items(&pod["status"]["podIPs"]).any(|each| each["ip"] == address)
    };
    let (address, port) = choose(&endpoints, &port_name, &info.namespace, is_pod).ok_or_else(|| {
        let subsets = items(&endpoints["subsets"]).count();
        let name = if subsets == 0 { target.name } else { &info.name };
        ApiError::service_unavailable(format!("no endpoints available for service {name:?}"))
    })?;
    exchange::serve(Backend::new(target.scheme, &address, Some(port.to_string()))?, info, request).await
}

/// One of the addresses for a port that pods of the namespace have.
fn choose(
    endpoints: &Value,
    port_name: &str,
    namespace: &str,
    is_pod: impl Fn(&str, &str) -> bool,
) -> Option<(String, u64)> {
    let mut subsets: Vec<&Value> = items(&endpoints["subsets"]).collect();
    subsets.shuffle(&mut rand::rng());
    for subset in subsets {
        let mut ports = items(&subset["ports"]);
        let port = ports.find(|port| port["name"].as_str().unwrap_or_default() == port_name);
        let Some(port) = port.and_then(|port| port["port"].as_u64()) else { continue };
        let mut addresses: Vec<&Value> = items(&subset["addresses"]).collect();
        addresses.shuffle(&mut rand::rng());
        let valid = addresses.into_iter().find_map(|address| {
            let (of, ip) = (&address["targetRef"], address["ip"].as_str()?);
            let here = of["namespace"] == namespace;
            (here && is_pod(of["name"].as_str()?, ip)).then(|| ip.to_owned())
        });
        if let Some(address) = valid {
            return Some((address, port));
        }
    }
    None
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// Whether an address may be reached through the server: not what is the server's own machine.
pub(super) fn is_proxyable(address: &str) -> bool {
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let local_multicast = address.octets()[..3] == [224, 0, 0];
            !(address.is_loopback() || address.is_link_local() || local_multicast)
        }
        IpAddr::V6(address) => {
            let multicast = matches!(address.segments()[0], 0xff01 | 0xff02);
            !(address.is_loopback() || address.is_unicast_link_local() || multicast)
        }
    }
}

/// `[SCHEME:]NAME[:PORT]`, of which any but the name may be empty.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    pub scheme: &'a str,
    pub name: &'a str,
    pub port: &'a str,
}

pub(super) fn split<'a>(kind: &str, id: &'a str) -> Result<Target<'a>, ApiError> {
    let parts: Vec<&str> = id.split(':').collect();
    let (scheme, name, port) = match parts.as_slice() {
        [name] => ("", *name, ""),
        [name, port] => ("", *name, *port),
        [scheme @ ("http" | "https" | ""), name, port] => (*scheme, *name, *port),
        _ => ("", "", ""),
    };
    if name.is_empty() {
        return Err(ApiError::bad_request(format!("invalid {kind} request {id:?}")));
    }
    Ok(Target { scheme, name, port })
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    #[test]
    fn targets() {
        let check = |id: &str, expect: Result<(&str, &str, &str), &str>| {
            let got = split("service", id);
            let got = got.as_ref().map(|got| (got.scheme, got.name, got.port));
            assert_eq!(got.map_err(|error| error.message.as_str()), expect, "{id}");
        };
        check("s", Ok(("", "s", "")));
        check("s:web", Ok(("", "s", "web")));
        check("https:s:443", Ok(("https", "s", "443")));
        check("http:s:", Ok(("http", "s", "")));
        check(":s:web", Ok(("", "s", "web")));
        check("ftp:s:web", Err("invalid service request \"ftp:s:web\""));
        check("a:b:c:d", Err("invalid service request \"a:b:c:d\""));
        check(":80", Err("invalid service request \":80\""));
    }

    #[test]
    fn only_pods_of_the_namespace_are_chosen() {
        let address = |ip: &str, namespace: &str| {
            json!({"ip": ip, "targetRef": {"kind": "Pod",
            "namespace": namespace, "name": ip}})
        };
        let endpoints = json!({"subsets": [
            {"addresses": [{"ip": "10.0.0.1"}, address("10.0.0.2", "b"), address("10.0.0.3", "a"),
                address("10.0.0.4", "a")], "ports": [{"name": "web", "port": 8080}]},
            {"addresses": [address("10.0.0.4", "a")], "ports": [{"name": "admin", "port": 9090}]},
        ]});
        let choose = |port: &str| choose(&endpoints, port, "a", |name, ip| name == ip && ip != "10.0.0.3");
        assert_eq!(choose("web"), Some(("10.0.0.4".to_owned(), 8080)));
        assert_eq!(choose("admin"), Some(("10.0.0.4".to_owned(), 9090)));
        assert_eq!(choose(""), None);
    }

    #[test]
    fn the_servers_own_machine_is_out_of_reach() {
        for address in
            ["", "x", "127.0.0.1", "::1", "169.254.169.254", "224.0.0.1", "fe80::1", "::ffff:127.0.0.1"]
        {
            assert!(!is_proxyable(address), "{address}");
        }
        assert!(is_proxyable("10.42.0.7") && is_proxyable("fd00::7"));
    }
}
