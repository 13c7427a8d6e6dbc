//! What the span of a request is called, and what is said of it (OpenTelemetry's conventions for HTTP).

use http::header::{ACCEPT, HOST, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Uri, Version};

use super::{Facts, number, text};
use crate::audit::PeerAddress;
use crate::request::RequestInfo;

/// The name of a request's span: method and path, with names left out of it.
pub fn name(method: &Method, info: &RequestInfo) -> String {
    if !info.is_resource {
        return method.to_string();
    }
    let mut name = format!("{method} /");
    match info.group.as_str() {
        "" => name.push_str("api"),
        group => name.extend(["apis/", group]),
    }
    name.extend(["/", &info.version]);
    if !info.namespace.is_empty() {
        name.push_str("/namespaces/{:namespace}");
    }
    name.extend(["/", &info.resource]);
    if !info.name.is_empty() {
        name.push_str("/{:name}");
    }
    if !info.subresource.is_empty() {
        name.extend(["/", &info.subresource]);
    }
    name
}

fn header(headers: &HeaderMap, name: http::header::HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// A host, and its port where it has one.
fn split(authority: &str) -> (&str, Option<u16>) {
    let after = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[after..].rfind(':') {
        Some(at) => (&authority[..after + at], authority[after + at + 1..].parse().ok()),
        None => (authority, None),
    }
}

/// The client that a request comes from in the end.
fn client(headers: &HeaderMap, peer: Option<&PeerAddress>) -> String {
    let forwarded = header(headers, http::header::HeaderName::from_static("x-forwarded-for"));
    match forwarded.split(',').next().map(str::trim) {
        Some(first) if !first.is_empty() => first.to_owned(),
        _ => peer.map(|peer| peer.0.ip().to_canonical().to_string()).unwrap_or_default(),
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2.0",
        _ => "1.1",
    }
}

/// What is said of a method; others than the known ones are not told apart.
fn method(method: &Method, facts: &mut Facts) {
    const KNOWN: [&str; 9] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];
    let upper = method.as_str().to_ascii_uppercase();
    let known = KNOWN.iter().find(|known| **known == upper);
    facts.push(text("http.request.method", *known.unwrap_or(&"GET")));
    if known.is_none_or(|known| *known != method.as_str()) {
        facts.push(text("http.request.method_original", method.as_str()));
    }
}

/// What is said of a request that arrived.
pub fn arrived(parts: &Parts, info: &RequestInfo, length: Option<u64>, audit_id: &HeaderValue) -> Facts {
    let peer = parts.extensions.get::<PeerAddress>();
    let authority = match parts.uri.authority() {
        Some(authority) => authority.as_str(),
        None => header(&parts.headers, HOST),
    };
    let (host, port) = split(authority);
    let mut facts = vec![text("server.address", host)];
    method(&parts.method, &mut facts);
    // Who is in this process needs no TLS.
    facts.push(text("url.scheme", if peer.is_some() { "https" } else { "http" }));
    facts.extend(port.filter(|port| *port != 443).map(|port| number("server.port", port)));
    if let Some(PeerAddress(peer)) = peer {
        facts.push(text("network.peer.address", peer.ip().to_canonical().to_string()));
        facts.push(number("network.peer.port", peer.port()));
    }
    for (name, value) in [
        ("user_agent.original", header(&parts.headers, USER_AGENT)),
        ("client.address", &client(&parts.headers, peer)),
        ("url.path", &info.path),
    ] {
        if !value.is_empty() {
            facts.push(text(name, value));
        }
    }
    facts.push(text("network.protocol.version", protocol(parts.version)));
    facts.push(text("http.target", parts.uri.path_and_query().map_or("/", |target| target.as_str())));
    facts.push(text("audit-id", audit_id.to_str().unwrap_or_default()));
    facts.extend(length.filter(|length| *length > 0).map(|length| number("http.request.body.size", length)));
    facts
}

/// What is said of a request to another server.
pub fn sent(by: &Method, uri: &Uri) -> Facts {
    let mut facts = Facts::new();
    method(by, &mut facts);
    facts.push(text("url.full", uri.to_string()));
    let (host, port) = uri.authority().map_or(("", None), |authority| split(authority.as_str()));
    facts.push(text("server.address", host));
    facts.extend(port.filter(|port| *port != 443).map(|port| number("server.port", port)));
    facts
}

/// What is said of a request where its verb is carried out.
pub fn verb<B>(request: &http::Request<B>, info: &RequestInfo, audit_id: &HeaderValue) -> Facts {
    let headers = request.headers();
    let peer = request.extensions().get::<PeerAddress>();
    let http = format!("HTTP/{}", protocol(request.version()));
    [
        ("accept", header(headers, ACCEPT)),
        ("audit-id", audit_id.to_str().unwrap_or_default()),
        ("client", &client(headers, peer)),
        ("api-group", &info.group),
        ("api-version", &info.version),
        ("name", &info.name),
        ("subresource", &info.subresource),
        ("namespace", &info.namespace),
        ("resource", &info.resource),
        ("protocol", &http),
        ("url", &info.path),
        ("user-agent", header(headers, USER_AGENT)),
    ]
    .into_iter()
    .map(|(key, value)| text(key, value))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Query;

    #[test]
    fn names_leave_out_names() {
        let check = |method: &str, path: &str, expect: &str| {
            let method: Method = method.parse().unwrap();
            let info = RequestInfo::parse(&method, path, &Query::default());
            assert_eq!(name(&method, &info), expect, "{path}");
        };
        check("GET", "/healthz", "GET");
        check("GET", "/apis/apps/v1", "GET");
        check("POST", "/api/v1/nodes", "POST /api/v1/nodes");
        check("GET", "/api/v1/nodes/n", "GET /api/v1/nodes/{:name}");
        check(
            "PUT",
            "/apis/apps/v1/namespaces/a/deployments/d/scale",
            "PUT /apis/apps/v1/namespaces/{:namespace}/deployments/{:name}/scale",
        );
    }

    #[test]
    fn hosts_and_ports() {
        assert_eq!(split("a.example:6443"), ("a.example", Some(6443)));
        assert_eq!(split("[::1]:6443"), ("[::1]", Some(6443)));
        assert_eq!(split("[::1]"), ("[::1]", None));
        assert_eq!(split(""), ("", None));
    }

    #[test]
    fn unknown_methods_are_told_beside() {
        let check = |given: &str, expect: &[(&str, &str)]| {
            let mut facts = Facts::new();
            method(&given.parse().unwrap(), &mut facts);
            let expect: Facts = expect.iter().map(|(key, value)| text(key, *value)).collect();
            assert_eq!(facts, expect);
        };
        check("PATCH", &[("http.request.method", "PATCH")]);
        check("FROB", &[("http.request.method", "GET"), ("http.request.method_original", "FROB")]);
    }
}
