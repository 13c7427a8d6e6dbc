//! PATCH: JSON patch, merge patch, strategic merge patch and server-side apply.

use bytes::Bytes;
use gantry_api::patch::{self, apply};
use gantry_api::schema::{self, Format, Schemas};
use gantry_api::status::ApiError;
use http::{Request, Response, StatusCode};
use serde_json::Value;

use super::create::{self, Manage, answer, user_agent};
use super::precondition::{MODIFIED, Preconditions};
use super::preparation::{meta_text, metadata, now};
use super::update::change;
use super::{Context, body};
use crate::body::Body;
use crate::negotiate::content_type;

/// The patch formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patch {
    Json,
    Merge,
    Strategic,
    Apply(Format),
}

impl Patch {
    pub fn of(content_type: &str) -> Result<Self, ApiError> {
        Ok(match content_type {
            "application/json-patch+json" => Self::Json,
            "application/merge-patch+json" => Self::Merge,
            "application/strategic-merge-patch+json" => Self::Strategic,
            "application/apply-patch+yaml" => Self::Apply(Format::Yaml),
            "application/apply-patch+json" => Self::Apply(Format::Json),
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
    let format = Patch::of(&content_type(request.headers()))?;
    let agent = user_agent(request.headers());
    let bytes = body::read(request.into_body()).await?;
    match format {
        Patch::Apply(format) => serve_apply(context, &bytes, format).await,
        _ => serve_patch(context, &bytes, format, &agent).await,
    }
}

async fn serve_patch(
    context: &mut Context<'_>,
    bytes: &Bytes,
    format: Patch,
    agent: &str,
) -> Result<Response<Body>, ApiError> {
    if context.query.get("force").is_some() {
        return Err(ApiError::bad_request("force is forbidden for patches other than apply"));
    }
    let manager = context.field_manager(agent)?;
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
    Ok(answer(context, StatusCode::OK, written))
}

/// `current` with the patch in `bytes`, decoded as the kind.
pub(super) fn patched(
    context: &mut Context<'_>,
    current: &Value,
    bytes: &[u8],
    format: Patch,
) -> Result<Value, ApiError> {
    let parse = || -> Result<Value, ApiError> {
        serde_json::from_slice(bytes)
            .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))
    };
    let patched = match format {
        Patch::Json => patch::json_patch(current, bytes)?,
        Patch::Merge => patch::merge_patch(current, &parse()?)?,
        _ => patch::strategic_merge(Schemas::builtin(), context.kind.schema, current, &parse()?)?,
    };
    let decoded = schema::decode_value(Schemas::builtin(), context.kind.schema, patched)
        .map_err(|why| super::body::undecodable(context.kind.kind, context.kind.version, &why))?;
    let mut object = decoded.value;
    super::body::check_kind(&mut object, context.kind.kind, &context.kind.api_version())?;
    context.report(decoded.strict, context.kind.kind)?;
    Ok(object)
}

async fn serve_apply(
    context: &mut Context<'_>,
    bytes: &Bytes,
    format: Format,
) -> Result<Response<Body>, ApiError> {
    let Some(manager) = context.query.filled("fieldManager").map(str::to_owned) else {
        use gantry_api::field::{FieldError, Path};
        let error = FieldError::required(&Path::new("fieldManager"), "is required for apply patch");
        return Err(ApiError::invalid("meta.k8s.io", "PatchOptions", "", &[error]));
    };
    let applied = context.decode(bytes, format)?;
    if !applied["metadata"]["managedFields"].is_null() {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    let name = context.info.name.clone();
    let force = context.query.flag("force");
    let mut placed = applied.clone();
    context.place(&mut placed, &name)?;
    let applied = placed;
    if context.info.subresource.is_empty() && context.current().is_err() {
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
        return Ok(answer(context, StatusCode::CREATED, written));
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
    Ok(answer(context, StatusCode::OK, written))
}

fn merged(
    context: &Context<'_>,
    live: &Value,
    applied: &Value,
    manager: &str,
    force: bool,
) -> Result<Value, ApiError> {
    let api_version = context.kind.api_version();
    apply::apply(
        Schemas::builtin(),
        context.kind.schema,
        &api_version,
        live,
        applied,
        manager,
        force,
        &context.info.subresource,
        &now(),
    )
    .map_err(|conflicts| conflicts.into_error(context.kind.group, context.kind.plural, &context.info.name))
}
