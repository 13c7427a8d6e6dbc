//! The pipeline: every request, from the network or this process, passes it once.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use futures::FutureExt;
use gantry_api::status::ApiError;
use gantry_json::Text;
use http::header::HeaderName;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use tokio::sync::SemaphorePermit;

use super::in_flight::Counted;
use super::listener::PeerCertificates;
use super::{deadline, endpoints};
use crate::audit::{Annotations, Record};
use crate::authn::{Impersonation, Notes};
use crate::body::Body;
use crate::fairness::{Flow, Seat, SentAway};
use crate::metrics::{Executing, Target};
use crate::negotiate::Output;
use crate::request::{Query, RequestInfo};
use crate::{
    ApiServer, Attributes, User, aggregation, authn, authz, respond, rest, trace, watch_socket, websocket,
};

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");
const FLOW_SCHEMA: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const PRIORITY_LEVEL: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");

impl ApiServer {
    /// Answers `request`. With an `identity` it counts as authenticated.
    pub async fn handle(&self, request: Request<Body>, identity: Option<Arc<User>>) -> Response<Body> {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        // They go through several hands, and are a quarter of a kilobyte.
        let parts = Box::new(parts);
        let query = Query::parse(parts.uri.query());
        let info = RequestInfo::parse(&parts.method, parts.uri.path(), &query);
        let target = Target::of(&self.registry.load(), &info, &query, &parts.headers);
        let audit_id = audit_id(&parts.headers);
        let head = parts.method == Method::HEAD;
        let output = Output::of_answers(&parts.headers, &query).unwrap_or(Output::JSON);
        let long_running = info.is_long_running();
        let mut audited = Audited::new(audit_id.clone());
        let answered =
            self.within_limits(&info, &query, &target, (parts, body), identity, &mut audited).await;
        let mut response = answered.unwrap_or_else(|error| respond::error(&error, output));
        let mut socket = audited.socket.take().filter(|_| response.status() == StatusCode::OK);
        if let Some(socket) = &mut socket {
            socket.answer(&mut response);
        }
        let headers = response.headers_mut();
        headers.insert(AUDIT_ID, audit_id);
        let fresh = HeaderValue::from_static("no-cache, private");
        headers.entry(http::header::CACHE_CONTROL).or_insert(fresh);
        if let Some(flow) = &audited.flow {
            for (name, uid) in [FLOW_SCHEMA, PRIORITY_LEVEL].into_iter().zip(flow.uids()) {
                if let Some(uid) = uid {
                    headers.insert(name, uid.clone());
                }
            }
        }
        if head {
            *response.body_mut() = Body::Empty;
        }
        respond::warn(&mut response, &audited.warnings);
        if let Some(mut record) = audited.record {
            record.annotate(&audited.annotations);
            response = record.answered(response, long_running, audited.panicked).await;
        }
        let took = (!long_running).then(|| started.elapsed());
        self.metrics.answered(target.clone(), response.status().as_u16(), took, response.body().len());
        if let Some(span) = &audited.span {
            span.answered(response.status(), response.body().len());
        }
        if long_running && matches!(response.body(), Body::Stream(_) | Body::Incoming(_) | Body::Held(..)) {
            let open = Box::new((self.metrics.stream(target), audited.span));
            response = response.map(|body| Body::Held(Box::new(body), open));
        }
        match socket {
            Some(socket) => socket.carry(response),
            None => response,
        }
    }

    /// Answers within the time that the request has; a fault of the server's own ends the request alone.
    async fn within_limits(
        &self,
        info: &RequestInfo,
        query: &Query,
        target: &Target,
        request: (Box<Parts>, Body),
        identity: Option<Arc<User>>,
        audited: &mut Audited,
    ) -> Result<Response<Body>, ApiError> {
        let answered = {
            // Pinned where it is made: to wrap it would be to move its kilobytes, once for each wrapper.
            let answer = pin!(self.answer(info, query, request, identity, audited));
            let answer = AssertUnwindSafe(answer).catch_unwind();
            if info.is_long_running() {
                answer.await
            } else {
                let time = deadline::of(query, self.config.limits.request)?;
                match tokio::time::timeout(time, answer).await {
                    Ok(answered) => answered,
                    Err(_) => {
                        self.metrics.terminated(target.clone(), 504);
                        return Err(deadline::exceeded());
                    }
                }
            }
        };
        answered.unwrap_or_else(|_| {
            self.metrics.panicked();
            audited.panicked = true;
            tracing::error!(path = %info.path, "a request ended in a panic");
            Err(ApiError::internal("this request caused the server to panic; its log says where"))
        })
    }

    async fn answer(
        &self,
        info: &RequestInfo,
        query: &Query,
        (parts, body): (Box<Parts>, Body),
        identity: Option<Arc<User>>,
        audited: &mut Audited,
    ) -> Result<Response<Body>, ApiError> {
        let received = SystemTime::now();
        let user = match identity {
            Some(user) => Ok(user),
            None => {
                let peers = parts.extensions.get::<PeerCertificates>().cloned().unwrap_or_default();
                self.authenticate(info, &parts, &peers, audited).await
            }
        };
        let (user, refused) = match user {
            Ok(user) => (user, None),
            Err(error) => (Arc::default(), Some(error)),
        };
        let attributes = attributes(info, query, user);
        if let Some(audit) = &self.audit {
            let now = jiff::Timestamp::now();
            let (id, nobody) = (&audited.id, refused.is_some());
            audited.record = Record::begin(audit, &attributes, info, &parts, id, now, nobody).await?;
        }
        if let Some(error) = refused {
            return Err(error);
        }
        self.metrics.access.user(&attributes.user.name);
        let span = self.trace(info, &parts, &body, &attributes.user, &audited.id, received);
        audited.span.clone_from(&span);
        let work = pin!(self.carry_out(info, query, attributes, (parts, body), audited));
        trace::within(span, work).await
    }

    async fn carry_out(
        &self,
        info: &RequestInfo,
        query: &Query,
        mut attributes: Attributes,
        (mut parts, mut body): (Box<Parts>, Body),
        audited: &mut Audited,
    ) -> Result<Response<Body>, ApiError> {
        let mutating = !matches!(info.verb, "get" | "list" | "watch" | "head");
        let wrong = |why| ApiError::internal(format!("Internal Server Error: {:?}: {why}", info.path));
        if let Some(asked) = authn::impersonate(&parts.headers).map_err(wrong)? {
            let allowed = Box::pin(self.may_impersonate(&attributes.user, &asked));
            trace::step("impersonation", Vec::new(), allowed).await?;
            attributes.user = Arc::new(asked.user);
            if let Some(record) = &mut audited.record {
                record.impersonated(&attributes.user);
            }
        }
        let _turn = match info.is_long_running() {
            true => None,
            false => {
                let turn = pin!(self.turn(&attributes, mutating, audited));
                Some(trace::step("priorityandfairness", Vec::new(), turn).await?)
            }
        };
        let started = Instant::now();
        let decision = {
            let deciding = pin!(self.authorizer.authorize(&attributes));
            trace::step("authorization", Vec::new(), deciding).await
        };
        self.metrics.access.authorized(decision.word(), started.elapsed());
        if let Some(record) = &mut audited.record {
            record.decided(&decision);
            if record.keeps_answer() {
                // What is kept of the answer is read from it.
                parts.headers.remove(http::header::ACCEPT_ENCODING);
            }
        }
        allowed(&attributes, &decision)?;
        if let Some(record) = audited.record.as_mut().filter(|record| record.keeps_request() && mutating)
            && !info.is_long_running()
        {
            let bytes = rest::read_body(body).await?;
            record.requested(&parts.headers, &bytes);
            body = bytes.into();
        }
        if let Some(record) = &audited.record {
            parts.extensions.insert(audited.annotations.keeping(record.keeps_request()));
        }
        let mut request = Request::from_parts(*parts, body);
        // The work itself is on the heap, as is all that few requests need: what is around it is moved
        // several times, and stays with each connection while it waits for a request.
        if let Some(service) = self.aggregation.route(info) {
            request.headers_mut().insert(AUDIT_ID, audited.id.clone());
            let forwarded = aggregation::forward::serve(self, &service, &attributes.user, request);
            return Ok(Box::pin(forwarded).await);
        }
        if info.verb == "watch" && websocket::is_asked(request.headers()) {
            audited.socket = Some(Box::new(watch_socket::Client::take(&mut request)));
        }
        if info.is_resource {
            Box::pin(rest::serve(self, info, query, &attributes.user, request)).await
        } else {
            Box::pin(endpoints::serve(self, info, query, request)).await
        }
    }
}

/// A request's right to be carried out, as long as it lives.
struct Turn<'a> {
    _counted: Counted<'a>,
    _permit: Option<SemaphorePermit<'a>>,
    _executing: Option<Executing>,
    _seat: Option<Seat>,
}

impl ApiServer {
    /// Waits for the turn of a request, by its flow where there is fairness.
    async fn turn(
        &self,
        attributes: &Attributes,
        mutating: bool,
        audited: &mut Audited,
    ) -> Result<Turn<'_>, ApiError> {
        let mut turn = (None, None, None);
        match &self.fairness {
            None => turn.0 = self.in_flight.turn(mutating, &attributes.user).await?,
            Some(fairness) => {
                let flow = fairness.flow(attributes);
                let counted = &self.metrics.flow_control;
                let meters = flow.meters(|| {
                    let (schema, level) = flow.names();
                    counted.meters(schema, level)
                });
                let seat = fairness.seat(&flow, attributes, &meters).await;
                if let Err(sent_away) = &seat {
                    let (schema, level) = flow.names();
                    counted.refused(schema, level, sent_away.reason, sent_away.waited);
                }
                audited.flow = Some(flow);
                turn.1 = seat.map_err(SentAway::error)?;
                turn.2 = Some(meters.execute());
            }
        }
        Ok(Turn {
            _counted: self.in_flight.count(mutating),
            _permit: turn.0,
            _seat: turn.1,
            _executing: turn.2,
        })
    }
}

/// What is known of a request beside its answer.
struct Audited {
    id: HeaderValue,
    annotations: Annotations,
    /// What the client is told of its credentials.
    warnings: Vec<String>,
    flow: Option<Flow>,
    /// The connection that a watch's events are messages on.
    socket: Option<Box<watch_socket::Client>>,
    record: Option<Record>,
    span: Option<trace::Span>,
    panicked: bool,
}

impl Audited {
    fn new(id: HeaderValue) -> Self {
        Self {
            id,
            annotations: Annotations::default(),
            warnings: Vec::new(),
            flow: None,
            socket: None,
            record: None,
            span: None,
            panicked: false,
        }
    }
}

impl ApiServer {
    /// The span of a request that was received then.
    fn trace(
        &self,
        info: &RequestInfo,
        parts: &Parts,
        body: &Body,
        user: &User,
        audit_id: &HeaderValue,
        received: SystemTime,
    ) -> Option<trace::Span> {
        // What a server does for itself before it is ready is nobody's request.
        let tracer = self.tracer.as_ref().filter(|_| self.is_ready() || !parts.extensions.is_empty());
        let arrival = trace::Arrival { headers: &parts.headers, user, audit_id, received };
        let span = trace::begin(tracer, &arrival, || {
            (trace::name(&parts.method, info), trace::arrived(parts, info, body.len(), audit_id))
        })?;
        span.ended("authentication", received);
        Some(span)
    }

    async fn authenticate(
        &self,
        info: &RequestInfo,
        parts: &Parts,
        peers: &PeerCertificates,
        audited: &mut Audited,
    ) -> Result<Arc<User>, ApiError> {
        let now = jiff::Timestamp::now().as_second();
        let (started, mut known, mut notes) = (Instant::now(), "success", Notes::default());
        let snapshot = self.store.snapshot();
        let user = self.authenticators.authenticate(parts, peers, &snapshot, now, &mut notes).await;
        drop(snapshot);
        if let Some(used) = &notes.used {
            self.note_use(used).await;
        }
        audited.annotations.extend(notes.annotations);
        audited.warnings = notes.warnings;
        let user = user.and_then(|user| match user {
            Some(user) => Ok(user),
            None => {
                known = "failure";
                self.authenticators.anonymous(&info.path).map(Arc::new)
            }
        });
        if user.is_err() {
            known = "error";
        }
        self.metrics.access.authenticated(known, started.elapsed());
        user.map_err(|error| {
            tracing::debug!(%error, path = %info.path, "unauthorized");
            ApiError::unauthorized()
        })
    }

    /// A 403 where `user` may not be what is `asked`.
    async fn may_impersonate(&self, user: &User, asked: &Impersonation) -> Result<(), ApiError> {
        for question in asked.questions(user) {
            self.authorize(&question).await?;
        }
        Ok(())
    }

    /// A 403 where `attributes` are not allowed.
    pub(crate) async fn authorize(&self, attributes: &Attributes) -> Result<(), ApiError> {
        allowed(attributes, &self.authorizer.authorize(attributes).await)
    }
}

fn allowed(attributes: &Attributes, decision: &authz::Decision) -> Result<(), ApiError> {
    if decision.is_allowed() {
        return Ok(());
    }
    if let authz::Decision::Failed { error, .. } = decision {
        return Err(ApiError::internal(format!("Internal Server Error: {:?}: {error}", attributes.path)));
    }
    let mut error = ApiError::forbidden(&attributes.group, &attributes.resource, &attributes.name, "");
    error.message = authz::forbidden_message(attributes, decision.reason());
    Err(error)
}

/// The client's audit id where it gave a usable one, or a new one.
fn audit_id(headers: &HeaderMap) -> HeaderValue {
    let given = headers.get(&AUDIT_ID).filter(|value| !value.is_empty() && value.len() <= 64);
    given.cloned().unwrap_or_else(|| {
        let mut buffer = [0; uuid::fmt::Hyphenated::LENGTH];
        let text = uuid::Uuid::new_v4().hyphenated().encode_lower(&mut buffer);
        HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("unknown"))
    })
}

/// The one name that is selected, or nothing: who may read one object may also list and watch it alone.
fn only_name(query: &Query) -> &str {
    let mut terms = query.filled("fieldSelector").unwrap_or_default().split(',');
    let name = terms.find_map(|term| term.strip_prefix("metadata.name=")).unwrap_or_default();
    let name = name.strip_prefix('=').unwrap_or(name);
    // What can be in no path names nothing.
    let segment = !matches!(name, "." | "..") && !name.contains(['/', '%']);
    if segment { name } else { "" }
}

fn attributes(info: &RequestInfo, query: &Query, user: Arc<User>) -> Attributes {
    let read = matches!(info.verb, "list" | "watch");
    let selected = read || info.verb == "deletecollection";
    let name = match info.name.is_empty() && read {
        true => only_name(query).into(),
        false => info.name.clone(),
    };
    let selector = |name: &str| Text::new(if selected { query.get(name).unwrap_or_default() } else { "" });
    Attributes {
        user,
        verb: Text::new_static(info.verb),
        group: info.group.clone(),
        version: info.version.clone(),
        resource: info.resource.clone(),
        subresource: info.subresource.clone(),
        namespace: info.namespace.clone(),
        name,
        path: info.path.clone(),
        is_resource: info.is_resource,
        field_selector: selector("fieldSelector"),
        label_selector: selector("labelSelector"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_selected_is_asked_for() {
        let check = |method: Method, query: &str, expect: [&str; 3]| {
            let query = Query::parse(Some(query));
            let info = RequestInfo::parse(&method, "/api/v1/namespaces/n/pods", &query);
            let seen = attributes(&info, &query, Arc::default());
            assert_eq!([&*seen.verb, &seen.name, &seen.field_selector], expect);
        };
        let one = "metadata.name=a";
        check(Method::GET, "fieldSelector=metadata.name%3Da", ["list", "a", one]);
        check(
            Method::GET,
            "watch=1&fieldSelector=x%3Dy,metadata.name%3D%3Da",
            ["watch", "a", "x=y,metadata.name==a"],
        );
        check(Method::GET, "fieldSelector=metadata.name!%3Da", ["list", "", "metadata.name!=a"]);
        check(Method::GET, "fieldSelector=metadata.name%3Da/b", ["list", "", "metadata.name=a/b"]);
        check(Method::GET, "fieldSelector=metadata.name%3D..", ["list", "", "metadata.name=.."]);
        check(Method::GET, "", ["list", "", ""]);
        // Who may delete one object may not delete a collection.
        check(Method::DELETE, "fieldSelector=metadata.name%3Da", ["deletecollection", "", one]);
    }
}
