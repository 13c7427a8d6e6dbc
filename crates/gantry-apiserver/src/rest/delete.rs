//! DELETE: at once where nothing holds the object, otherwise by a deletion time that whoever
//! holds it sees: finalizers, a pod's grace period, a namespace's content.

use gantry_api::status::ApiError;
use gantry_store::Error;
use http::{HeaderMap, Request, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::admit::Operation;
use super::precondition::{MODIFIED, Preconditions};
use super::preparation::{meta_text, metadata, now};
use super::{Context, body, list};
use crate::body::Body;
use crate::{respond, storage};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";
/// A pod's grace period where it says none.
const POD_GRACE: i64 = 30;
/// How often a deletion is made anew because another write came first.
const ATTEMPTS: usize = 32;

/// What becomes of an object's dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Propagation {
    Orphan,
    Background,
    Foreground,
}

/// How to delete.
#[derive(Debug, Clone, Default)]
pub(super) struct DeleteOptions {
    pub grace: Option<i64>,
    pub propagation: Option<Propagation>,
    pub preconditions: Preconditions,
    pub dry_run: bool,
}

impl DeleteOptions {
    /// Those of a request: its body's, or else its query's.
    pub async fn read(context: &Context<'_>, headers: &HeaderMap, content: Body) -> Result<Self, ApiError> {
        let format = body::format(headers);
        let bytes = body::read(content).await?;
        let value = if bytes.is_empty() { Value::Null } else { body::free(&bytes, format?)? };
        Self::from_value(context, &value)
    }

    /// Those of a `DeleteOptions` object and the query.
    pub fn from_value(context: &Context<'_>, value: &Value) -> Result<Self, ApiError> {
        let query = context.query;
        if let Some(kind) = value["kind"].as_str()
            && !matches!(kind, "" | "DeleteOptions")
        {
            return Err(ApiError::bad_request(format!("unable to decode {kind} as DeleteOptions")));
        }
        let grace = match query.filled("gracePeriodSeconds") {
            Some(text) => Some(text.parse().map_err(|_| {
                ApiError::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))
            })?),
            None => value["gracePeriodSeconds"].as_i64(),
        };
        let policy = query.filled("propagationPolicy").or(value["propagationPolicy"].as_str());
        let orphan = match query.get("orphanDependents") {
            Some(_) => Some(query.flag("orphanDependents")),
            None => value["orphanDependents"].as_bool(),
        };
        let propagation = match (policy, orphan) {
            (Some(_), Some(_)) => {
                return Err(invalid("orphanDependents and deletionPropagation cannot be both set"));
            }
            (Some("Orphan"), None) | (None, Some(true)) => Some(Propagation::Orphan),
            (Some("Background"), None) | (None, Some(false)) => Some(Propagation::Background),
            (Some("Foreground"), None) => Some(Propagation::Foreground),
            (None, None) => None,
            (Some(other), None) => return Err(unsupported(other)),
        };
        let body_dry_run =
            value["dryRun"].as_array().is_some_and(|list| list.iter().any(|each| each == "All"));
        Ok(Self {
            grace,
            propagation,
            preconditions: Preconditions::read(&value["preconditions"]),
            dry_run: body_dry_run || context.dry_run()?,
        })
    }
}

fn invalid(detail: &str) -> ApiError {
    use gantry_api::field::{FieldError, Path};
    let error = FieldError::invalid(&Path::new("propagationPolicy"), "", detail);
    ApiError::invalid("meta.k8s.io", "DeleteOptions", "", &[error])
}

fn unsupported(policy: &str) -> ApiError {
    use gantry_api::field::{FieldError, Path};
    let path = Path::new("propagationPolicy");
    let error = FieldError::not_supported(&path, policy, &["Foreground", "Background", "Orphan"]);
    ApiError::invalid("meta.k8s.io", "DeleteOptions", "", &[error])
}

pub(super) async fn serve(
    context: &mut Context<'_>,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let (parts, content) = request.into_parts();
    let options = DeleteOptions::read(context, &parts.headers, content).await?;
    let name = context.info.name.clone();
    let outcome = delete(context, &name, &options).await?;
    Ok(answer(context, &outcome, &options))
}

/// What a deletion left behind.
pub(super) struct Outcome {
    pub object: Value,
    pub gone: bool,
}

fn answer(context: &Context<'_>, outcome: &Outcome, options: &DeleteOptions) -> Response<Body> {
    let kind = context.kind;
    let shows_object = matches!(kind.kind, "Pod" | "Service" | "ServiceAccount");
    if outcome.gone && !shows_object {
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": {
                "name": meta_text(&outcome.object, "name"), "group": kind.group, "kind": kind.plural,
                "uid": meta_text(&outcome.object, "uid"),
            },
        });
        return respond::json(StatusCode::OK, &status, context.output);
    }
    let waits = !outcome.gone && options.propagation == Some(Propagation::Foreground);
    let code = if waits && !shows_object { StatusCode::ACCEPTED } else { StatusCode::OK };
    context.object(code, outcome.object.clone())
}

/// Deletes `name`, or asks those that hold it to let go.
pub(super) async fn delete(
    context: &mut Context<'_>,
    name: &str,
    options: &DeleteOptions,
) -> Result<Outcome, ApiError> {
    let store = &context.server.store;
    let key = context.key_of(name);
    let not_found = || ApiError::not_found(context.kind.group, context.kind.plural, name);
    for _ in 0..ATTEMPTS {
        let entry = store.snapshot().get(&key).cloned().ok_or_else(not_found)?;
        let current = list::value(context.kind, &entry)
            .ok_or_else(|| ApiError::internal("a stored object is damaged"))?;
        context.check(&options.preconditions, &current)?;
        context.validate(Operation::Delete, &mut Value::Null, Some(&current), options.dry_run)?;
        let object = marked(context, &current, options);
        let gone = super::update::finished(&object);
        if options.dry_run || (!gone && object == current) {
            return Ok(Outcome { object, gone: gone && !options.dry_run });
        }
        let result = match gone {
            true => {
                store
                    .delete(&key, Some(entry.mod_revision), Some(storage::encode_as(context.kind, &object)))
                    .await
            }
            false => store.update(&key, entry.mod_revision, storage::encode_as(context.kind, &object)).await,
        };
        match result {
            Ok(entry) => {
                if gone {
                    context.server.deleted(context.kind, &current);
                }
                return Ok(Outcome { object: list::value(context.kind, &entry).unwrap_or(object), gone });
            }
            Err(Error::Conflict { .. } | Error::NotFound { .. }) => {}
            Err(error) => return Err(respond::storage_error(&error)),
        }
    }
    Err(ApiError::conflict(context.kind.group, context.kind.plural, name, MODIFIED))
}

/// `current` with the deletion that was asked for.
fn marked(context: &Context<'_>, current: &Value, options: &DeleteOptions) -> Value {
    let mut object = current.clone();
    let grace = grace(context, current, options);
    set_finalizers(metadata(&mut object), options.propagation);
    let already = current["metadata"]["deletionTimestamp"].is_string();
    let before = current["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    if already && grace >= before {
        return object;
    }
    let at = match (grace, already) {
        (0, _) => now(),
        (grace, _) => {
            let now =
                Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_else(|_| Timestamp::now());
            now.checked_add(SignedDuration::from_secs(grace)).unwrap_or(now).to_string()
        }
    };
    let metadata = metadata(&mut object);
    metadata.insert("deletionTimestamp".into(), at.into());
    metadata.insert("deletionGracePeriodSeconds".into(), grace.into());
    if let Some(generation) = metadata.get("generation").and_then(Value::as_i64)
        && !already
    {
        metadata.insert("generation".into(), (generation + 1).into());
    }
    if context.kind.kind == "Namespace" {
        metadata.remove("deletionGracePeriodSeconds");
        object["status"]["phase"] = json!("Terminating");
    }
    object
}

/// The seconds that the object may take to end.
fn grace(context: &Context<'_>, current: &Value, options: &DeleteOptions) -> i64 {
    if context.kind.kind != "Pod" {
        return 0;
    }
    let phase = current["status"]["phase"].as_str().unwrap_or_default();
    let unscheduled = current["spec"]["nodeName"].as_str().unwrap_or_default().is_empty();
    if unscheduled || matches!(phase, "Succeeded" | "Failed") {
        return 0;
    }
    let own = current["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(POD_GRACE);
    match options.grace.unwrap_or(own) {
        grace if grace < 0 => 1,
        grace => grace,
    }
}

fn set_finalizers(metadata: &mut serde_json::Map<String, Value>, propagation: Option<Propagation>) {
    let Some(propagation) = propagation else { return };
    let mut finalizers: Vec<Value> =
        metadata.get("finalizers").and_then(Value::as_array).cloned().unwrap_or_default();
    finalizers.retain(|each| each != ORPHAN && each != FOREGROUND);
    match propagation {
        Propagation::Orphan => finalizers.push(ORPHAN.into()),
        Propagation::Foreground => finalizers.push(FOREGROUND.into()),
        Propagation::Background => {}
    }
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".into(), finalizers.into());
    }
}
