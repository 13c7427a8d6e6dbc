//! Where a Service is answered: the addresses behind one of its ports, for requests that the server
//! itself makes to it, such as those for an aggregated API. They go to the endpoints, not to the cluster
//! address, so that a control plane without a service proxy reaches them too.

use gantry_json::Value;
use gantry_store::Snapshot;

use crate::lookup::Lookup;

/// One address of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceEndpoint {
    /// An address, or the name that a Service of type ExternalName has.
    pub host: String,
    /// The port there.
    pub port: u16,
}

impl ServiceEndpoint {
    /// `HOST:PORT`, as a URL has it.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Nobody answers for the Service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ServiceError {
    /// There is no such Service.
    #[error("service {0:?} not found")]
    NotFound(String),
    /// It does not have the port.
    #[error("no service port {1} found for service {0:?}")]
    NoPort(String, u16),
    /// It has no address that is ready.
    #[error("no endpoints available for service {0:?}")]
    NoEndpoints(String),
}

/// The addresses that are ready behind a Service's port, in random order; never empty.
pub(crate) fn resolve(
    objects: &Snapshot,
    namespace: &str,
    name: &str,
    port: u16,
) -> Result<Vec<ServiceEndpoint>, ServiceError> {
    use rand::seq::SliceRandom;
    let service = Lookup::get(objects, "", "services", namespace, name)
        .ok_or_else(|| ServiceError::NotFound(name.to_owned()))?;
    let endpoints = || behind(objects, namespace, name);
    let mut found = addresses(&service, port, endpoints)?;
    found.shuffle(&mut rand::rng());
    Ok(found)
}

/// The EndpointSlices of a Service; where it has none, its Endpoints in their form.
pub(crate) fn behind(objects: &Snapshot, namespace: &str, name: &str) -> Vec<Value> {
    let label = format!("\"kubernetes.io/service-name\":\"{name}\"");
    let mut slices = objects.list_with("discovery.k8s.io", "endpointslices", namespace, &label);
    slices.retain(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == name);
    if slices.is_empty()
        && let Some(endpoints) = Lookup::get(objects, "", "endpoints", namespace, name)
    {
        slices = items(&endpoints["subsets"]).map(slice).collect();
    }
    slices
}

/// A subset of an Endpoints object as a slice.
fn slice(subset: &Value) -> Value {
    let endpoints: Vec<Value> = items(&subset["addresses"])
        .map(|address| gantry_json::json!({"addresses": [address["ip"]], "conditions": {"ready": true}}))
        .collect();
    gantry_json::json!({"endpoints": endpoints, "ports": subset["ports"]})
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// The addresses of `slices` that are ready for the port of that name.
pub(crate) fn ready<'a>(
    slices: &'a [Value],
    port_name: &'a str,
) -> impl Iterator<Item = ServiceEndpoint> + 'a {
    slices.iter().flat_map(move |slice| {
        let mut ports = items(&slice["ports"]);
        let port = ports.find(|port| port["name"].as_str().unwrap_or_default() == port_name);
        let port = port.and_then(|port| u16::try_from(port["port"].as_u64()?).ok());
        let ready = items(&slice["endpoints"]).filter(|each| each["conditions"]["ready"] != false);
        let hosts = ready.filter_map(|each| each["addresses"][0].as_str());
        hosts.filter_map(move |host| Some(ServiceEndpoint { host: host.to_owned(), port: port? }))
    })
}

fn addresses(
    service: &Value,
    port: u16,
    slices: impl FnOnce() -> Vec<Value>,
) -> Result<Vec<ServiceEndpoint>, ServiceError> {
    let name = service["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if service["spec"]["type"] == "ExternalName" {
        let host = service["spec"]["externalName"].as_str().unwrap_or_default().to_owned();
        return match host.is_empty() {
            true => Err(ServiceError::NoEndpoints(name)),
            false => Ok(vec![ServiceEndpoint { host, port }]),
        };
    }
    let Some(port) = items(&service["spec"]["ports"]).find(|each| each["port"] == port) else {
        return Err(ServiceError::NoPort(name, port));
    };
    let found: Vec<_> = ready(&slices(), port["name"].as_str().unwrap_or_default()).collect();
    if found.is_empty() { Err(ServiceError::NoEndpoints(name)) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    #[test]
    fn what_is_ready_behind_the_port() {
        let service = json!({"metadata": {"name": "s"}, "spec": {"type": "ClusterIP", "ports": [
            {"name": "https", "port": 443}, {"name": "metrics", "port": 9090},
        ]}});
        let slices = || {
            vec![json!({
                "ports": [{"name": "https", "port": 8443}],
                "endpoints": [
                    {"addresses": ["10.0.0.1"]},
                    {"addresses": ["10.0.0.2"], "conditions": {"ready": false}},
                    {"addresses": ["fd00::3"], "conditions": {"ready": true}},
                ],
            })]
        };
        let check = |port, expect: Result<&[&str], &str>| {
            let got = addresses(&service, port, slices);
            let got = got.map(|all| all.iter().map(ServiceEndpoint::authority).collect::<Vec<_>>());
            let expect = expect.map(|all| all.iter().map(|each| (*each).to_owned()).collect());
            assert_eq!(got.map_err(|error| error.to_string()), expect.map_err(str::to_owned), "{port}");
        };
        check(443, Ok(&["10.0.0.1:8443", "[fd00::3]:8443"]));
        check(9090, Err("no endpoints available for service \"s\""));
        check(80, Err("no service port 80 found for service \"s\""));
    }

    #[test]
    fn endpoints_without_slices_and_names_outside() {
        let subset = json!({"addresses": [{"ip": "10.0.0.1"}], "notReadyAddresses": [{"ip": "10.0.0.2"}],
            "ports": [{"port": 8443}]});
        let got: Vec<_> = ready(&[slice(&subset)], "").map(|each| each.authority()).collect();
        assert_eq!(got, ["10.0.0.1:8443"]);
        let outside = json!({"spec": {"type": "ExternalName", "externalName": "api.example.com"}});
        let got = addresses(&outside, 443, Vec::new).unwrap();
        assert_eq!(got[0].authority(), "api.example.com:443");
    }
}
