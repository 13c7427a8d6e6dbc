//! The OpenAPI documents: in JSON or protobuf, with an ETag, for good under the URL that has the hash.

use gantry_api::openapi::Form;
use gantry_api::status::ApiError;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, EXPIRES, IF_NONE_MATCH, LOCATION, VARY,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};

use crate::body::Body;
use crate::negotiate::accepts_gzip;
use crate::request::Query;
use crate::{ApiServer, respond};

/// The names that one form of a version's documents is asked for by; answers have the last.
struct Names {
    json: [&'static str; 1],
    protobuf: [&'static str; 2],
}

const V2: Names = Names {
    json: ["application/json"],
    protobuf: [
        "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
        "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
    ],
};

const V3: Names = Names {
    json: ["application/json"],
    protobuf: [
        "application/com.github.proto-openapi.spec.v3@v1.0+protobuf",
        "application/com.github.proto-openapi.spec.v3.v1.0+protobuf",
    ],
};

impl Names {
    /// The form that a media range asks for.
    fn form(&self, name: &str) -> Option<Form> {
        match name {
            "*/*" | "application/*" => Some(Form::Json),
            name if self.json.contains(&name) => Some(Form::Json),
            name if self.protobuf.contains(&name) => Some(Form::Protobuf),
            _ => None,
        }
    }

    /// The form that a client likes best; the first of several that it likes as much.
    fn negotiate(&self, headers: &HeaderMap) -> Result<Form, ApiError> {
        let unacceptable = || ApiError::not_acceptable(&[self.json[0], self.protobuf[1]]);
        let Some(accept) = headers.get(ACCEPT) else { return Ok(Form::Json) };
        let accept = accept.to_str().map_err(|_| unacceptable())?;
        if accept.trim().is_empty() {
            return Ok(Form::Json);
        }
        let mut best = None;
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let form = parts.next().and_then(|name| self.form(&name.to_ascii_lowercase()));
            let quality = parts.find_map(|part| part.strip_prefix("q="));
            let quality = quality.map_or(1.0, |quality| quality.parse::<f32>().unwrap_or(0.0));
            if let Some(form) = form
                && quality > best.map_or(0.0, |(quality, _)| quality)
            {
                best = Some((quality, form));
            }
        }
        best.map(|(_, form)| form).ok_or_else(unacceptable)
    }

    fn content_type(&self, form: Form) -> HeaderValue {
        HeaderValue::from_static(match form {
            Form::Json => self.json[0],
            Form::Protobuf => self.protobuf[1],
        })
    }
}

/// The version 2 document.
pub(super) fn v2(server: &ApiServer, headers: &HeaderMap) -> Result<Response<Body>, ApiError> {
    let form = V2.negotiate(headers)?;
    let documents = server.documents();
    let document = documents.openapi_v2(form);
    let tag = format!("\"{}\"", document.hash);
    if is_known(headers, &tag) {
        return tagged(respond::bytes(StatusCode::NOT_MODIFIED, Body::Empty), &tag);
    }
    let response = if accepts_gzip(headers) {
        let mut response = respond::typed(StatusCode::OK, document.gzip.clone(), V2.content_type(form));
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response
    } else {
        respond::typed(StatusCode::OK, document.unpacked(), V2.content_type(form))
    };
    tagged(response, &tag)
}

/// A version 3 document. Under the URL that names its hash it never changes; a URL with another hash
/// leads there.
pub(super) fn v3(
    server: &ApiServer,
    headers: &HeaderMap,
    path: &str,
    query: &Query,
) -> Result<Response<Body>, ApiError> {
    let documents = server.documents();
    let hash = documents.openapi_hash(path).ok_or_else(ApiError::no_such_resource)?;
    let asked = query.filled("hash");
    if asked.is_some_and(|asked| asked != hash) {
        let mut response = respond::bytes(StatusCode::MOVED_PERMANENTLY, Body::Empty);
        let location = format!("/openapi/v3/{path}?hash={hash}");
        let location = HeaderValue::from_str(&location).map_err(ApiError::internal)?;
        response.headers_mut().insert(LOCATION, location);
        return Ok(response);
    }
    let form = V3.negotiate(headers)?;
    // Two forms of a document are two to a cache.
    let tag = match form {
        Form::Json => format!("\"{hash}\""),
        Form::Protobuf => format!("\"{hash}-protobuf\""),
    };
    let mut response = if is_known(headers, &tag) {
        respond::bytes(StatusCode::NOT_MODIFIED, Body::Empty)
    } else {
        let document = documents.openapi(path, form).ok_or_else(ApiError::no_such_resource)?;
        let response = respond::typed(StatusCode::OK, document, V3.content_type(form));
        if accepts_gzip(headers) { respond::compress(response) } else { response }
    };
    if asked.is_some() {
        let expires = a_year_after(Timestamp::now()).map_err(ApiError::internal)?;
        let expires = HeaderValue::from_str(&expires).map_err(ApiError::internal)?;
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
        headers.insert(EXPIRES, expires);
    }
    tagged(response, &tag)
}

/// The date until when what never changes is kept, as a header has it (RFC 9110, section 5.6.7).
fn a_year_after(time: Timestamp) -> Result<String, jiff::Error> {
    let expires = time.to_zoned(TimeZone::UTC).checked_add(1.year())?;
    Ok(expires.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
}

/// Whether the client has what the tag names.
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    known.is_some_and(|known| {
        known
            .split(',')
            .map(|each| each.trim().trim_start_matches("W/"))
            .any(|each| each == tag || each == "*")
    })
}

fn tagged(mut response: Response<Body>, tag: &str) -> Result<Response<Body>, ApiError> {
    let headers = response.headers_mut();
    headers.insert(ETAG, HeaderValue::from_str(tag).map_err(ApiError::internal)?);
    headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if response.status() == StatusCode::NOT_MODIFIED {
        response.headers_mut().remove(CONTENT_TYPE);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_changes_expires_in_a_year() {
        let check = |now: &str, expect: &str| {
            assert_eq!(a_year_after(now.parse().expect("a time")).expect("a date"), expect);
        };
        check("2025-03-04T05:06:07.8Z", "Wed, 04 Mar 2026 05:06:07 GMT");
        check("2025-12-31T23:59:59Z", "Thu, 31 Dec 2026 23:59:59 GMT");
    }

    #[test]
    fn the_form_that_is_liked_best_is_chosen() {
        let check = |accept: &str, expect: Option<Form>| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_str(accept).expect("text"));
            assert_eq!(V2.negotiate(&headers).ok(), expect, "{accept}");
        };
        let [old, new] = V2.protobuf;
        check("", Some(Form::Json));
        check("*/*", Some(Form::Json));
        check("application/*", Some(Form::Json));
        check("application/json", Some(Form::Json));
        check("application/json, */*", Some(Form::Json));
        check(old, Some(Form::Protobuf));
        check(new, Some(Form::Protobuf));
        check(&format!("{old}, application/json"), Some(Form::Protobuf));
        check(&format!("application/json,{new}"), Some(Form::Json));
        check(&format!("{new};q=0.5, application/json"), Some(Form::Json));
        check(&format!("{new};q=0.9, application/json;q=0.8, */*;q=0.1"), Some(Form::Protobuf));
        check(&format!("{new};q=0, application/json;q=0.1"), Some(Form::Json));
        check("text/html", None);
        check("application/json;q=0", None);
        check(V3.protobuf[0], None);
        assert_eq!(V2.negotiate(&HeaderMap::new()).ok(), Some(Form::Json));
    }
}
