//! What a URL asks for: the resource, its parts and the verb, from method, path and query.

use http::Method;
use percent_encoding::percent_decode_str;

/// Subresources of Namespace; any other word in their place is a resource in the namespace.
const NAMESPACE_SUBRESOURCES: [&str; 2] = ["status", "finalize"];

/// A request's target as its path spells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// Whether the path names a resource.
    pub is_resource: bool,
    /// The decoded path.
    pub path: String,
    /// `get`, `list`, `watch`, ... or the method in lower case.
    pub verb: &'static str,
    /// The API group; empty for the core group.
    pub group: String,
    /// The API version.
    pub version: String,
    /// The namespace, or empty.
    pub namespace: String,
    /// The resource's plural name.
    pub resource: String,
    /// The subresource, or empty.
    pub subresource: String,
    /// The object's name, or empty.
    pub name: String,
    /// What follows the subresource: the path that a proxy request is for.
    pub rest: String,
}

impl RequestInfo {
    /// Reads `method`, the undecoded `path` and `query`.
    pub fn parse(method: &Method, path: &str, query: &Query) -> Self {
        let path = percent_decode_str(path).decode_utf8_lossy().into_owned();
        let mut info = Self { verb: plain_verb(method), path, ..Self::default() };
        let segments: Vec<String> =
            info.path.trim_matches('/').split('/').filter(|part| !part.is_empty()).map(Into::into).collect();
        let mut parts = match segments.first().map(String::as_str) {
            Some("api") if segments.len() >= 3 => {
                info.version = segments[1].clone();
                &segments[2..]
            }
            Some("apis") if segments.len() >= 4 => {
                info.group = segments[1].clone();
                info.version = segments[2].clone();
                &segments[3..]
            }
            _ => return info,
        };
        info.is_resource = true;
        info.verb = resource_verb(method);
        if matches!(parts[0].as_str(), "watch" | "proxy") {
            if parts.len() < 2 {
                info.is_resource = false;
                info.verb = plain_verb(method);
                return info;
            }
            if parts[0] == "watch" {
                info.verb = "watch";
            }
            parts = &parts[1..];
        }
        info.read_parts(parts);
        if info.verb == "get" && info.name.is_empty() {
            info.verb = "list";
        }
        if info.verb == "list" && query.flag("watch") {
            info.verb = "watch";
        }
        // One object is watched by a list of a single name, and a GET of it with `watch`.
        if info.verb == "get" && info.subresource.is_empty() && query.flag("watch") {
            info.verb = "watch";
        }
        if info.verb == "delete" && info.name.is_empty() {
            info.verb = "deletecollection";
        }
        info
    }

    /// Whether the request goes on for as long as its client wants, such as a watch.
    pub fn is_long_running(&self) -> bool {
        self.verb == "watch"
            || matches!(self.subresource.as_str(), "attach" | "exec" | "log" | "portforward" | "proxy")
    }

    fn read_parts(&mut self, parts: &[String]) {
        let mut parts = parts;
        if parts[0] == "namespaces" && parts.len() > 1 {
            self.namespace = parts[1].clone();
            let inside = parts.len() > 2 && !NAMESPACE_SUBRESOURCES.contains(&parts[2].as_str());
            if inside {
                parts = &parts[2..];
            }
        }
        self.resource = parts[0].clone();
        self.name = parts.get(1).cloned().unwrap_or_default();
        self.subresource = parts.get(2).cloned().unwrap_or_default();
        if parts.len() > 3 {
            self.rest = parts[3..].join("/");
        }
        if self.path.ends_with('/') && self.subresource == "proxy" {
            self.rest.push('/');
        }
    }
}

fn plain_verb(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "get",
        "HEAD" => "head",
        "POST" => "post",
        "PUT" => "put",
        "PATCH" => "patch",
        "DELETE" => "delete",
        "OPTIONS" => "options",
        _ => "unknown",
    }
}

fn resource_verb(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" | "HEAD" => "get",
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "",
    }
}

/// A URL's query, decoded.
#[derive(Debug, Clone, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the part of a URL after `?`.
    pub fn parse(query: Option<&str>) -> Self {
        let pairs = query.map(|text| form_urlencoded::parse(text.as_bytes()).into_owned().collect());
        Self(pairs.unwrap_or_default())
    }

    /// The first value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first value of `name` that is not empty.
    pub fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Every value of `name`.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether `name` is there and not `false` or `0`, as upstream reads booleans in queries.
    pub fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !matches!(value.to_ascii_lowercase().as_str(), "false" | "0"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &str, url: &str, expect: &str) {
        let (path, query) = url.split_once('?').map_or((url, None), |(path, query)| (path, Some(query)));
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let info = RequestInfo::parse(&method, path, &Query::parse(query));
        let got = format!(
            "{} {} {}/{} ns={} {}/{} sub={} rest={}",
            info.is_resource,
            info.verb,
            info.group,
            info.version,
            info.namespace,
            info.resource,
            info.name,
            info.subresource,
            info.rest
        );
        assert_eq!(got.trim(), expect, "{method} {url}");
    }

    #[test]
    fn paths_and_verbs() {
        check("GET", "/api/v1/pods", "true list /v1 ns= pods/ sub= rest=");
        check("GET", "/api/v1/pods?watch=true", "true watch /v1 ns= pods/ sub= rest=");
        check("GET", "/api/v1/pods?watch=0", "true list /v1 ns= pods/ sub= rest=");
        check("GET", "/api/v1/watch/pods", "true watch /v1 ns= pods/ sub= rest=");
        check("GET", "/api/v1/namespaces", "true list /v1 ns= namespaces/ sub= rest=");
        check("GET", "/api/v1/namespaces/a", "true get /v1 ns=a namespaces/a sub= rest=");
        check("PUT", "/api/v1/namespaces/a/finalize", "true update /v1 ns=a namespaces/a sub=finalize rest=");
        check("GET", "/api/v1/namespaces/a/pods/p", "true get /v1 ns=a pods/p sub= rest=");
        check("POST", "/api/v1/namespaces/a/pods/p/exec", "true create /v1 ns=a pods/p sub=exec rest=");
        check(
            "GET",
            "/apis/apps/v1/namespaces/a/deployments/d/scale",
            "true get apps/v1 ns=a deployments/d sub=scale rest=",
        );
        check(
            "DELETE",
            "/apis/apps/v1/namespaces/a/deployments",
            "true deletecollection apps/v1 ns=a deployments/ sub= rest=",
        );
        check("GET", "/api/v1/nodes/n/proxy/logs/x", "true get /v1 ns= nodes/n sub=proxy rest=logs/x");
        check("GET", "/apis/apps/v1", "false get / ns= / sub= rest=");
        check("GET", "/healthz", "false get / ns= / sub= rest=");
        check(
            "PATCH",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
            "true patch rbac.authorization.k8s.io/v1 ns= clusterroles/system:node sub= rest=",
        );
    }
}
