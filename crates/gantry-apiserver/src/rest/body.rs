//! Request bodies: read with a limit, decoded strictly or not, as the client asks.

use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use gantry_api::protobuf;
use gantry_api::registry::Kind;
use gantry_api::schema::{self, Format, Schemas};
use gantry_api::status::ApiError;
use http::HeaderMap;
use http_body::Body as _;
use serde_json::Value;

use super::Context;
use crate::body::Body;
use crate::negotiate::{ACCEPTED, content_type};

/// The most bytes a request may carry.
const LIMIT: usize = 3 << 20;

/// Reads a whole body. Past 3 MiB: 413, reason RequestEntityTooLarge.
pub(crate) async fn read(body: Body) -> Result<Bytes, ApiError> {
    if body.len().is_some_and(|length| length > LIMIT as u64) {
        return Err(too_large());
    }
    let mut body = body;
    let mut whole = BytesMut::new();
    let mut only: Option<Bytes> = None;
    while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame =
            frame.map_err(|error| ApiError::bad_request(format!("the body could not be read: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        match only.take() {
            None if whole.is_empty() => only = Some(data),
            None => whole.extend_from_slice(&data),
            Some(first) => {
                whole.extend_from_slice(&first);
                whole.extend_from_slice(&data);
            }
        }
        if whole.len() + only.as_ref().map_or(0, Bytes::len) > LIMIT {
            return Err(too_large());
        }
    }
    Ok(only.unwrap_or_else(|| whole.freeze()))
}

fn too_large() -> ApiError {
    ApiError::too_large(LIMIT)
}

/// The encoding that a body says it has.
pub(crate) fn format(headers: &HeaderMap) -> Result<Format, ApiError> {
    match content_type(headers).as_str() {
        "application/json" | "" => Ok(Format::Json),
        "application/yaml" | "application/x-yaml" => Ok(Format::Yaml),
        protobuf::MEDIA_TYPE => Ok(Format::Protobuf),
        _ => Err(unsupported()),
    }
}

pub(crate) fn unsupported() -> ApiError {
    ApiError::unsupported_media_type(&ACCEPTED)
}

/// What to do about fields that a kind does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

impl Context<'_> {
    pub(super) fn field_validation(&self) -> Result<FieldValidation, ApiError> {
        match self.query.filled("fieldValidation") {
            None | Some("Warn") => Ok(FieldValidation::Warn),
            Some("Ignore") => Ok(FieldValidation::Ignore),
            Some("Strict") => Ok(FieldValidation::Strict),
            Some(other) => {
                use gantry_api::field::{FieldError, Path};
                let path = Path::new("fieldValidation");
                let error = FieldError::not_supported(&path, other, &["", "Ignore", "Strict", "Warn"]);
                Err(ApiError::invalid("meta.k8s.io", "CreateOptions", "", &[error]))
            }
        }
    }

    /// Decodes a whole object of this request's kind.
    pub(super) fn decode(&mut self, bytes: &[u8], format: Format) -> Result<Value, ApiError> {
        let kind = self.kind;
        self.decode_as(kind, kind.kind, &kind.api_version(), bytes, format)
    }

    /// Decodes an object of `name` in `api_version`, shaped as `kind`'s schema says.
    pub(super) fn decode_as(
        &mut self,
        kind: &Kind,
        name: &str,
        api_version: &str,
        bytes: &[u8],
        format: Format,
    ) -> Result<Value, ApiError> {
        let decoded = schema::decode(Schemas::builtin(), kind.schema, bytes, format)
            .map_err(|why| undecodable(name, kind.version, &why))?;
        let mut object = decoded.value;
        check_kind(&mut object, name, api_version)?;
        self.report(decoded.strict, name)?;
        Ok(object)
    }

    /// Refuses or warns about `faults`, as the client asked.
    pub(super) fn report(&mut self, faults: Vec<String>, name: &str) -> Result<(), ApiError> {
        if faults.is_empty() {
            return Ok(());
        }
        match self.field_validation()? {
            FieldValidation::Ignore => {}
            FieldValidation::Warn => self.warnings.extend(faults),
            FieldValidation::Strict => {
                return Err(ApiError::bad_request(format!(
                    "{name} in version {:?} cannot be handled as a {name}: strict decoding error: {}",
                    self.kind.version,
                    faults.join(", ")
                )));
            }
        }
        Ok(())
    }
}

pub(super) fn undecodable(kind: &str, version: &str, why: &str) -> ApiError {
    ApiError::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}"))
}

/// Fills in kind and API version where they were left out; an error where they are others.
pub(super) fn check_kind(object: &mut Value, kind: &str, api_version: &str) -> Result<(), ApiError> {
    let Some(fields) = object.as_object_mut() else {
        return Err(ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind})"
        )));
    };
    let given = |name: &str| fields.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(version) = given("apiVersion")
        && version != api_version
    {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({api_version})"
        )));
    }
    if let Some(other) = given("kind")
        && other != kind
    {
        return Err(ApiError::bad_request(format!(
            "{other} in version {:?} cannot be handled as a {kind}: no kind {other:?} is registered for this resource",
            api_version.rsplit('/').next().unwrap_or_default()
        )));
    }
    fields.insert("kind".into(), kind.into());
    fields.insert("apiVersion".into(), api_version.into());
    Ok(())
}

/// Decodes an object without a schema of its own, such as options and reviews.
pub(super) fn free(bytes: &[u8], format: Format) -> Result<Value, ApiError> {
    let value: Result<Value, String> = match format {
        Format::Json => serde_json::from_slice(bytes).map_err(|error| error.to_string()),
        Format::Yaml => serde_yaml_ng::from_slice(bytes).map_err(|error| error.to_string()),
        Format::Protobuf => protobuf::decode(bytes, None).map_err(|error| error.to_string()),
    };
    match value {
        Ok(value) if value.is_object() => Ok(value),
        Ok(_) => Err(ApiError::bad_request("the object provided is unrecognized (must be an object)")),
        Err(error) => Err(ApiError::bad_request(format!("the object provided is unrecognized: {error}"))),
    }
}
