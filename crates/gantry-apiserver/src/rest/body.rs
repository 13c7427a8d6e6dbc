//! Request bodies: read with a limit, decoded strictly or not, as the client asks.

use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use gantry_api::protobuf;
use gantry_api::registry::{Kind, Registry};
use gantry_api::schema::{self, DecodeError, Format, Schemas};
use gantry_api::status::ApiError;
use gantry_json::Value;
use http::HeaderMap;
use http_body::Body as _;

use super::Context;
use super::write_options::FieldValidation;
use crate::body::Body;
use crate::negotiate::{ACCEPTED, content_type};

/// The most bytes a request may carry.
const LIMIT: usize = 3 << 20;
/// How many bytes of what cannot be read an error shows.
const SHOWN: usize = 30;

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
        "application/json" => Ok(Format::Json),
        "application/yaml" | "application/x-yaml" => Ok(Format::Yaml),
        protobuf::MEDIA_TYPE => Ok(Format::Protobuf),
        _ => Err(unsupported()),
    }
}

pub(crate) fn unsupported() -> ApiError {
    ApiError::unsupported_media_type(&ACCEPTED)
}

impl Context<'_> {
    /// Decodes a whole object of this request's kind.
    pub(super) fn decode(&mut self, bytes: &[u8], format: Format) -> Result<Value, ApiError> {
        let kind = self.kind;
        if format == Format::Protobuf && kind.as_custom().is_some() {
            return Err(ApiError::unsupported_media_type(&ACCEPTED[..2]));
        }
        if kind.as_custom().is_some() {
            says_what_it_is(kind, bytes, format)?;
        }
        self.decode_as(kind, &kind.kind, &kind.api_version(), bytes, format)
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
        let decoded = kind.decode(bytes, format).map_err(|error| match error {
            DecodeError::Syntax(why) => unrecognized(name, &why, bytes, format),
            // What is of another kind is first of all that.
            DecodeError::Type(why) => match sent_kind(bytes, format) {
                Some(mut sent) => check_kind(self.registry, &mut sent, name, api_version)
                    .err()
                    .unwrap_or_else(|| undecodable(name, &kind.version, &why)),
                None => undecodable(name, &kind.version, &why),
            },
        })?;
        let mut object = decoded.value;
        check_kind(self.registry, &mut object, name, api_version)?;
        self.report(decoded.strict, name)?;
        Ok(object)
    }

    /// Refuses or warns about `faults`, as the client asked.
    pub(super) fn report(&mut self, faults: Vec<String>, name: &str) -> Result<(), ApiError> {
        if faults.is_empty() {
            return Ok(());
        }
        match self.field_validation() {
            FieldValidation::Ignore => {}
            FieldValidation::Warn => self.warnings.extend(faults.iter().flat_map(|fault| warnings(fault))),
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

/// An object of a custom kind has to say itself what it is.
fn says_what_it_is(kind: &Kind, bytes: &[u8], format: Format) -> Result<(), ApiError> {
    // What is no object at all is told when it is decoded.
    let Some(sent) = sent_kind(bytes, format) else { return Ok(()) };
    if sent["kind"] == "" {
        let whole = String::from_utf8_lossy(bytes);
        let why = format!("Object 'Kind' is missing in '{whole}'");
        return Err(unreadable(&kind.kind, &why, bytes));
    }
    match sent["apiVersion"] == "" {
        true => Err(other_version("", &kind.api_version())),
        false => Ok(()),
    }
}

/// A strict finding as warnings: of a YAML text each line is one.
pub(super) fn warnings(fault: &str) -> Vec<String> {
    const YAML: &str = "error converting YAML to JSON: yaml: unmarshal errors:\n";
    let lines = fault.strip_prefix(YAML).unwrap_or(fault).lines();
    lines.map(|line| line.trim().to_owned()).collect()
}

/// The error about bytes that cannot be read at all.
fn unrecognized(kind: &str, why: &str, bytes: &[u8], format: Format) -> ApiError {
    let context = if format == Format::Json { "couldn't get version/kind; json parse error: " } else { "" };
    unreadable(kind, &format!("{context}{why}"), bytes)
}

/// The error about bytes that are no object of any kind, with how they begin.
fn unreadable(kind: &str, why: &str, bytes: &[u8]) -> ApiError {
    let shown = match bytes {
        [] => "<empty>".to_owned(),
        [b'{', ..] => String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]).into_owned(),
        _ => bytes.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect(),
    };
    let more = if bytes.len() > SHOWN { " ..." } else { "" };
    ApiError::bad_request(format!(
        "the object provided is unrecognized (must be of type {kind}): {why} ({shown}{more})"
    ))
}

/// Kind and version that bytes give themselves.
fn sent_kind(bytes: &[u8], format: Format) -> Option<Value> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Sent {
        #[serde(default)]
        kind: Option<String>,
        #[serde(default)]
        api_version: Option<String>,
    }
    let sent: Sent = match format {
        Format::Json => gantry_json::from_slice(bytes).ok()?,
        Format::Yaml => serde_yaml_ng::from_slice(bytes).ok()?,
        Format::Protobuf => return None,
    };
    let (kind, version) = (sent.kind.unwrap_or_default(), sent.api_version.unwrap_or_default());
    Some(gantry_json::json!({"kind": kind, "apiVersion": version}))
}

pub(super) fn undecodable(kind: &str, version: &str, why: &str) -> ApiError {
    undecodable_as(kind, version, kind, why)
}

fn undecodable_as(sent: &str, version: &str, kind: &str, why: &str) -> ApiError {
    ApiError::bad_request(format!("{sent} in version {version:?} cannot be handled as a {kind}: {why}"))
}

/// Fills in kind and API version where they were left out; an error where they are others.
pub(super) fn check_kind(
    registry: &Registry,
    object: &mut Value,
    kind: &str,
    api_version: &str,
) -> Result<(), ApiError> {
    let Some(fields) = object.as_object_mut() else { return Err(no_kind(kind)) };
    let given = |name: &str, usual: &str| {
        let text = fields.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        text.unwrap_or(usual).to_owned()
    };
    let (sent, sent_version) = (given("kind", kind), given("apiVersion", api_version));
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let custom = registry.by_gvk(group, version, kind).is_some_and(|kind| kind.as_custom().is_some());
    if custom && sent_version != api_version {
        return Err(other_version(&sent_version, api_version));
    }
    // Another name than that of a custom kind is a fault of the object's content.
    if !custom && (sent.as_str(), sent_version.as_str()) != (kind, api_version) {
        return Err(other_kind(registry, &sent, &sent_version, kind, api_version));
    }
    fields.insert("kind".into(), sent.into());
    fields.insert("apiVersion".into(), sent_version.into());
    Ok(())
}

/// The error about what is no object, where one of a kind should be.
pub(super) fn no_kind(kind: &str) -> ApiError {
    ApiError::bad_request(format!("the object provided is unrecognized (must be of type {kind})"))
}

/// The error about an object of another version than the path's.
fn other_version(sent_version: &str, api_version: &str) -> ApiError {
    ApiError::bad_request(format!(
        "the API version in the data ({sent_version}) does not match the expected API version ({api_version})"
    ))
}

/// The error about an object of another kind or version than the path's.
fn other_kind(
    registry: &Registry,
    sent: &str,
    sent_version: &str,
    kind: &str,
    api_version: &str,
) -> ApiError {
    let split = |version: &str| -> (String, String) {
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        (group.to_owned(), version.to_owned())
    };
    let (group, version) = split(sent_version);
    let why = if registry.by_gvk(&group, &version, sent).is_none() {
        format!("no kind {sent:?} is registered for version {sent_version:?}")
    } else if sent == kind {
        return other_version(sent_version, api_version);
    } else {
        let (group, _) = split(api_version);
        let internal = if group.is_empty() { "core" } else { group.split('.').next().unwrap_or_default() };
        format!("converting ({version}.{sent}) to ({internal}.{kind}): unknown conversion")
    };
    undecodable_as(sent, &version, kind, &why)
}

/// Decodes an object without a kind of its own in the path, such as options. `kind` is what it must be.
pub(super) fn free(bytes: &[u8], format: Format, kind: &str) -> Result<Value, ApiError> {
    let value = match format {
        Format::Protobuf => protobuf::decode(bytes, None).map_err(|error| error.to_string()),
        _ => {
            schema::decode_free(bytes, format).map(|decoded| decoded.value).map_err(|error| error.to_string())
        }
    };
    match value {
        Ok(value) if value.is_object() => Ok(value),
        Ok(_) => Err(unrecognized(kind, "it is no object", bytes, format)),
        Err(error) => Err(unrecognized(kind, &error, bytes, format)),
    }
}

/// Decodes an object of a kind that is not a resource's, by its structure.
pub(super) fn typed(
    bytes: &[u8],
    format: Format,
    [group, version, kind]: [&str; 3],
) -> Result<Value, ApiError> {
    let value = free(bytes, format, kind)?;
    let Some(id) = Schemas::builtin().by_kind(group, version, kind) else { return Ok(value) };
    let decoded = schema::decode_value(Schemas::builtin(), id, value);
    Ok(decoded.map_err(|why| undecodable(kind, version, &why.to_string()))?.value)
}
