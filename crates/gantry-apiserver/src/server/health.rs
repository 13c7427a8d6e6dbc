//! Whether the server is well, by the names of checks that monitoring asks for.

use gantry_api::status::ApiError;
use http::{Response, StatusCode};

use crate::body::Body;
use crate::request::Query;
use crate::{ApiServer, respond};

/// The checks of every endpoint; the store has etcd's name.
const BEFORE: [&str; 3] = ["ping", "log", "etcd"];
/// Further ones of readiness.
const READY: [&str; 2] = ["etcd-readiness", "informer-sync"];
/// What has to be there before anybody is served. All of it comes with the default objects.
const HOOKS: [&str; 29] = [
    "poststarthook/start-apiserver-admission-initializer",
    "poststarthook/generic-apiserver-start-informers",
    "poststarthook/priority-and-fairness-config-consumer",
    "poststarthook/priority-and-fairness-filter",
    "poststarthook/storage-object-count-tracker-hook",
    "poststarthook/start-apiextensions-informers",
    "poststarthook/start-apiextensions-controllers",
    "poststarthook/crd-informer-synced",
    "poststarthook/start-system-namespaces-controller",
    "poststarthook/start-cluster-authentication-info-controller",
    "poststarthook/start-kube-apiserver-identity-lease-controller",
    "poststarthook/start-kube-apiserver-identity-lease-garbage-collector",
    "poststarthook/start-legacy-token-tracking-controller",
    "poststarthook/start-service-ip-repair-controllers",
    "poststarthook/rbac/bootstrap-roles",
    "poststarthook/scheduling/bootstrap-system-priority-classes",
    "poststarthook/priority-and-fairness-config-producer",
    "poststarthook/bootstrap-controller",
    "poststarthook/start-kubernetes-service-cidr-controller",
    "poststarthook/aggregator-reload-proxy-client-cert",
    "poststarthook/start-kube-aggregator-informers",
    "poststarthook/apiservice-status-local-available-controller",
    "poststarthook/apiservice-status-remote-available-controller",
    "poststarthook/apiservice-registration-controller",
    "poststarthook/apiservice-discovery-controller",
    "poststarthook/kube-apiserver-autoregistration",
    "autoregister-completion",
    "poststarthook/apiservice-openapi-controller",
    "poststarthook/apiservice-openapiv3-controller",
];
/// The last one of readiness.
const LAST: [&str; 1] = ["shutdown"];

/// Answers `/healthz`, `/livez` and `/readyz`: one check, or all of them.
pub(super) fn serve(
    server: &ApiServer,
    name: &str,
    only: &str,
    query: &Query,
) -> Result<Response<Body>, ApiError> {
    let endpoint = match name {
        "healthz" => "healthz",
        "livez" => "livez",
        _ => "readyz",
    };
    let checks: Vec<&'static str> = match name {
        "readyz" => BEFORE.iter().chain(&READY).chain(&HOOKS).chain(&LAST).copied().collect(),
        _ => BEFORE.iter().chain(&HOOKS).copied().collect(),
    };
    let look = |check: &str| match check {
        check if name == "readyz" && HOOKS.contains(&check) && !server.is_ready() => {
            Some("not finished".to_owned())
        }
        // Nobody new is to be sent to a server that is about to stop.
        "shutdown" if name == "readyz" && server.stopping.is_cancelled() => {
            Some("process is shutting down".to_owned())
        }
        _ => None,
    };
    let failed = |check: &'static str| {
        let failed = look(check);
        server.metrics.health.checked(check, endpoint, failed.is_none());
        failed
    };
    if !only.is_empty() {
        let Some(only) = checks.into_iter().find(|check| *check == only) else {
            return Err(ApiError::no_such_resource());
        };
        return Ok(match failed(only) {
            None => respond::text(StatusCode::OK, "ok"),
            Some(why) => {
                respond::text(StatusCode::INTERNAL_SERVER_ERROR, format!("internal server error: {why}\n"))
            }
        });
    }
    let excluded: Vec<&str> = query.all("exclude").collect();
    let mut lines = String::new();
    let mut healthy = true;
    for &check in &checks {
        if excluded.contains(&check) {
            lines += &format!("[+]{check} excluded: ok\n");
        } else if failed(check).is_some() {
            healthy = false;
            lines += &format!("[-]{check} failed: reason withheld\n");
        } else {
            lines += &format!("[+]{check} ok\n");
        }
    }
    let unknown: Vec<String> =
        excluded.iter().filter(|each| !checks.contains(each)).map(|each| format!("{each:?}")).collect();
    if !unknown.is_empty() {
        let unknown = unknown.join(",");
        lines += &format!("warn: some health checks cannot be excluded: no matches for {unknown}\n");
    }
    if !healthy {
        lines += &format!("{name} check failed\n");
        return Ok(respond::text(StatusCode::INTERNAL_SERVER_ERROR, lines));
    }
    if query.get("verbose").is_some() {
        lines += &format!("{name} check passed\n");
        return Ok(respond::text(StatusCode::OK, lines));
    }
    Ok(respond::text(StatusCode::OK, "ok"))
}
