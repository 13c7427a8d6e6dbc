//! UPDATE, and the part that every change of an existing object shares.

use std::sync::Arc;

use gantry_api::field::{FieldError, Path};
use gantry_api::registry::Kind;
use gantry_api::status::ApiError;
use gantry_json::Value;
use gantry_store::{Entry, Error};
use http::{Request, Response, StatusCode};

use super::admit::Operation;
use super::charged::Write;
use super::create::{self, Manage, Written, answer, user_agent};
use super::precondition::{MODIFIED, Preconditions};
use super::preparation::{count_generation, keep_system, meta_text, metadata, now};
use super::{Context, body, expressions, list, resize};
use crate::body::Body;
use crate::services::Claim;
use crate::{respond, trace};

/// How often a write is made anew because another one came first.
const ATTEMPTS: usize = 32;

pub(super) async fn serve(
    context: &mut Context<'_>,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let format = body::format(request.headers())?;
    context.check_options("UpdateOptions")?;
    let manager = context.field_manager(&user_agent(request.headers()));
    let bytes = body::read(request.into_body()).await?;
    trace::event("limitedReadBody succeeded");
    let object = context.decode(&bytes, format)?;
    trace::event("Conversion done");
    context.audit_requested(&object);
    let name = meta_text(&object, "name").to_owned();
    if name.is_empty() {
        return Err(ApiError::bad_request(
            "the name of the object (based on URL) was undeterminable: name must be provided",
        ));
    }
    if name != context.info.name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            context.info.name
        )));
    }
    let creates = matches!(&*context.kind.kind, "Lease" | "Event")
        && context.kind.as_custom().is_none()
        && context.info.subresource.is_empty();
    if creates && !context.exists() {
        let mut object = object;
        metadata(&mut object).remove("resourceVersion");
        let written = create::insert(context, object, Manage::Update(&manager)).await?;
        return answer(context, StatusCode::CREATED, written).await;
    }
    let mut first = Preconditions::read(&object["metadata"]);
    // Nothing was ever written at version 0: it says as little as none.
    let version = first.resource_version.take().filter(|version| version != "0");
    trace::event("About to store object in database");
    let written = change(context, Some(&manager), |context, current, _| {
        context.check(&first, current)?;
        if version.is_none() && !context.kind.updates_unconditionally() {
            return Err(unconditional(context));
        }
        if version.as_deref().is_some_and(|version| version != meta_text(current, "resourceVersion")) {
            return Err(context.conflict(MODIFIED));
        }
        Ok(object.clone())
    })
    .await?;
    trace::event("Write to database call succeeded");
    answer(context, StatusCode::OK, written).await
}

/// The error about an update that does not say which version it replaces.
fn unconditional(context: &Context<'_>) -> ApiError {
    let path = Path::new("metadata").child("resourceVersion");
    let error = FieldError::invalid(&path, 0, "must be specified for an update");
    // Upstream has the resource's name here.
    ApiError::invalid(&context.kind.group, &context.kind.plural, &context.info.name, &[error])
}

/// Reads the object, makes the new one by `edit(context, current, attempt)`, admits, checks and
/// stores it; again where another write came first and `edit` allows it.
pub(super) async fn change(
    context: &mut Context<'_>,
    manager: Option<&str>,
    mut edit: impl FnMut(&mut Context<'_>, &Value, usize) -> Result<Value, ApiError>,
) -> Result<Written, ApiError> {
    for attempt in 0..ATTEMPTS {
        let entry = context.current().await?;
        let current = list::value(context.kind, &entry)
            .ok_or_else(|| ApiError::internal("a stored object is damaged"))?;
        let warned = context.warnings.len();
        let object = edit(context, &current, attempt)?;
        match replace(context, &entry, current, object, manager).await {
            Ok(written) => return Ok(written),
            Err(Failure::Raced) => context.warnings.truncate(warned),
            Err(Failure::Api(error)) => return Err(*error),
        }
    }
    Err(context.conflict(MODIFIED))
}

pub(super) enum Failure {
    /// Another write came first.
    Raced,
    Api(Box<ApiError>),
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Api(Box::new(error))
    }
}

/// Stores `object` in place of `current`.
pub(super) async fn replace(
    context: &mut Context<'_>,
    entry: &Arc<Entry>,
    current: Value,
    mut object: Value,
    manager: Option<&str>,
) -> Result<Written, Failure> {
    let dry_run = context.dry_run();
    let kind = context.kind;
    let name = context.info.name.clone();
    context.place(&mut object, &name)?;
    keep_system(&mut object, &current);
    kind.default(&mut object);
    split(context, &mut object, &current);
    match context.info.subresource.as_str() {
        part @ ("status" | "approval") => {
            kind.prepare_status(&mut object, &current, part);
            time_phase(kind, &mut object, &current);
        }
        // These set what an update of the object itself leaves as it is.
        "finalize" | "binding" => {}
        _ => kind.prepare_update(&mut object, &current),
    }
    context.registry.drop_gated(kind, &mut object, Some(&current));
    // A pod's generation says what it was asked to be; where it runs is not asked.
    if context.info.subresource != "binding" {
        count_generation(kind, &mut object, &current);
    }
    // What admission adds from here on is nobody's.
    if let Some(manager) = manager {
        context.manage(&current, &mut object, manager);
    }
    // Who binds a pod was asked about the Binding.
    if context.info.subresource != "binding" {
        context.mutate(Operation::Update, &mut object, Some(&current), dry_run).await?;
    }
    let claim = context.server.services.claim(kind, &mut object, Some(&current))?;
    finish(context, entry, current, object, claim.as_ref(), dry_run).await
}

/// Notes when a volume came into its phase.
fn time_phase(kind: &Kind, object: &mut Value, current: &Value) {
    const TIME: &str = "lastPhaseTransitionTime";
    let (status, before) = (&object["status"], &current["status"]);
    if kind.is("", "PersistentVolume") && status["phase"] != before["phase"] && status[TIME] == before[TIME] {
        object["status"][TIME] = now().into();
    }
}

/// The status belongs to the status subresource, everything else to the object itself.
fn split(context: &Context<'_>, object: &mut Value, current: &Value) {
    let kind = context.kind;
    let Some(fields) = object.as_object_mut() else { return };
    match context.info.subresource.as_str() {
        "resize" => resize::split(object, current),
        "" | "scale" if kind.has_status => {
            match current.get("status") {
                Some(status) => fields.insert("status".into(), status.clone()),
                None => fields.remove("status"),
            };
        }
        "finalize" => only(object, current, "finalizers"),
        "ephemeralcontainers" => only(object, current, "ephemeralContainers"),
        "status" | "approval" => {
            let status = fields.remove("status");
            let new_metadata = fields.remove("metadata");
            let mut kept = current.clone();
            if let Some(all) = kept.as_object_mut() {
                match status {
                    Some(status) => all.insert("status".into(), status),
                    None => all.remove("status"),
                };
            }
            if let Some(Value::Object(mut new)) = new_metadata {
                let kept_metadata = kind.kept_metadata();
                let metadata = metadata(&mut kept);
                for field in ["annotations", "finalizers", "labels", "ownerReferences"] {
                    match new.remove(field) {
                        _ if kept_metadata.keeps(field) => {}
                        Some(value) => drop(metadata.insert(field.into(), value)),
                        None => drop(metadata.remove(field)),
                    }
                }
                if let Some(managed) = new.remove("managedFields") {
                    metadata.insert("managedFields".into(), managed);
                }
            }
            *object = kept;
        }
        _ => {}
    }
}

/// Keeps everything of `current` but the field of the spec that the subresource is for.
fn only(object: &mut Value, current: &Value, field: &str) {
    let new = object["spec"][field].take();
    let managed = object["metadata"]["managedFields"].take();
    *object = current.clone();
    object["spec"][field] = new;
    if !managed.is_null() {
        object["metadata"]["managedFields"] = managed;
    }
}

async fn finish(
    context: &mut Context<'_>,
    entry: &Arc<Entry>,
    current: Value,
    mut object: Value,
    claim: Option<&Claim>,
    dry_run: bool,
) -> Result<Written, Failure> {
    let kind = context.kind;
    let mut errors = gantry_api::rules::metadata::validate(kind, &object);
    errors.extend(gantry_api::rules::metadata::validate_update(&object, &current));
    match context.info.subresource.as_str() {
        // This changes what an update of the object itself may not.
        part @ "ephemeralcontainers" => {
            errors.extend(kind.validate(&object));
            errors.extend(kind.validate_status(&object, &current, part, &mut context.warnings));
        }
        "resize" => {
            errors.extend(kind.validate(&object));
            errors.extend(resize::validate(&object, &current));
        }
        part @ ("status" | "approval" | "finalize") => {
            errors.extend(kind.validate_status(&object, &current, part, &mut context.warnings));
        }
        "binding" => {}
        _ => {
            errors.extend(kind.validate_change(&object, &current, &mut context.warnings));
            expressions::validate(kind, &object, Some(&current), &mut errors);
        }
    }
    if !errors.is_empty() {
        return Err(ApiError::invalid(&kind.group, &kind.kind, &context.info.name, &errors).into());
    }
    if context.info.subresource.is_empty() {
        context.warnings.extend(kind.warnings(&object, Some(&current)));
    }
    if context.info.subresource != "binding" {
        context.validate(Operation::Update, &mut object, Some(&current), dry_run).await?;
    }
    if dry_run {
        context.charge(Operation::Update, &mut object, Some(&current))?;
        return Ok(Written::Dry(object));
    }
    let store = &context.server.store;
    if finished(&object) {
        let bytes = context.encode(&object).await?;
        let along = context.server.services.released(kind, &current);
        let gone = store.delete_along(&entry.key, Some(entry.mod_revision), Some(bytes), along).await;
        return gone.map(Written::Stored).map_err(|error| raced(&error));
    }
    if unchanged(&object, &current) && !context.is_outdated(&entry.key) {
        return Ok(Written::Stored(entry.clone()));
    }
    let bytes = context.encode(&object).await?;
    let result = match &*kind.kind {
        "Event" if kind.as_custom().is_none() => {
            store.update_with_ttl(&entry.key, entry.mod_revision, bytes, create::EVENT_TTL).await
        }
        _ => {
            let write = Write::Update { key: &entry.key, expected: entry.mod_revision };
            context.write_charged(write, bytes, &mut object, false, Some(current), claim).await?
        }
    };
    result.map(Written::Stored).map_err(|error| raced(&error))
}

/// Whether the new object is the old one but for the times of its managed fields.
fn unchanged(object: &Value, current: &Value) -> bool {
    if object == current {
        return true;
    }
    let (Some(new), Some(old)) = (object.as_object(), current.as_object()) else { return false };
    let same = |a: &gantry_json::Map, b: &gantry_json::Map, skip: &str| {
        a.iter().filter(|(name, _)| *name != skip).eq(b.iter().filter(|(name, _)| *name != skip))
    };
    let (Some(new_meta), Some(old_meta)) = (new["metadata"].as_object(), old["metadata"].as_object()) else {
        return false;
    };
    if !same(new, old, "metadata") || !same(new_meta, old_meta, "managedFields") {
        return false;
    }
    let timeless = |meta: &gantry_json::Map| {
        let mut managed = meta.get("managedFields").cloned().unwrap_or_default();
        for entry in managed.as_array_mut().into_iter().flatten() {
            entry.as_object_mut().map(|fields| fields.remove("time"));
        }
        managed
    };
    timeless(new_meta) == timeless(old_meta)
}

/// Whether nothing holds a deleted object back any longer.
pub(super) fn finished(object: &Value) -> bool {
    let metadata = &object["metadata"];
    let grace = metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    let finalizers = metadata["finalizers"].as_array().is_some_and(|list| !list.is_empty());
    let namespace = object["kind"] == "Namespace"
        && object["spec"]["finalizers"].as_array().is_some_and(|list| !list.is_empty());
    metadata["deletionTimestamp"].is_string() && grace == 0 && !finalizers && !namespace
}

pub(super) fn raced(error: &Error) -> Failure {
    match error {
        // What exists is an IPAddress that the object's change was to make.
        Error::Conflict { .. } | Error::NotFound { .. } | Error::Exists { .. } => Failure::Raced,
        other => respond::storage_error(other).into(),
    }
}
