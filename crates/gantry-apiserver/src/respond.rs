//! Answers: JSON documents, Status errors, warnings and compression.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::StreamExt;
use gantry_api::protobuf;
use gantry_api::status::ApiError;
use gantry_json::Value;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, RETRY_AFTER, VARY, WARNING};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::BodyExt;

use crate::body::Body;
use crate::negotiate::{Encoding, Output};
use crate::yaml;

/// Answers smaller than this are not worth compressing.
const GZIP_FLOOR: u64 = 128 << 10;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The media type of a document in protobuf.
pub const PROTOBUF: HeaderValue = HeaderValue::from_static(protobuf::MEDIA_TYPE);
/// The media type of a watch's frames in protobuf.
pub const PROTOBUF_STREAM: HeaderValue =
    HeaderValue::from_static("application/vnd.kubernetes.protobuf;stream=watch");

/// An answer of JSON bytes.
pub fn bytes(code: StatusCode, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// An answer of another media type.
pub fn typed(code: StatusCode, body: impl Into<Body>, media_type: HeaderValue) -> Response<Body> {
    let mut response = bytes(code, body);
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}

/// An answer of text.
pub fn text(code: StatusCode, body: impl Into<String>) -> Response<Body> {
    let mut response = bytes(code, body.into().into_bytes());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
        .headers_mut()
        .insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    response
}

/// An answer of one document in the encoding that the client accepts; in JSON where the document
/// has no such form.
pub fn json(code: StatusCode, value: &Value, output: Output) -> Response<Body> {
    match output.encoding {
        Encoding::Protobuf => {
            if let Ok(body) = protobuf::value(value) {
                return typed(code, body, PROTOBUF);
            }
        }
        Encoding::Yaml => {
            let body = yaml::to_string(value).into_bytes();
            return typed(code, body, HeaderValue::from_static("application/yaml"));
        }
        Encoding::Json => {}
    }
    let mut body = match output.pretty {
        true => gantry_json::to_vec_pretty(value).unwrap_or_default(),
        false => value.to_vec(),
    };
    body.push(b'\n');
    bytes(code, body)
}

/// An object's stored bytes, shaped for people where they ask.
pub fn stored(code: StatusCode, body: Bytes, output: Output) -> Response<Body> {
    if !output.pretty && output.encoding == Encoding::Json {
        return bytes(code, body);
    }
    match gantry_json::from_slice(&body) {
        Ok(value) => json(code, &value, output),
        Err(_) => bytes(code, body),
    }
}

/// A document in protobuf, or why there is none.
pub fn protobuf(code: StatusCode, document: Result<Vec<u8>, protobuf::Error>) -> Response<Body> {
    match document {
        Ok(body) => typed(code, body, PROTOBUF),
        Err(why) => error(&ApiError::internal(why), Output::JSON),
    }
}

/// The Status of an error.
pub fn error(error: &ApiError, output: Output) -> Response<Body> {
    let code = StatusCode::from_u16(error.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let value = error.to_value();
    let mut response = json(code, &value, output);
    if let Some(seconds) = value["details"]["retryAfterSeconds"].as_u64() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// A failure of the store that is not the client's.
pub fn storage_error(error: &gantry_store::Error) -> ApiError {
    match error {
        gantry_store::Error::Closed => ApiError::service_unavailable("the server is shutting down"),
        other => ApiError::internal(other),
    }
}

/// The most that warnings may be together, in characters, before they are cut.
const WARNINGS: usize = 4 << 10;
/// How much of each is then left.
const WARNING_LEFT: usize = 256;

/// Adds a `Warning` header for each of `warnings`; too many of them are cut short.
pub fn warn(response: &mut Response<Body>, warnings: &[String]) {
    let mut seen: Vec<&str> = Vec::new();
    for warning in warnings {
        if !warning.is_empty() && !seen.contains(&warning.as_str()) {
            seen.push(warning);
        }
    }
    let cut = seen.iter().map(|warning| warning.chars().count()).sum::<usize>() > WARNINGS;
    let mut written = 0;
    for warning in seen {
        if written >= WARNINGS {
            return;
        }
        let most = if cut { WARNING_LEFT } else { WARNINGS };
        let text: String = warning.chars().take(most).collect();
        written += text.chars().count();
        let clean: String = text.chars().filter(|each| !each.is_control()).collect();
        let quoted = clean.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
            response.headers_mut().append(WARNING, value);
        }
    }
}

/// Compresses a large answer, piece by piece.
pub fn compress(response: Response<Body>) -> Response<Body> {
    if response.body().len().is_none_or(|length| length < GZIP_FLOOR)
        || response.headers().contains_key(CONTENT_ENCODING)
    {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    let encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let chunks =
        futures::stream::unfold((body.into_data_stream(), Some(encoder)), |(mut body, encoder)| async {
            let mut encoder = encoder?;
            loop {
                let Some(Ok(chunk)) = body.next().await else {
                    let rest = encoder.finish().ok()?;
                    return Some((Bytes::from(rest), (body, None)));
                };
                encoder.write_all(&chunk).ok()?;
                if encoder.get_ref().len() >= 32 << 10 {
                    let ready = std::mem::take(encoder.get_mut());
                    return Some((Bytes::from(ready), (body, Some(encoder))));
                }
            }
        });
    Response::from_parts(parts, Body::stream(chunks))
}
