//! CREATE: a new object, under its own or a generated name.

use std::time::Duration;

use gantry_api::status::ApiError;
use gantry_json::Value;
use gantry_store::Error;
use http::header::USER_AGENT;
use http::{HeaderMap, Request, Response, StatusCode};

use super::admit::Operation;
use super::charged::Write;
use super::precondition::MODIFIED;
use super::preparation::{clear_system, fill_new, generate_name, meta_text};
use super::update::Failure;
use super::{Context, body, expressions};
use crate::body::Body;
use crate::services::Claim;
use crate::{respond, trace};

/// How long an Event is kept.
pub(crate) const EVENT_TTL: Duration = Duration::from_secs(3600);
/// How many generated names are tried.
const NAMES: usize = 8;
/// How often a Service gets other addresses because somebody else was quicker.
const ATTEMPTS: usize = 32;

pub(super) fn user_agent(headers: &HeaderMap) -> String {
    headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

pub(super) async fn serve(
    context: &mut Context<'_>,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let format = body::format(request.headers())?;
    context.check_options("CreateOptions")?;
    let manager = context.field_manager(&user_agent(request.headers()));
    let bytes = body::read(request.into_body()).await?;
    trace::event("limitedReadBody succeeded");
    let object = context.decode(&bytes, format)?;
    trace::event("Conversion done");
    context.audit_requested(&object);
    if !meta_text(&object, "resourceVersion").is_empty() {
        return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
    }
    trace::event("About to store object in database");
    let stored = insert(context, object, Manage::Update(&manager)).await?;
    trace::event("Write to database call succeeded");
    answer(context, StatusCode::CREATED, stored).await
}

/// How a new object's fields are attributed.
pub(super) enum Manage<'a> {
    /// To this manager, as by an update.
    Update(&'a str),
    /// They already are.
    Done,
}

/// What a write left behind: stored bytes, or the object of a dry run.
pub(super) enum Written {
    Stored(std::sync::Arc<gantry_store::Entry>),
    Dry(Value),
}

/// The answer that shows what was written.
pub(super) async fn answer(
    context: &Context<'_>,
    code: StatusCode,
    written: Written,
) -> Result<Response<Body>, ApiError> {
    match written {
        Written::Stored(entry) => {
            context.entry(code, &*context.server.custom.converter.entry(context.kind, entry).await?)
        }
        Written::Dry(object) => context.object(code, object),
    }
}

/// Prepares, admits, checks and stores a new object.
pub(super) async fn insert(
    context: &mut Context<'_>,
    mut object: Value,
    manage: Manage<'_>,
) -> Result<Written, ApiError> {
    let dry_run = context.dry_run();
    let kind = context.kind;
    context.place(&mut object, "")?;
    context.unnamed = meta_text(&object, "name").is_empty();
    let managed = object["metadata"].get("managedFields").cloned();
    clear_system(&mut object);
    kind.default(&mut object);
    // What admission and the server add from here on is nobody's.
    match manage {
        Manage::Update(manager) => context.manage(&Value::Null, &mut object, manager),
        Manage::Done => {
            if let Some(managed) = managed {
                object["metadata"]["managedFields"] = managed;
            }
        }
    }
    if kind.is("", "Pod") {
        context.server.admission.wait_for_account(context.namespace(), &object, &context.server.store).await;
    }
    context.mutate(Operation::Create, &mut object, None, dry_run).await?;
    let generated = meta_text(&object, "name").is_empty();
    fill_new(kind, &mut object);
    context.warnings.extend(kind.prepare_create(&mut object));
    context.registry.drop_gated(kind, &mut object, None);
    // Only Services can lose what they were given to somebody else.
    let again = kind.is("", "Service").then(|| object.clone());
    let warned = context.warnings.len();
    for _ in 0..ATTEMPTS {
        let claim = context.server.services.claim(kind, &mut object, None)?;
        match finish(context, object, claim.as_ref(), generated, dry_run).await {
            Ok(written) => return Ok(written),
            Err(Failure::Api(error)) => return Err(*error),
            Err(Failure::Raced) => {}
        }
        context.warnings.truncate(warned);
        object = again.clone().unwrap_or_default();
    }
    Err(context.conflict(MODIFIED))
}

async fn finish(
    context: &mut Context<'_>,
    mut object: Value,
    claim: Option<&Claim>,
    generated: bool,
    dry_run: bool,
) -> Result<Written, Failure> {
    let kind = context.kind;
    let mut errors = gantry_api::rules::metadata::validate(kind, &object);
    errors.extend(kind.validate(&object));
    errors.extend(kind.validate_create(&object));
    expressions::validate(kind, &object, None, &mut errors);
    if !errors.is_empty() {
        return Err(ApiError::invalid(&kind.group, &kind.kind, meta_text(&object, "name"), &errors).into());
    }
    context.warnings.extend(kind.warnings(&object, None));
    context.validate(Operation::Create, &mut object, None, dry_run).await?;
    let ttl = (kind.kind == "Event" && kind.as_custom().is_none()).then_some(EVENT_TTL);
    if dry_run {
        context.charge(Operation::Create, &mut object, None)?;
        let name = meta_text(&object, "name");
        if context.server.store.snapshot().get(&context.key_of(name)).is_some() {
            return Err(ApiError::already_exists(&kind.group, &kind.plural, name).into());
        }
        return Ok(Written::Dry(object));
    }
    for attempt in 1.. {
        let bytes = context.encode(&object).await?;
        let again = generated && attempt < NAMES;
        let name = meta_text(&object, "name").to_owned();
        let key = context.key_of(&name);
        let write = Write::Create { key: &key, ttl };
        match context.write_charged(write, bytes, &mut object, again, None, claim).await? {
            Ok(entry) => return Ok(Written::Stored(entry)),
            // An address was given to somebody else.
            Err(Error::Exists { key: taken, .. }) if *taken != *key => return Err(Failure::Raced),
            Err(Error::Exists { .. }) if again => {
                let name = generate_name(meta_text(&object, "generateName"));
                object["metadata"]["name"] = name.into();
            }
            Err(Error::Exists { .. }) => {
                return Err(ApiError::already_exists(&kind.group, &kind.plural, &name).into());
            }
            Err(error) => return Err(respond::storage_error(&error).into()),
        }
    }
    unreachable!("the last attempt returns")
}
