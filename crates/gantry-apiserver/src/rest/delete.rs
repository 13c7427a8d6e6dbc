//! DELETE: at once where nothing holds the object, otherwise by a deletion time that whoever
//! holds it sees: finalizers, a pod's grace period, a namespace's content.

use gantry_api::field::{FieldError, Path};
use gantry_api::status::ApiError;
use gantry_json::{Value, json};
use gantry_store::Error;
use http::{HeaderMap, Request, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};

use super::precondition::{MODIFIED, Preconditions};
use super::preparation::{meta_text, metadata};
use super::write_options::{dry_run_errors, refuse};
use super::{Context, body, list, shape};
use crate::body::Body;
use crate::{custom_resources, respond, trace};

/// What a deletion may carry.
const OPTIONS: [&str; 3] = ["", "v1", "DeleteOptions"];
const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";
/// A pod's grace period where it says none.
const POD_GRACE: i64 = 30;
/// Kinds that orphan their dependents unless something else is asked for, as they always did.
const ORPHANING: [(&str, &str); 2] = [("", "ReplicationController"), ("batch", "Job")];
/// Kinds that have no dependents.
const CHILDLESS: [&str; 1] = ["Event"];
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
    /// Whether `orphanDependents` was set to false, the older way to ask for background deletion.
    pub cascades: bool,
    pub preconditions: Preconditions,
    pub dry_run: bool,
}

impl DeleteOptions {
    /// Those of a request: its body's, or else its query's.
    pub async fn read(context: &Context<'_>, headers: &HeaderMap, content: Body) -> Result<Self, ApiError> {
        let format = body::format(headers);
        let bytes = body::read(content).await?;
        let value = if bytes.is_empty() { Value::Null } else { body::typed(&bytes, format?, OPTIONS)? };
        Self::from_value(context, &value)
    }

    /// Those of a `DeleteOptions` object and the query.
    pub fn from_value(context: &Context<'_>, value: &Value) -> Result<Self, ApiError> {
        let query = context.query;
        if let Some(kind) = value["kind"].as_str()
            && !matches!(kind, "" | "DeleteOptions")
        {
            return Err(ApiError::bad_request("decoded object cannot be converted to DeleteOptions"));
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
        let mut errors = Vec::new();
        let path = Path::new("propagationPolicy");
        if let (Some(policy), Some(_)) = (policy, orphan) {
            let detail = "orphanDependents and deletionPropagation cannot be both set";
            errors.push(FieldError::invalid(&path, policy, detail));
        }
        let propagation = match (policy, orphan) {
            (Some("Orphan"), _) | (None, Some(true)) => Some(Propagation::Orphan),
            (Some("Background"), _) | (None, Some(false)) => Some(Propagation::Background),
            (Some("Foreground"), _) => Some(Propagation::Foreground),
            (None, None) => None,
            (Some(other), _) => {
                let known = ["Foreground", "Background", "Orphan", "nil"];
                errors.push(FieldError::not_supported(&path, other, &known));
                None
            }
        };
        let in_body = value["dryRun"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let dry_run: Vec<&str> = in_body.chain(query.all("dryRun")).collect();
        errors.extend(dry_run_errors(&dry_run));
        refuse("DeleteOptions", errors)?;
        Ok(Self {
            grace,
            propagation,
            cascades: orphan == Some(false),
            preconditions: Preconditions::read(&value["preconditions"]),
            dry_run: !dry_run.is_empty(),
        })
    }

    /// As an object.
    pub fn to_value(&self) -> Value {
        let mut options = json!({"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"});
        if let Some(grace) = self.grace {
            options["gracePeriodSeconds"] = grace.into();
        }
        if let Some(propagation) = self.propagation {
            options["propagationPolicy"] = format!("{propagation:?}").into();
        }
        let Preconditions { uid, resource_version } = &self.preconditions;
        for (name, wanted) in [("uid", uid), ("resourceVersion", resource_version)] {
            if let Some(text) = wanted {
                options["preconditions"][name] = text.as_str().into();
            }
        }
        if self.dry_run {
            options["dryRun"] = json!(["All"]);
        }
        options
    }
}

pub(super) async fn serve(
    context: &mut Context<'_>,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let (parts, content) = request.into_parts();
    let options = DeleteOptions::read(context, &parts.headers, content).await?;
    let name = context.info.name.clone();
    let outcome = delete(context, &name, &options).await?;
    trace::event("Object deleted from database");
    answer(context, &outcome, &options)
}

/// What a deletion left behind.
pub(super) struct Outcome {
    pub object: Value,
    pub gone: bool,
}

fn answer(
    context: &Context<'_>,
    outcome: &Outcome,
    options: &DeleteOptions,
) -> Result<Response<Body>, ApiError> {
    let kind = context.kind;
    if outcome.gone && !kind.shows_deleted() {
        let mut details = json!({"name": meta_text(&outcome.object, "name"), "kind": kind.plural});
        if !kind.group.is_empty() {
            details["group"] = json!(kind.group);
        }
        details["uid"] = meta_text(&outcome.object, "uid").into();
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
        });
        shape::check_options(context.output, context.query)?;
        return Ok(respond::json(StatusCode::OK, &status, context.output));
    }
    let code = if !outcome.gone && options.cascades { StatusCode::ACCEPTED } else { StatusCode::OK };
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
    let not_found = || ApiError::not_found(&context.kind.group, &context.kind.plural, name);
    for _ in 0..ATTEMPTS {
        let entry = context.stored(&key).await?.ok_or_else(not_found)?;
        let current = list::value(context.kind, &entry)
            .ok_or_else(|| ApiError::internal("a stored object is damaged"))?;
        context.check_deletion(name, &options.preconditions, &current)?;
        // Who evicts a pod was asked about the Eviction.
        if context.info.subresource.is_empty() {
            context.admit_deletion(name, &current, options).await?;
        }
        let object = marked(context, &current, options);
        let gone = super::update::finished(&object);
        if options.dry_run || (!gone && object == current) {
            return Ok(Outcome { object, gone });
        }
        // Watchers see what has no grace period as it last was.
        let last = if graceful(context) { &object } else { &current };
        let bytes = context.encode(if gone { last } else { &object }).await?;
        trace::event("About to delete object from database");
        let facts = context.facts_of_write(&key);
        let result = match gone {
            true => {
                let along = context.server.services.released(context.kind, &current);
                let work = store.delete_along(&key, Some(entry.mod_revision), Some(bytes), along);
                trace::step("Delete storage", facts, work).await
            }
            false => {
                let work = store.update(&key, entry.mod_revision, bytes);
                trace::step("GuaranteedUpdate storage", facts, work).await
            }
        };
        match result {
            Ok(entry) => {
                let entry = context.server.custom.converter.entry(context.kind, entry).await?;
                return Ok(Outcome { object: list::value(context.kind, &entry).unwrap_or(object), gone });
            }
            Err(Error::Conflict { .. } | Error::NotFound { .. }) => {}
            Err(error) => return Err(respond::storage_error(&error)),
        }
    }
    Err(ApiError::conflict(&context.kind.group, &context.kind.plural, name, MODIFIED))
}

/// `current` with the deletion that was asked for.
fn marked(context: &Context<'_>, current: &Value, options: &DeleteOptions) -> Value {
    let mut object = current.clone();
    let grace = grace(context, current, options);
    set_finalizers(context, metadata(&mut object), options.propagation);
    let already = current["metadata"]["deletionTimestamp"].as_str().and_then(|text| text.parse().ok());
    let before = current["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    // Once it is deleted the time can be shortened, from when it began, and that only by request.
    if already.is_some() && (grace >= before || options.grace.is_none()) {
        return object;
    }
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_else(|_| Timestamp::now());
    let later =
        |time: Timestamp, seconds: i64| time.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(time);
    let at =
        already.map_or_else(|| later(now, grace), |end: Timestamp| later(end, grace - before)).to_string();
    let already = already.is_some();
    let metadata = metadata(&mut object);
    metadata.insert("deletionTimestamp".into(), at.clone().into());
    metadata.insert("deletionGracePeriodSeconds".into(), grace.into());
    if let Some(generation) = metadata.get("generation").and_then(Value::as_i64)
        && !already
    {
        metadata.insert("generation".into(), (generation + 1).into());
    }
    if context.kind.is("", "Namespace") {
        metadata.remove("deletionGracePeriodSeconds");
        object["status"]["phase"] = json!("Terminating");
    }
    if context.kind.is("apiextensions.k8s.io", "CustomResourceDefinition") && !already {
        custom_resources::terminate(&mut object, &at);
    }
    object
}

/// Whether objects of the kind are given time to end.
fn graceful(context: &Context<'_>) -> bool {
    context.kind.group.is_empty() && context.kind.kind == "Pod"
}

/// The seconds that the object may take to end.
fn grace(context: &Context<'_>, current: &Value, options: &DeleteOptions) -> i64 {
    if !graceful(context) {
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

/// Writes what is to become of the dependents into the finalizers: what is asked for, else what
/// stands there already, else what is usual for the kind.
fn set_finalizers(context: &Context<'_>, metadata: &mut gantry_json::Map, asked: Option<Propagation>) {
    let kind = context.kind;
    let mut finalizers: Vec<Value> =
        metadata.get("finalizers").and_then(Value::as_array).cloned().unwrap_or_default();
    let standing = finalizers.iter().find_map(|each| match each.as_str() {
        Some(ORPHAN) => Some(Propagation::Orphan),
        Some(FOREGROUND) => Some(Propagation::Foreground),
        _ => None,
    });
    let usual = || ORPHANING.contains(&(&*kind.group, &*kind.kind)).then_some(Propagation::Orphan);
    let wanted = match CHILDLESS.contains(&&*kind.kind) && kind.as_custom().is_none() {
        true => Propagation::Background,
        false => asked.or(standing).or_else(usual).unwrap_or(Propagation::Background),
    };
    finalizers.retain(|each| each != ORPHAN && each != FOREGROUND);
    match wanted {
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
