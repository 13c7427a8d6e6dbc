//! Writes what every cluster starts with through the server's own pipeline.
//!
//! Flow: namespaces first, then everything else at once, so that the store commits it together. What is
//! there is read, put right where it differs, and left alone where it does not. Guarantee: running it
//! again changes nothing; several servers may run it at the same time.

use std::net::SocketAddr;

use async_trait::async_trait;
use futures::future::try_join_all;
use gantry_api::registry::Registry;
use http::Method;
use ipnet::IpNet;
use serde_json::Value;

use crate::aggregation::registration::{builtin_api_services, reconcile_api_service};

use super::{
    bindings, flow_schemas, kubernetes_endpoint_slice, kubernetes_endpoints, kubernetes_service, namespaces,
    priority_classes, priority_levels, reconcile_authentication, reconcile_binding, reconcile_role, roles,
};

/// How often a write that lost against another server is tried again.
const ATTEMPTS: usize = 5;

/// An object that every cluster starts with could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{method} {path}: {code}: {message}")]
pub struct BootstrapError {
    method: Method,
    path: String,
    code: u16,
    message: String,
}

/// The server's pipeline, as a user that may do everything.
#[async_trait]
pub trait Api: Send + Sync {
    /// Sends a request with a JSON body and returns the status code and the JSON of the answer.
    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> (u16, Value);
}

/// What `existing` has to become to be like the default; `None`: it is right as it is.
type Reconcile = fn(&Value, &Value) -> Option<Value>;

/// Writes all of it. `range` is the range of cluster IPs, `server` the address for clients,
/// `authentication` the ConfigMap for the servers of aggregated APIs. What is of a version that is not
/// among the `builtin` kinds is left out.
pub async fn ensure(
    api: &dyn Api,
    builtin: &Registry,
    range: IpNet,
    server: SocketAddr,
    authentication: &Value,
) -> Result<(), BootstrapError> {
    try_join_all(namespaces().iter().map(|object| put(api, "/api/v1", object, keep))).await?;
    const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
    const DISCOVERY: &str = "/apis/discovery.k8s.io/v1";
    let mut work: Vec<(&str, Value, Reconcile)> = Vec::new();
    work.extend(roles().into_iter().map(|object| (RBAC, object, reconcile_role as Reconcile)));
    work.extend(bindings().into_iter().map(|object| (RBAC, object, reconcile_binding as Reconcile)));
    work.push(("/api/v1", kubernetes_service(range, server), ports));
    work.push(("/api/v1", kubernetes_endpoints(&[server]), addresses));
    work.push((DISCOVERY, kubernetes_endpoint_slice(&[server]), addresses));
    work.push(("/api/v1", authentication.clone(), reconcile_authentication));
    const REGISTRATION: &str = "/apis/apiregistration.k8s.io/v1";
    let services = builtin_api_services(builtin).into_iter();
    work.extend(services.map(|object| (REGISTRATION, object, reconcile_api_service as Reconcile)));
    const FLOWS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";
    let flows = priority_levels().into_iter().chain(flow_schemas());
    work.extend(flows.map(|object| (FLOWS, object, keep as Reconcile)));
    let classes = priority_classes().into_iter();
    work.extend(classes.map(|object| ("/apis/scheduling.k8s.io/v1", object, keep as Reconcile)));
    work.retain(|(path, _, _)| {
        let version = path.trim_start_matches("/apis/").trim_start_matches("/api/");
        builtin.iter().any(|kind| kind.api_version() == version)
    });
    try_join_all(work.iter().map(|(group, object, reconcile)| put(api, group, object, *reconcile))).await?;
    Ok(())
}

/// Puts the ConfigMap for the servers of aggregated APIs right.
pub async fn keep_authentication(api: &dyn Api, authentication: &Value) -> Result<(), BootstrapError> {
    put(api, "/api/v1", authentication, reconcile_authentication).await
}

fn keep(_: &Value, _: &Value) -> Option<Value> {
    None
}

/// The Service keeps its address; its ports are ours to say.
fn ports(existing: &Value, default: &Value) -> Option<Value> {
    let mut next = existing.clone();
    next["spec"]["ports"] = default["spec"]["ports"].clone();
    let same = existing["spec"]["ports"][0]["targetPort"] == default["spec"]["ports"][0]["targetPort"];
    (!same).then_some(next)
}

/// Endpoints and slices say where the server is now.
fn addresses(existing: &Value, default: &Value) -> Option<Value> {
    let mut next = existing.clone();
    for field in ["subsets", "endpoints", "ports", "addressType"] {
        if let Some(value) = default.get(field) {
            next[field] = value.clone();
        }
    }
    (next != *existing).then_some(next)
}

async fn put(api: &dyn Api, group: &str, object: &Value, reconcile: Reconcile) -> Result<(), BootstrapError> {
    let kind = object["kind"].as_str().unwrap_or_default().to_lowercase();
    let plural = match kind.as_str() {
        "endpoints" => kind,
        kind if kind.ends_with('s') => format!("{kind}es"),
        kind => format!("{kind}s"),
    };
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let all = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{group}/namespaces/{namespace}/{plural}"),
        None => format!("{group}/{plural}"),
    };
    let one = format!("{all}/{name}");
    let failed = |method, path: &str, code, answer: &Value| BootstrapError {
        method,
        path: path.to_owned(),
        code,
        message: answer["message"].as_str().unwrap_or_default().to_owned(),
    };
    for attempt in 1.. {
        let (code, existing) = api.call(Method::GET, &one, None).await;
        let (method, path, body) = match code {
            200 => match reconcile(&existing, object) {
                // The role of a binding cannot change: the next attempt makes it anew.
                Some(next) if next["roleRef"] != existing["roleRef"] => (Method::DELETE, &one, Value::Null),
                Some(next) => (Method::PUT, &one, next),
                None => return Ok(()),
            },
            404 => (Method::POST, &all, object.clone()),
            _ => return Err(failed(Method::GET, &one, code, &existing)),
        };
        let (code, answer) = api.call(method.clone(), path, Some(&body).filter(|body| !body.is_null())).await;
        match code {
            200..300 if method == Method::DELETE && attempt < ATTEMPTS => {}
            200..300 => return Ok(()),
            // Another server was quicker.
            404 | 409 if attempt < ATTEMPTS && method != Method::POST => {}
            409 if attempt < ATTEMPTS => {}
            _ => return Err(failed(method, path, code, &answer)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use parking_lot::Mutex;
    use serde_json::json;

    use super::*;

    /// Keeps what is written; counts writes.
    #[derive(Default)]
    struct Fake(Mutex<(BTreeMap<String, Value>, usize)>);

    #[async_trait]
    impl Api for Fake {
        async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
            let mut state = self.0.lock();
            let Some(body) = body else {
                if method == Method::DELETE {
                    state.1 += 1;
                    return state.0.remove(path).map_or((404, Value::Null), |object| (200, object));
                }
                return state.0.get(path).map_or((404, Value::Null), |object| (200, object.clone()));
            };
            state.1 += 1;
            let name = body["metadata"]["name"].as_str().unwrap();
            let key = if method == Method::POST { format!("{path}/{name}") } else { path.to_owned() };
            state.0.insert(key, body.clone());
            (201, body.clone())
        }
    }

    #[tokio::test]
    async fn writes_once_and_puts_right() {
        let api = Fake::default();
        let run = async |port| {
            let server: SocketAddr = ([192, 0, 2, 1], port).into();
            let authentication = crate::bootstrap::authentication_config("CA", None);
            ensure(&api, Registry::builtin(), "10.43.0.0/16".parse().unwrap(), server, &authentication)
                .await
                .unwrap();
            std::mem::take(&mut api.0.lock().1)
        };
        let services = builtin_api_services(Registry::builtin()).len();
        assert_eq!(run(6443).await, 4 + roles().len() + bindings().len() + 3 + 2 + 8 + 13 + 1 + services);
        assert_eq!(run(6443).await, 0);
        assert_eq!(run(7443).await, 3, "the address changed");
        let role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:kube-dns";
        api.0.lock().0.get_mut(role).unwrap()["rules"] = json!([]);
        assert_eq!(run(7443).await, 1);
        assert_eq!(api.0.lock().0[role]["rules"].as_array().unwrap().len(), 1);
        let binding = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/system:kube-dns";
        api.0.lock().0.get_mut(binding).unwrap()["roleRef"]["name"] = json!("view");
        assert_eq!(run(7443).await, 2, "it is made anew");
        assert_eq!(api.0.lock().0[binding]["roleRef"]["name"], "system:kube-dns");
    }
}
