//! What a request is counted under.

use gantry_api::registry::{Name, Registry};
use http::HeaderMap;
use prometheus_client::encoding::EncodeLabelSet;

use crate::negotiate::content_type;
use crate::request::{Query, RequestInfo};

/// A request's target, in the words of upstream's labels.
#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct Target {
    pub verb: &'static str,
    dry_run: &'static str,
    group: Name,
    version: Name,
    resource: Name,
    subresource: &'static str,
    scope: &'static str,
    component: &'static str,
}

/// A target without `dry_run`: the labels of streams, and of answers' sizes.
#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct Place {
    verb: &'static str,
    group: Name,
    version: Name,
    resource: Name,
    subresource: &'static str,
    scope: &'static str,
    component: &'static str,
}

impl From<Target> for Place {
    fn from(target: Target) -> Self {
        let Target { verb, group, version, resource, subresource, scope, component, .. } = target;
        Self { verb, group, version, resource, subresource, scope, component }
    }
}

impl Target {
    /// The target of the request with `info`. Only what is served has labels of its own.
    pub fn of(registry: &Registry, info: &RequestInfo, query: &Query, headers: &HeaderMap) -> Self {
        let kind = registry.lookup(&info.group, &info.version, &info.resource);
        let known =
            kind.and_then(|kind| kind.subresources.iter().find(|each| *each.name == *info.subresource));
        let subresource = match known {
            Some(subresource) => subresource.name,
            None if info.is_resource => "",
            None => document(&info.path),
        };
        Self {
            verb: verb(info, headers),
            dry_run: if query.get("dryRun") == Some("All") { "All" } else { "" },
            group: kind.map_or("".into(), |kind| kind.group.clone()),
            version: kind.map_or("".into(), |kind| kind.version.clone()),
            resource: kind.map_or("".into(), |kind| kind.plural.clone()),
            subresource,
            scope: scope(info),
            component: "apiserver",
        }
    }

    /// The target of a request for what there is not.
    pub fn unknown(self) -> Self {
        Self { group: "".into(), version: "".into(), resource: "".into(), subresource: "", ..self }
    }
}

fn verb(info: &RequestInfo, headers: &HeaderMap) -> &'static str {
    if matches!(info.subresource.as_str(), "exec" | "attach" | "portforward" | "proxy") {
        return "CONNECT";
    }
    match info.verb {
        "get" => "GET",
        "head" => "HEAD",
        "list" => "LIST",
        "watch" => "WATCH",
        "create" | "post" => "POST",
        "update" | "put" => "PUT",
        "patch" if content_type(headers).starts_with("application/apply-patch") => "APPLY",
        "patch" => "PATCH",
        "delete" => "DELETE",
        "deletecollection" => "DELETECOLLECTION",
        _ => "other",
    }
}

fn scope(info: &RequestInfo) -> &'static str {
    if !info.name.is_empty() || info.verb == "create" {
        "resource"
    } else if !info.namespace.is_empty() {
        "namespace"
    } else if info.is_resource {
        "cluster"
    } else {
        ""
    }
}

/// The path of a document that is no resource.
fn document(path: &str) -> &'static str {
    const DOCUMENTS: [&str; 9] = [
        "/api",
        "/apis",
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/readyz",
        "/version",
    ];
    let below =
        |each: &str| path.strip_prefix(each).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    DOCUMENTS.into_iter().find(|each| below(each)).unwrap_or_default()
}
