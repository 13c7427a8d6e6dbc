//! Whether somebody answers for an APIService: a look at its Service and what is behind it, then a
//! question to the server itself.

use std::time::Duration;

use futures::future::select_ok;
use gantry_json::{Value, json};
use gantry_store::Snapshot;
use http::{HeaderMap, Request};

use super::forward::chain;
use super::headers;
use super::service::{ApiService, Remote};
use crate::body::Body;
use crate::lookup::Lookup;
use crate::service_endpoints::{self, ServiceEndpoint};
use crate::{ApiServer, User};

/// How long a server may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most addresses that are asked at once; one answer is enough.
const ASKED: usize = 5;

/// What the condition Available says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Availability {
    pub status: &'static str,
    pub reason: &'static str,
    pub message: String,
}

impl Availability {
    fn no(reason: &'static str, message: String) -> Self {
        Self { status: "False", reason, message }
    }

    /// Of what this server answers for itself.
    pub fn local() -> Self {
        let message = "Local APIServices are always available".to_owned();
        Self { status: "True", reason: "Local", message }
    }

    fn passed() -> Self {
        Self { status: "True", reason: "Passed", message: "all checks passed".to_owned() }
    }

    pub fn is_available(&self) -> bool {
        self.status == "True"
    }

    /// The object with this condition; `None`: it has it.
    pub fn written(&self, object: &Value, now: &str) -> Option<Value> {
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let is_ours = |condition: &Value| condition["type"] == "Available";
        let old = conditions.iter().find(|each| is_ours(each));
        let same = |old: &Value| old["status"] == self.status;
        if old.is_some_and(|old| same(old) && old["reason"] == self.reason && old["message"] == *self.message)
        {
            return None;
        }
        let since = old.filter(|old| same(old)).and_then(|old| old["lastTransitionTime"].as_str());
        let condition = json!({
            "type": "Available", "status": self.status, "reason": self.reason, "message": self.message,
            "lastTransitionTime": since.unwrap_or(now),
        });
        let mut next = object.clone();
        let mut conditions = conditions;
        match conditions.iter().position(is_ours) {
            Some(at) => conditions[at] = condition,
            None => conditions.push(condition),
        }
        next["status"] = json!({"conditions": conditions});
        Some(next)
    }
}

/// What the cluster's objects say against it; `None`: nothing.
fn objection(service: Option<&Value>, slices: &[Value], remote: &Remote) -> Option<Availability> {
    let (name, namespace) = (&remote.name, &remote.namespace);
    let Some(service) = service else {
        let message = format!("service/{name} in {namespace:?} is not present");
        return Some(Availability::no("ServiceNotFound", message));
    };
    if service["spec"]["type"] != "ClusterIP" {
        return None;
    }
    let ports = service["spec"]["ports"].as_array();
    let Some(port) = ports.into_iter().flatten().find(|each| each["port"] == remote.port) else {
        let message = format!("service/{name} in {namespace:?} is not listening on port {}", remote.port);
        return Some(Availability::no("ServicePortError", message));
    };
    if slices.is_empty() {
        let message = format!("cannot find endpointslices for service/{name} in {namespace:?}");
        return Some(Availability::no("EndpointsNotFound", message));
    }
    let port_name = port["name"].as_str().unwrap_or_default();
    if service_endpoints::ready(slices, port_name).next().is_none() {
        let message = format!(
            "endpointslices for service/{name} in {namespace:?} have no addresses with port name {port_name:?}"
        );
        return Some(Availability::no("MissingEndpoints", message));
    }
    None
}

/// Whether somebody answers for `service`, now.
pub(super) async fn check(server: &ApiServer, service: &ApiService, remote: &Remote) -> Availability {
    let endpoints = {
        let objects = server.store.snapshot();
        match look(&objects, remote) {
            Ok(endpoints) => endpoints,
            Err(against) => return against,
        }
    };
    let asked = endpoints.iter().take(ASKED).map(|endpoint| Box::pin(ask(server, service, endpoint)));
    match select_ok(asked).await {
        Ok(_) => Availability::passed(),
        Err(why) => Availability::no("FailedDiscoveryCheck", why),
    }
}

fn look(objects: &Snapshot, remote: &Remote) -> Result<Vec<ServiceEndpoint>, Availability> {
    let service = Lookup::get(objects, "", "services", &remote.namespace, &remote.name);
    let slices = service_endpoints::behind(objects, &remote.namespace, &remote.name);
    if let Some(against) = objection(service.as_ref(), &slices, remote) {
        return Err(against);
    }
    service_endpoints::resolve(objects, &remote.namespace, &remote.name, remote.port)
        .map_err(|error| Availability::no("FailedDiscoveryCheck", error.to_string()))
}

/// Asks one address for the discovery document, as a user who may read it. Who it is does not matter
/// here: no request is sent there on the word of this answer without its certificate being checked.
async fn ask(server: &ApiServer, service: &ApiService, endpoint: &ServiceEndpoint) -> Result<(), String> {
    let url = format!("https://{}{}", endpoint.authority(), service.path());
    let failed = |why: &str| format!("failing or missing response from {url}: {why}");
    let mut request = Request::new(Body::Empty);
    *request.uri_mut() = url.parse().map_err(|error| failed(&format!("{error}")))?;
    let mut aggregator = User::new("system:kube-aggregator", []);
    aggregator.groups = vec!["system:masters".to_owned()];
    let mut told = HeaderMap::new();
    headers::identify(&mut told, &aggregator).map_err(|error| failed(&error.to_string()))?;
    *request.headers_mut() = told;
    let answer = tokio::time::timeout(PATIENCE, server.aggregation.asking.request(request));
    let answer = answer.await.map_err(|_| format!("timed out waiting for {url}"))?;
    let answer = answer.map_err(|error| failed(&chain(&error)))?;
    match answer.status().as_u16() {
        200..300 => Ok(()),
        code => Err(failed(&format!("bad status from {url}: {code}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_objects_say_against_it() {
        let remote = Remote {
            namespace: "kube-system".into(),
            name: "api".into(),
            port: 443,
            ca: String::new(),
            insecure: false,
        };
        let check = |service: Value, slices: Value, expect: Option<(&str, &str)>| {
            let service = Some(&service).filter(|service| service.is_object());
            let slices = slices.as_array().cloned().unwrap_or_default();
            let got = objection(service, &slices, &remote);
            assert_eq!(got.as_ref().map(|got| (got.reason, got.message.as_str())), expect);
        };
        check(
            Value::Null,
            json!([]),
            Some(("ServiceNotFound", "service/api in \"kube-system\" is not present")),
        );
        let service =
            |port: u16| json!({"spec": {"type": "ClusterIP", "ports": [{"name": "https", "port": port}]}});
        check(
            service(80),
            json!([]),
            Some(("ServicePortError", "service/api in \"kube-system\" is not listening on port 443")),
        );
        check(
            service(443),
            json!([]),
            Some(("EndpointsNotFound", "cannot find endpointslices for service/api in \"kube-system\"")),
        );
        check(
            service(443),
            json!([{"ports": [{"name": "https", "port": 1}], "endpoints": []}]),
            Some((
                "MissingEndpoints",
                "endpointslices for service/api in \"kube-system\" have no addresses with port name \"https\"",
            )),
        );
        check(
            service(443),
            json!([{"ports": [{"name": "https", "port": 1}], "endpoints": [{"addresses": ["10.0.0.1"]}]}]),
            None,
        );
        check(json!({"spec": {"type": "ExternalName", "externalName": "a.example"}}), json!([]), None);
    }

    #[test]
    fn a_condition_remembers_since_when() {
        let object = json!({"metadata": {"name": "v1.a"}});
        let first = Availability::passed().written(&object, "1").unwrap();
        assert_eq!(Availability::passed().written(&first, "2"), None);
        let no = Availability::no("ServiceNotFound", "x".into()).written(&first, "3").unwrap();
        let still = Availability::no("ServicePortError", "y".into()).written(&no, "4").unwrap();
        assert_eq!(
            still["status"]["conditions"],
            json!([{"type": "Available", "status": "False", "reason": "ServicePortError", "message": "y",
                "lastTransitionTime": "3"}])
        );
    }
}
