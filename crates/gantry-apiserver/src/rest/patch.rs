//! PATCH: JSON patch, merge patch, strategic merge patch and server-side apply.

use bytes::Bytes;
use gantry_api::field::{FieldError, Path};
use gantry_api::patch::{self, apply};
use gantry_api::registry::Kind;
use gantry_api::schema::{self, Decoded, Format, Schemas};
use gantry_api::status::ApiError;
use gantry_json::Value;
use http::{Request, Response, StatusCode};

use super::create::{self, Manage, answer, user_agent};
use super::precondition::{MODIFIED, Preconditions};
use super::preparation::{meta_text, metadata, now};
use super::update::change;
use super::write_options::FieldValidation;
use super::{Context, body};
use crate::body::Body;
use crate::negotiate::content_type;
use crate::trace;

/// The patch formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patch {
    Json,
    Merge,
    Strategic,
    Apply(Format),
}

impl Patch {
    /// The format of that media type; custom kinds have no strategic merge patch.
    pub fn of(content_type: &str, kind: &Kind) -> Result<Self, ApiError> {
        let custom = kind.as_custom().is_some();
        Ok(match content_type {
            "application/json-patch+json" => Self::Json,
            "application/merge-patch+json" => Self::Merge,
            "application/strategic-merge-patch+json" if !custom => Self::Strategic,
            "application/apply-patch+yaml" => Self::Apply(Format::Yaml),
            "application/apply-patch+json" => Self::Apply(Format::Json),
            _ if custom => {
                return Err(ApiError::unsupported_media_type(&[
                    "application/json-patch+json",
                    "application/merge-patch+json",
                    "application/apply-patch+yaml",
                ]));
            }
            _ => {
                return Err(ApiError::unsupported_media_type(&[
                    "application/json-patch+json",
                    "application/merge-patch+json",
                    "application/strategic-merge-patch+json",
                    "application/apply-patch+yaml",
                ]));
            }
        })
    }
}

pub(super) async fn serve(
    context: &mut Context<'_>,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let format = Patch::of(&content_type(request.headers()), context.kind)?;
    context.check_patch_options(matches!(format, Patch::Apply(_)))?;
    let agent = user_agent(request.headers());
    let bytes = body::read(request.into_body()).await?;
    trace::event("limitedReadBody succeeded");
    trace::event("About to apply patch");
    let answer = match format {
        Patch::Apply(format) => serve_apply(context, &bytes, format).await?,
        _ => serve_patch(context, &bytes, format, &agent).await?,
    };
    trace::event("Object stored in database");
    Ok(answer)
}

async fn serve_patch(
    context: &mut Context<'_>,
    bytes: &Bytes,
    format: Patch,
    agent: &str,
) -> Result<Response<Body>, ApiError> {
    let manager = context.field_manager(agent);
    let written = change(context, Some(&manager), |context, current, _| {
        let patched = patched(context, current, bytes, format)?;
        let asked = Preconditions::read(&patched["metadata"]);
        if asked
            .resource_version
            .as_deref()
            .is_some_and(|asked| asked != meta_text(current, "resourceVersion"))
        {
            return Err(context.conflict(MODIFIED));
        }
        context.check(&Preconditions { uid: asked.uid, resource_version: None }, current)?;
        Ok(patched)
    })
    .await?;
    answer(context, StatusCode::OK, written).await
}

/// `current` with the patch in `bytes`, decoded as the kind.
pub(super) fn patched(
    context: &mut Context<'_>,
    current: &Value,
    bytes: &[u8],
    format: Patch,
) -> Result<Value, ApiError> {
    let lax = context.field_validation() == FieldValidation::Ignore;
    let parse = || read_merge(bytes, format, lax);
    let schema = context.kind.schema;
    let merge = || -> Result<(Value, Vec<String>), ApiError> {
        if format == Patch::Json {
            let findings = if lax { Vec::new() } else { patch::json_patch_findings(bytes)? };
            return Ok((patch::json_patch(current, bytes)?, findings));
        }
        let patch = parse()?;
        let patched = match format {
            Patch::Merge => patch::merge_patch(current, &patch.value)?,
            _ => patch::strategic_merge(Schemas::builtin(), schema, current, &patch.value)?,
        };
        Ok((patched, patch.strict))
    };
    let refused = |why: String| {
        // What the client is shown of a patch that leads to nothing: what it would have led to, and of a
        // strategic one, which names its own fields, the patch.
        let shown = match format {
            Patch::Strategic => parse().map(|patch| patch.value),
            _ => merge().map(|(patched, _)| patched),
        };
        let error = FieldError::invalid(&Path::new("patch"), shown.unwrap_or_default().to_string(), why);
        ApiError::invalid("", "", "", &[error])
    };
    let (patched, mut findings) = merge()?;
    let decoded = context.kind.decode_value(patched).map_err(|why| refused(why.to_string()))?;
    let mut object = decoded.value;
    body::check_kind(context.registry, &mut object, &context.kind.kind, &context.kind.api_version())?;
    findings.extend(decoded.strict);
    if context.field_validation() == FieldValidation::Strict && !findings.is_empty() {
        return Err(refused(format!("strict decoding error: {}", findings.join(", "))));
    }
    context.report(findings, &context.kind.kind)?;
    Ok(object)
}

/// Reads a merge patch, or a strategic one. What is wrong is told as upstream's libraries do, of which two read
/// merge patches.
pub(super) fn read_merge(bytes: &[u8], format: Patch, lax: bool) -> Result<Decoded, ApiError> {
    let free = schema::decode_free(bytes, Format::Json);
    if format == Patch::Strategic {
        return free.map_err(|error| ApiError::bad_request(error.to_string()));
    }
    let bad = || ApiError::bad_request("Invalid JSON Patch");
    match free {
        // Read freely, null is an empty object.
        Ok(_) if bytes.trim_ascii() == b"null" => Err(bad()),
        Ok(patch) if lax && !patch.value.is_object() => Err(bad()),
        Err(_) if lax => Err(bad()),
        free => free.map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}"))),
    }
}

async fn serve_apply(
    context: &mut Context<'_>,
    bytes: &Bytes,
    format: Format,
) -> Result<Response<Body>, ApiError> {
    let manager = context.query.filled("fieldManager").unwrap_or_default().to_owned();
    let applied = read_applied(context, bytes, format)?;
    let name = context.info.name.clone();
    let force = context.query.flag("force");
    let mut placed = applied.clone();
    context.place(&mut placed, &name)?;
    let applied = placed;
    if context.info.subresource.is_empty() && !context.exists() {
        let asked = Preconditions::read(&applied["metadata"]);
        if asked.uid.is_some() {
            return Err(context.conflict(&format!(
                "uid mismatch: the provided object specified uid {}, and no existing object was found",
                asked.uid.unwrap_or_default()
            )));
        }
        let mut object = merged(context, &Value::Null, &applied, &manager, force)?;
        metadata(&mut object).remove("resourceVersion");
        let written = create::insert(context, object, Manage::Done).await?;
        return answer(context, StatusCode::CREATED, written).await;
    }
    let asked = Preconditions::read(&applied["metadata"]);
    let written = change(context, None, |context, current, _| {
        if asked
            .resource_version
            .as_deref()
            .is_some_and(|asked| asked != meta_text(current, "resourceVersion"))
        {
            return Err(context.conflict(MODIFIED));
        }
        context.check(&Preconditions { uid: asked.uid.clone(), resource_version: None }, current)?;
        merged(context, current, &applied, &manager, force)
    })
    .await?;
    answer(context, StatusCode::OK, written).await
}

/// Reads an apply's object. Fields that its kind does not have cannot be owned, so that whatever the
/// client says of field validation they are an error.
fn read_applied(context: &mut Context<'_>, bytes: &[u8], format: Format) -> Result<Value, ApiError> {
    let free = schema::decode_free(bytes, format)
        .map_err(|why| ApiError::bad_request(format!("error decoding YAML: {why}")))?;
    let kind = context.kind;
    let untyped = |value: &Value, why: &str| {
        let place = match meta_text(value, "namespace") {
            "" => context.namespace(),
            namespace => namespace,
        };
        let words = format!(
            "failed to create typed patch object ({place}/{}; {}/{}, Kind={}): {why}",
            context.info.name, kind.group, kind.version, kind.kind
        );
        // Upstream has no status of its own for this.
        ApiError::new(500, "", words)
    };
    let applied = free.value.clone();
    if !applied.is_object() {
        return Err(body::no_kind(&kind.kind));
    }
    let text = |field: &str| applied[field].as_str().unwrap_or_default();
    if (text("apiVersion"), text("kind")) != (&*kind.api_version(), &*kind.kind) {
        let given = kind_in_full(text("apiVersion"), text("kind"));
        return Err(ApiError::bad_request(format!("invalid object type: {given}")));
    }
    // A list of something else is a fault of type.
    if applied["metadata"]["managedFields"].as_array().is_some_and(|all| all.iter().all(Value::is_object)) {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    let faults = kind.structure().type_faults(&applied);
    if !faults.is_empty() {
        return Err(untyped(&free.value, &together(&faults)));
    }
    let decoded = kind.decode_given(applied).map_err(|why| untyped(&free.value, &why.to_string()))?;
    let unknown = decoded.strict.iter().filter_map(|finding| finding.strip_prefix("unknown field "));
    let unknown: Vec<String> =
        unknown.map(|field| format!(".{}: field not declared in schema", field.trim_matches('"'))).collect();
    if !unknown.is_empty() {
        return Err(untyped(&free.value, &together(&unknown)));
    }
    match context.field_validation() {
        FieldValidation::Strict if !free.strict.is_empty() => {
            let found = free.strict.join(", ");
            Err(ApiError::bad_request(format!("error strict decoding YAML: {found}")))
        }
        FieldValidation::Warn => {
            context.warnings.extend(free.strict.iter().flat_map(|finding| body::warnings(finding)));
            Ok(decoded.value)
        }
        _ => Ok(decoded.value),
    }
}

/// A group, version and kind as upstream writes them; nothing of what has no version that can be read.
fn kind_in_full(api_version: &str, kind: &str) -> String {
    match api_version.split('/').collect::<Vec<_>>()[..] {
        [""] => format!("/, Kind={kind}"),
        [version] => format!("/{version}, Kind={kind}"),
        [group, version] => format!("{group}/{version}, Kind={kind}"),
        _ => "/, Kind=".to_owned(),
    }
}

/// One fault, or a list of them.
fn together(faults: &[String]) -> String {
    match faults {
        [one] => one.clone(),
        several => format!("errors:\n  {}", several.join("\n  ")),
    }
}

/// `live` with what `manager` applies.
pub(super) fn merged(
    context: &Context<'_>,
    live: &Value,
    applied: &Value,
    manager: &str,
    force: bool,
) -> Result<Value, ApiError> {
    let api_version = context.kind.api_version();
    let merged = apply::apply(
        context.kind.structure(),
        &api_version,
        live,
        applied,
        manager,
        force,
        &context.info.subresource,
        &now(),
    )
    .map_err(|conflicts| {
        conflicts.into_error(&context.kind.group, &context.kind.plural, &context.info.name)
    })?;
    let settled = context.kind.decode_value(merged);
    Ok(settled.map_err(|why| ApiError::internal(why.to_string()))?.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_in_full() {
        let check = |api_version: &str, expect: &str| assert_eq!(kind_in_full(api_version, "K"), expect);
        check("", "/, Kind=K");
        check("v1", "/v1, Kind=K");
        check("a.b/v1", "a.b/v1, Kind=K");
        check("a/b/c", "/, Kind=");
    }
}
