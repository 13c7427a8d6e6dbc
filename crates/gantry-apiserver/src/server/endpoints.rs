//! Paths that name no resource: health, version, metrics, discovery and OpenAPI.

use gantry_api::status::ApiError;
use gantry_json::json;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderValue, Method, Request, Response, StatusCode};

use crate::body::Body;
use crate::documents::Document;
use crate::negotiate::{self, ACCEPTED, Output};
use crate::request::{Query, RequestInfo};
use crate::server::{debug, health, openapi};
use crate::{ApiServer, respond};

/// Answers a path that names no resource.
pub(super) async fn serve(
    server: &ApiServer,
    info: &RequestInfo,
    query: &Query,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    if info.path.trim_end_matches('/') == "/debug/flags/v" {
        return debug::verbosity(server, request).await;
    }
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let answer = read(server, info, query, request)?;
    if reads { Ok(answer) } else { Err(ApiError::method_not_allowed()) }
}

fn read(
    server: &ApiServer,
    info: &RequestInfo,
    query: &Query,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let path = info.path.trim_end_matches('/');
    let negotiated = Output::negotiate(request.headers(), query);
    let aggregated = negotiate::accepts_aggregated_discovery(request.headers());
    if negotiated.is_none() && matches!(path.split('/').nth(1), Some("api" | "apis")) && !aggregated {
        return Err(ApiError::not_acceptable(&ACCEPTED));
    }
    let output = negotiated.unwrap_or(Output::JSON);
    let documents = server.documents();
    let ok = |value| Ok(respond::json(StatusCode::OK, &value, output));
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match segments.as_slice() {
        ["healthz" | "livez" | "readyz", rest @ ..] => {
            health::serve(server, segments[0], &rest.join("/"), query)
        }
        ["version"] => ok(version(server)),
        ["debug", path @ ..] => debug::serve(server, path, query),
        ["metrics", "slis"] => {
            let media_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            let text = server.metrics.health.encode();
            Ok(respond::typed(StatusCode::OK, text.into_bytes(), media_type))
        }
        ["metrics"] => Ok(metrics(server, accept)),
        [] => ok(json!({"paths": documents.paths()})),
        ["api"] if aggregated => shared(&request, documents.aggregated_core(), output),
        ["apis"] if aggregated => shared(&request, documents.aggregated_groups(), output),
        ["api"] => ok(json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server.config.advertise.to_string()}],
        })),
        ["apis"] => ok(documents.groups().clone()),
        ["apis", group] => documents.group(group).map_or_else(missing, ok),
        ["api", version] => documents.resources("", version).map_or_else(missing, ok),
        ["apis", group, version] => documents.resources(group, version).map_or_else(missing, ok),
        ["openapi", "v2"] => openapi::v2(server, request.headers()),
        ["openapi", "v3"] => shared(&request, documents.openapi_index(), output),
        ["openapi", "v3", path @ ..] => openapi::v3(server, request.headers(), &path.join("/"), query),
        [".well-known", "openid-configuration"] => {
            let here = || format!("https://{}/openid/v1/jwks", server.config.advertise);
            let uri = server.config.authentication.jwks_uri.clone().unwrap_or_else(here);
            let document = server.authenticators.service_accounts.discovery_document(&uri);
            Ok(published(&document, HeaderValue::from_static("application/json")))
        }
        ["openid", "v1", "jwks"] => {
            let keys = server.authenticators.service_accounts.key_set();
            Ok(published(&keys, HeaderValue::from_static("application/jwk-set+json")))
        }
        _ => missing(),
    }
}

fn missing() -> Result<Response<Body>, ApiError> {
    Err(ApiError::no_such_resource())
}

/// A document for those who verify our tokens, who may keep it for a while.
fn published(document: &gantry_json::Value, media_type: HeaderValue) -> Response<Body> {
    let mut response = respond::typed(StatusCode::OK, document.to_vec(), media_type);
    let hour = HeaderValue::from_static("public, max-age=3600");
    response.headers_mut().insert(CACHE_CONTROL, hour);
    response
}

fn metrics(server: &ApiServer, accept: &str) -> Response<Body> {
    let open = accept.contains("application/openmetrics-text");
    if let Some(fairness) = &server.fairness {
        server.metrics.flow_control.levels(&fairness.counts());
    }
    let text = server.metrics.encode(&server.store, &server.registry.load(), server.in_flight.taken(), open);
    let media_type = match open {
        true => HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8"),
        false => HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
    };
    respond::typed(StatusCode::OK, text.into_bytes(), media_type)
}

fn version(server: &ApiServer) -> gantry_json::Value {
    let version = &server.config.version;
    // Objects are kept as the version before would keep them, too.
    let earlier = version.minor.parse().map_or(0, |minor: u32| minor.saturating_sub(1)).to_string();
    json!({
        "major": version.major, "minor": version.minor,
        "emulationMajor": version.major, "emulationMinor": version.minor,
        "minCompatibilityMajor": version.major, "minCompatibilityMinor": earlier, "gitVersion": version.git_version,
        "gitCommit": version.git_commit, "gitTreeState": "clean", "buildDate": version.build_date,
        "goVersion": "", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        }),
    })
}

/// A document that is made once: with its hash as ETag, and nothing where the client has it.
fn shared(request: &Request<Body>, document: &Document, output: Output) -> Result<Response<Body>, ApiError> {
    let tag = format!("\"{}\"", document.hash);
    let known = request.headers().get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let mut response = respond::bytes(StatusCode::OK, document.bytes.clone());
    if known.is_some_and(|known| known.contains(&tag)) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Body::Empty;
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response.headers_mut().insert(CONTENT_TYPE, document.content_type.clone());
    response.headers_mut().insert(http::header::VARY, HeaderValue::from_static("Accept"));
    Ok(if output.gzip { respond::compress(response) } else { response })
}
