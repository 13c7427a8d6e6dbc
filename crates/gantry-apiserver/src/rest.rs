//! The REST verbs on resources.

mod admit;
mod body;
mod charged;
mod collection;
mod component_status;
mod continuation;
mod create;
mod delete;
mod deprecation;
mod encoded;
mod eviction;
mod expressions;
mod filter;
mod list;
mod options;
mod patch;
mod precondition;
mod preparation;
mod resize;
mod review;
mod scale;
mod shape;
mod subresource;
mod update;
mod watch;
mod write_options;

use std::sync::Arc;

use gantry_api::protobuf;
use gantry_api::registry::{Kind, Registry};
use gantry_api::status::{ApiError, Details};
use gantry_json::Value;
use gantry_store::Entry;
use http::{Request, Response, StatusCode};

use crate::audit::Annotations;
use crate::body::Body;
use crate::negotiate::{ACCEPTED, Encoding, Output, STREAMED, Shape};
use crate::request::{Query, RequestInfo};
use crate::server::Unmanaged;
use crate::{ApiServer, User, respond, storage, trace};

pub(crate) use body::read as read_body;
pub(crate) use encoded::Encoded;
use options::ListOptions;
pub(crate) use preparation::now;
pub(crate) use review::user_info;

/// One request on its way through the verbs.
pub(crate) struct Context<'a> {
    pub server: &'a ApiServer,
    pub info: &'a RequestInfo,
    pub query: &'a Query,
    pub user: &'a User,
    /// The kinds, as they are for this request.
    pub registry: &'a Registry,
    pub kind: &'a Arc<Kind>,
    pub output: Output,
    /// Whether a new object came without a name.
    pub unnamed: bool,
    /// What the client should be told beside the answer.
    pub warnings: Vec<String>,
    /// What is noted with the request's audit events, where it has any.
    pub annotations: Option<&'a Annotations>,
}

impl Context<'_> {
    /// The store's key of the object that the path names.
    fn key(&self) -> String {
        self.key_of(&self.info.name)
    }

    fn key_of(&self, name: &str) -> String {
        storage::key(&storage::prefix_of(self.kind), self.namespace(), name)
    }

    /// The namespace of the object; empty for kinds without one, Namespaces among them.
    fn namespace(&self) -> &str {
        if self.kind.namespaced { &self.info.namespace } else { "" }
    }

    fn not_found(&self) -> ApiError {
        ApiError::not_found(&self.kind.group, &self.kind.plural, &self.info.name)
    }

    /// Whether the object that the path names is stored.
    fn exists(&self) -> bool {
        self.server.store.snapshot().get(&self.key()).is_some()
    }

    /// The stored object that the path names, as the kind shows it.
    async fn current(&self) -> Result<Arc<Entry>, ApiError> {
        self.stored(&self.key()).await?.ok_or_else(|| self.not_found())
    }

    /// The stored object under `key`, as the kind shows it.
    async fn stored(&self, key: &str) -> Result<Option<Arc<Entry>>, ApiError> {
        let Some(entry) = self.server.store.snapshot().get(key).cloned() else { return Ok(None) };
        self.server.custom.converter.entry(self.kind, entry).await.map(Some)
    }

    /// Whether the object is stored in another version than it would be stored in now.
    fn is_outdated(&self, key: &str) -> bool {
        let Some(custom) = self.kind.as_custom() else { return false };
        let snapshot = self.server.store.snapshot();
        snapshot.get(key).is_some_and(|entry| !custom.definition.storage().is_form_of(&entry.value))
    }

    /// Has the audit show the object that was sent as it was understood, with its defaults.
    fn audit_requested(&self, object: &Value) {
        let understood = || {
            let mut object = object.clone();
            self.kind.default(&mut object);
            object
        };
        if let Some(audit) = self.annotations {
            audit.requested(object, understood);
        }
    }

    /// The bytes of an object, as they are stored.
    async fn encode(&self, object: &Value) -> Result<Vec<u8>, ApiError> {
        self.server.custom.converter.encode(self.kind, object).await
    }

    /// An entry, shaped as the client asked.
    fn entry(&self, code: StatusCode, entry: &Entry) -> Result<Response<Body>, ApiError> {
        Ok(match self.output.shape {
            Shape::Object if self.kind.stored.is_none() && self.output.encoding == Encoding::Protobuf => {
                let (api_version, kind) = (self.kind.api_version(), &self.kind.kind);
                let message = protobuf::message(self.kind.schema, &entry.value);
                respond::protobuf(
                    code,
                    message.map(|message| protobuf::document(&api_version, kind, &message)),
                )
            }
            Shape::Object if self.kind.stored.is_none() => {
                respond::stored(code, entry.value.clone(), self.output)
            }
            _ => return self.object(code, list::value(self.kind, entry).unwrap_or_default()),
        })
    }

    /// An object, shaped as the client asked.
    fn object(&self, code: StatusCode, object: Value) -> Result<Response<Body>, ApiError> {
        shape::check(self.kind, false, self.output, self.query)?;
        let shaped = shape::object(self.kind, object, self.output, self.query);
        Ok(respond::json(code, &shaped, self.output))
    }
}

/// Whether the path, right as it is, does not have the request's method: a collection is not
/// changed, an object not created under its path, and nothing is written in all namespaces.
fn lacks_method(kind: &Kind, info: &RequestInfo) -> bool {
    let everywhere = kind.namespaced && info.namespace.is_empty();
    let own = info.subresource.is_empty();
    match info.verb {
        "" => true,
        "create" => own && (!info.name.is_empty() || everywhere),
        "update" | "patch" => info.name.is_empty(),
        "deletecollection" => everywhere,
        _ => false,
    }
}

/// Serves a request for a resource.
pub(crate) async fn serve(
    server: &ApiServer,
    info: &RequestInfo,
    query: &Query,
    user: &User,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let registry = server.registry.load_full();
    let step = step(info);
    let facts = trace::facts(|audit_id| trace::verb(&request, info, audit_id));
    if let Some(answer) = review::find(info) {
        let work = Box::pin(review::serve(server, &registry, answer, info, query, user, request));
        return trace::step(step, facts, work).await;
    }
    let kind =
        registry.lookup(&info.group, &info.version, &info.resource).ok_or_else(ApiError::no_such_resource)?;
    if kind.namespaced && info.namespace.is_empty() && !info.name.is_empty() && info.verb != "watch" {
        return Err(ApiError::no_such_resource());
    }
    if !kind.namespaced && !info.namespace.is_empty() && kind.plural != "namespaces" {
        return Err(ApiError::no_such_resource());
    }
    if lacks_method(kind, info) && info.subresource != "proxy" {
        return Err(ApiError::method_not_allowed());
    }
    let raw = matches!(info.subresource.as_str(), "log" | "exec" | "attach" | "portforward" | "proxy");
    let asked =
        matches!(info.subresource.as_str(), "binding" | "eviction" | "token") || kind.is("", "Binding");
    let negotiated = match asked {
        true => Output::of_answers(request.headers(), query),
        false => Output::negotiate(request.headers(), query),
    };
    let output = match negotiated {
        Some(output) => output,
        None if raw => Output::JSON,
        None => {
            return Err(ApiError::not_acceptable(&ACCEPTED));
        }
    };
    let output = match output {
        // Custom resources have no protobuf form; their metadata has.
        Output { encoding: Encoding::Protobuf, shape: Shape::Object, .. } if kind.as_custom().is_some() => {
            let other = Output::without_protobuf(request.headers(), query);
            other.ok_or_else(|| ApiError::not_acceptable(&ACCEPTED))?
        }
        output => output,
    };
    if info.verb == "watch" && output.encoding == Encoding::Yaml {
        return Err(ApiError::not_acceptable(&STREAMED));
    }
    let annotations = request.extensions().get::<Annotations>().cloned();
    let annotations = annotations.as_ref();
    let mut context = Context {
        server,
        info,
        query,
        user,
        registry: &registry,
        kind,
        output,
        unnamed: false,
        warnings: Vec::new(),
        annotations,
    };
    let result = trace::step(step, facts, dispatch(&mut context, request)).await;
    let mut response = match result {
        // Who is refused is warned as well.
        Err(error) if !context.warnings.is_empty() => respond::error(&error, output),
        result => result?,
    };
    respond::warn(&mut response, &context.warnings);
    Ok(if output.gzip { respond::compress(response) } else { response })
}

/// The audit identifier, as a fact.
fn audited(id: &http::HeaderValue) -> trace::Fact {
    trace::text("audit-id", id.to_str().unwrap_or_default())
}

/// A kind's resource, as traces name it.
fn resource(kind: &Kind) -> String {
    match &*kind.group {
        "" => kind.plural.to_string(),
        group => format!("{}.{group}", kind.plural),
    }
}

/// What traces call the verb of a request; `None`: it goes on for as long as its client wants.
fn step(info: &RequestInfo) -> Option<&'static str> {
    match info.verb {
        _ if info.is_long_running() => None,
        "get" => Some("Get"),
        "list" => Some("List"),
        "create" => Some("Create"),
        "update" => Some("Update"),
        "patch" => Some("Patch"),
        "delete" | "deletecollection" => Some("Delete"),
        _ => None,
    }
}

async fn dispatch(context: &mut Context<'_>, request: Request<Body>) -> Result<Response<Body>, ApiError> {
    let info = context.info;
    deprecation::tell(context);
    if !info.subresource.is_empty() {
        return Box::pin(subresource::serve(context, request)).await;
    }
    match context.kind.as_custom() {
        // Objects of a kind that goes may be changed until they have gone.
        Some(custom) if custom.definition.terminating && info.verb == "create" => {
            let mut error = ApiError::method_not_allowed();
            let (group, kind) = (context.kind.group.to_string(), context.kind.plural.to_string());
            error.details = Some(Box::new(Details { group, kind, ..Details::default() }));
            error.message = "create not allowed while custom resource definition is terminating".to_owned();
            return Err(error);
        }
        None if !context.kind.verbs.contains(&info.verb) => return Err(ApiError::method_not_allowed()),
        _ => {}
    }
    match (info.verb, &*context.kind.plural) {
        ("get" | "list", "componentstatuses") => return component_status::serve(context),
        ("create", "bindings") => return Box::pin(subresource::bind_named(context, request)).await,
        _ => {}
    }
    match info.verb {
        "get" => {
            if let Some(text) = context.query.filled("resourceVersion") {
                let version = text.parse().map_err(|_| options::invalid_version(text))?;
                if version > context.server.store.revision() {
                    list::reach(&context.server.store, version).await?;
                }
            }
            trace::event("About to Get from storage");
            let facts = trace::facts(|id| vec![audited(id), trace::text("key", context.key())]);
            let current = trace::step("cacher.Get", facts, context.current()).await?;
            trace::event("About to write a response");
            context.entry(StatusCode::OK, &current)
        }
        "list" => {
            let options = ListOptions::parse(context.query, false)?;
            let filter = filter::Filter::parse(context.kind, context.query, &info.name)?;
            trace::event("About to List from storage");
            let facts = trace::facts(|id| vec![audited(id), trace::text("type", resource(context.kind))]);
            let page =
                Box::pin(list::page(context.server, context.kind, context.namespace(), &options, &filter));
            let page = trace::step("cacher list", facts, page).await;
            trace::event("Listing from storage done");
            match page {
                Ok(page) => list::respond(context, page),
                Err(error) => list::restart(&options, error),
            }
        }
        "watch" => {
            let options = ListOptions::parse(context.query, true)?;
            shape::check_options(context.output, context.query)?;
            let request = watch::Request {
                kind: context.kind.clone(),
                namespace: context.namespace().to_owned(),
                filter: filter::Filter::parse(context.kind, context.query, &info.name)?,
                options,
                output: context.output,
                query: context.query.clone(),
                unmanaged: request.extensions().get::<Unmanaged>().is_some(),
            };
            // A watch is not compressed: its events must not wait in a window.
            context.output.gzip = false;
            let (server, kind) = (context.server, context.kind);
            let sent = server.metrics.watch_events(kind);
            let ended = server.custom.ended(kind);
            Box::pin(watch::respond(server, request, ended, sent)).await
        }
        "create" => Box::pin(create::serve(context, request)).await,
        "update" => Box::pin(update::serve(context, request)).await,
        "patch" => Box::pin(patch::serve(context, request)).await,
        "delete" => Box::pin(delete::serve(context, request)).await,
        "deletecollection" => Box::pin(collection::serve(context, request)).await,
        _ => Err(ApiError::method_not_allowed()),
    }
}
