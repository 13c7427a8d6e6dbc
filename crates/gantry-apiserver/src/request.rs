//! What a URL asks for: the resource, its parts and the verb, from method, path and query.

use gantry_json::Text;
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
    pub path: Text,
    /// `get`, `list`, `watch`, ... or the method in lower case.
    pub verb: &'static str,
    /// The API group; empty for the core group.
    pub group: Text,
    /// The API version.
    pub version: Text,
    /// The namespace, or empty.
    pub namespace: Text,
    /// The resource's plural name.
    pub resource: Text,
    /// The subresource, or empty.
    pub subresource: Text,
    /// The object's name, or empty.
    pub name: Text,
    /// What follows the subresource: the path that a proxy request is for.
    pub rest: String,
}

impl RequestInfo {
    /// Reads `method`, the undecoded `path` and `query`.
    pub fn parse(method: &Method, path: &str, query: &Query) -> Self {
        let path = match path.contains('%') {
            true => Text::from(percent_decode_str(path).decode_utf8_lossy()),
            false => Text::new(path),
        };
        let mut info = Self { verb: plain_verb(method), ..Self::default() };
        info.read_path(method, &path);
        info.path = path;
        if !info.is_resource {
            return info;
        }
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

    fn read_path(&mut self, method: &Method, path: &str) {
        let segments = segments(path);
        let parts = match segments[..] {
            ["api", version, _, ..] => {
                self.version = version.into();
                &segments[2..]
            }
            ["apis", group, version, _, ..] => {
                (self.group, self.version) = (group.into(), version.into());
                &segments[3..]
            }
            _ => return,
        };
        let (watch, parts) = match *parts {
            ["watch" | "proxy"] => return,
            [first @ ("watch" | "proxy"), ref rest @ ..] => (first == "watch", rest),
            _ => (false, parts),
        };
        self.is_resource = true;
        self.verb = if watch { "watch" } else { resource_verb(method) };
        self.read_parts(parts, path);
    }

    fn read_parts(&mut self, parts: &[&str], path: &str) {
        let mut parts = parts;
        if let ["namespaces", namespace, ref inside @ ..] = *parts {
            self.namespace = namespace.into();
            if inside.first().is_some_and(|part| !NAMESPACE_SUBRESOURCES.contains(part)) {
                parts = inside;
            }
        }
        let part = |at: usize| Text::new(parts.get(at).copied().unwrap_or_default());
        (self.resource, self.name, self.subresource) = (part(0), part(1), part(2));
        if parts.len() > 3 {
            self.rest = parts[3..].join("/");
        }
        if path.ends_with('/') && self.subresource == "proxy" {
            self.rest.push('/');
        }
    }
}

/// The parts between slashes that are not empty.
fn segments(path: &str) -> Vec<&str> {
    let mut segments = Vec::with_capacity(8);
    let mut start = 0;
    for (at, byte) in path.bytes().enumerate() {
        if byte == b'/' {
            segments.push(&path[start..at]);
            start = at + 1;
        }
    }
    segments.push(&path[start..]);
    segments.retain(|segment| !segment.is_empty());
    segments
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
