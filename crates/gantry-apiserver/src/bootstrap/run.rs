//! Writes what every cluster starts with through the server's own pipeline.
//!
//! Flow: namespaces first, then everything else at once, so that the store commits it together. What is
//! there is read, put right where it differs, and left alone where it does not. Guarantee: running it
//! again changes nothing; several servers may run it at the same time.

use std::net::SocketAddr;

use async_trait::async_trait;
use futures::future::try_join_all;
use gantry_api::registry::Registry;
use gantry_json::Value;
use http::Method;
use ipnet::IpNet;

use crate::aggregation::registration::{builtin_api_services, reconcile_api_service};

use super::{
    bindings, flow_schemas, kubernetes_endpoint_slice, kubernetes_endpoints, kubernetes_service, namespaces,
    priority_classes, priority_levels, reconcile_authentication, reconcile_binding, reconcile_role,
    reconcile_token_tracking, roles, token_tracking,
};
use crate::storage;

const DISCOVERY: &str = "/apis/discovery.k8s.io/v1";
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

/// An object that is put back when somebody removes it.
pub struct Kept {
    group: &'static str,
    plural: &'static str,
    object: Value,
    reconcile: Reconcile,
}

impl Kept {
    /// The store's key of the object.
    pub fn key(&self) -> String {
        let (group, text) = (self.group.split('/').nth(2), |field| self.object["metadata"][field].as_str());
        let group = group.filter(|group| *group != "v1").unwrap_or_default();
        let prefix = storage::prefix(group, self.plural);
        storage::key(&prefix, text("namespace").unwrap_or_default(), text("name").unwrap_or_default())
    }

    /// Writes it where it is missing or wrong.
    pub async fn put(&self, api: &dyn Api) -> Result<(), BootstrapError> {
        put(api, self.group, &self.object, self.reconcile).await
    }
}

/// What a running server puts back: the cluster's namespaces, the `kubernetes` Service with what says where
/// `server` is, and since when the use of tokens is noted in their Secrets, which is `today` where nothing is
/// known of it. What is of a version that is not among the `builtin` kinds is left out.
pub fn kept(builtin: &Registry, range: IpNet, server: SocketAddr, today: &str) -> Vec<Kept> {
    const CORE: &str = "/api/v1";
    let kept = |group, plural, object, reconcile| Kept { group, plural, object, reconcile };
    let mut all: Vec<Kept> =
        namespaces().into_iter().map(|object| kept(CORE, "namespaces", object, keep as Reconcile)).collect();
    all.push(kept(CORE, "services", kubernetes_service(range, server), ports));
    all.push(kept(CORE, "endpoints", kubernetes_endpoints(&[server]), joined));
    all.push(kept(DISCOVERY, "endpointslices", kubernetes_endpoint_slice(&[server]), joined));
    all.push(kept(CORE, "configmaps", token_tracking(today), reconcile_token_tracking));
    all.retain(|each| is_served(builtin, each.group));
    all
}

/// Writes all of it. `range` is the range of cluster IPs, `server` the address for clients,
/// `authentication` the ConfigMap for the servers of aggregated APIs, `today` the day. What is of a version
/// that is not among the `builtin` kinds is left out.
pub async fn ensure(
    api: &dyn Api,
    builtin: &Registry,
    range: IpNet,
    server: SocketAddr,
    authentication: &Value,
    today: &str,
) -> Result<(), BootstrapError> {
    try_join_all(namespaces().iter().map(|object| put(api, "/api/v1", object, keep))).await?;
    const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
    let mut work: Vec<(&str, Value, Reconcile)> = Vec::new();
    work.extend(roles().into_iter().map(|object| (RBAC, object, reconcile_role as Reconcile)));
    work.extend(bindings().into_iter().map(|object| (RBAC, object, reconcile_binding as Reconcile)));
    work.push(("/api/v1", kubernetes_service(range, server), ports));
    work.push(("/api/v1", kubernetes_endpoints(&[server]), addresses));
    work.push((DISCOVERY, kubernetes_endpoint_slice(&[server]), addresses));
    work.push(("/api/v1", authentication.clone(), reconcile_authentication));
    work.push(("/api/v1", token_tracking(today), reconcile_token_tracking));
    const REGISTRATION: &str = "/apis/apiregistration.k8s.io/v1";
    let services = builtin_api_services(builtin).into_iter();
    work.extend(services.map(|object| (REGISTRATION, object, reconcile_api_service as Reconcile)));
    const FLOWS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";
    let flows = priority_levels().into_iter().chain(flow_schemas());
    work.extend(flows.map(|object| (FLOWS, object, keep as Reconcile)));
    let classes = priority_classes().into_iter();
    work.extend(classes.map(|object| ("/apis/scheduling.k8s.io/v1", object, keep as Reconcile)));
    work.retain(|(path, _, _)| is_served(builtin, path));
    try_join_all(work.iter().map(|(group, object, reconcile)| put(api, group, object, *reconcile))).await?;
    Ok(())
}

/// Puts the ConfigMap for the servers of aggregated APIs right.
pub async fn keep_authentication(api: &dyn Api, authentication: &Value) -> Result<(), BootstrapError> {
    put(api, "/api/v1", authentication, reconcile_authentication).await
}

/// Whether kinds of the group and version that `path` names are among the `builtin` ones.
fn is_served(builtin: &Registry, path: &str) -> bool {
    let version = path.trim_start_matches("/apis/").trim_start_matches("/api/");
    builtin.iter().any(|kind| kind.api_version() == version)
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

/// As [`addresses`] where this server is missing, beside which others may be.
fn joined(existing: &Value, default: &Value) -> Option<Value> {
    let subset = |object: &Value| object["subsets"][0].clone();
    let has = |list: &Value, item: &Value| {
        item.is_null() || list.as_array().is_some_and(|all| all.iter().any(|each| each == item))
    };
    let in_subset = has(&subset(existing)["addresses"], &subset(default)["addresses"][0])
        && subset(existing)["ports"] == subset(default)["ports"];
    let addresses_of = |object: &Value| {
        let all = object["endpoints"].as_array().into_iter().flatten();
        Value::Array(
            all.flat_map(|each| each["addresses"].as_array().into_iter().flatten()).cloned().collect(),
        )
    };
    let in_slice = has(&addresses_of(existing), &default["endpoints"][0]["addresses"][0])
        && existing["ports"] == default["ports"];
    if in_subset && in_slice {
        return None;
    }
    addresses(existing, default)
}

/// Writes `object`, or what `reconcile` makes of the one that is there.
pub(crate) async fn put(
    api: &dyn Api,
    group: &str,
    object: &Value,
    reconcile: Reconcile,
) -> Result<(), BootstrapError> {
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

    use gantry_json::json;
    use parking_lot::Mutex;

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
            let range = "10.43.0.0/16".parse().unwrap();
            ensure(&api, Registry::builtin(), range, server, &authentication, "2026-01-01").await.unwrap();
            std::mem::take(&mut api.0.lock().1)
        };
        let services = builtin_api_services(Registry::builtin()).len();
        assert_eq!(run(6443).await, 4 + roles().len() + bindings().len() + 3 + 2 + 8 + 13 + 2 + services);
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

    #[test]
    fn what_is_kept_has_its_key() {
        let server = ([192, 0, 2, 1], 6443).into();
        let kept = kept(Registry::builtin(), "10.43.0.0/16".parse().unwrap(), server, "2026-01-01");
        let keys: Vec<String> = kept.iter().map(Kept::key).collect();
        let expect = [
            "/registry/namespaces/default",
            "/registry/namespaces/kube-node-lease",
            "/registry/namespaces/kube-public",
            "/registry/namespaces/kube-system",
            "/registry/services/default/kubernetes",
            "/registry/endpoints/default/kubernetes",
            "/registry/discovery.k8s.io/endpointslices/default/kubernetes",
            "/registry/configmaps/kube-system/kube-apiserver-legacy-service-account-token-tracking",
        ];
        assert_eq!(keys, expect);
    }

    #[test]
    fn other_servers_stay_beside_this_one() {
        let server = |last| SocketAddr::from(([192, 0, 2, last], 6443));
        for make in [kubernetes_endpoints, kubernetes_endpoint_slice] {
            let own = make(&[server(1)]);
            assert_eq!(joined(&make(&[server(2), server(1)]), &own), None);
            assert_eq!(joined(&make(&[server(2)]), &own), Some(own.clone()));
            let mut empty = own.clone();
            empty.as_object_mut().unwrap().remove("subsets");
            empty.as_object_mut().unwrap().remove("endpoints");
            assert_eq!(joined(&empty, &own), Some(own));
        }
    }
}
