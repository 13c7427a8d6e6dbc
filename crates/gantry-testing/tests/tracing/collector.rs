//! A collector of traces, which takes them by OTLP over gRPC.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use anyhow::Result;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

#[derive(Clone, PartialEq, prost::Message)]
struct Export {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Exported {}

#[derive(Clone, PartialEq, prost::Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ScopeSpans {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

/// A span as it arrived.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Span {
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    pub trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    pub parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    pub name: String,
    /// 1: within the server, 2: a request that it answers, 3: one that it sends.
    #[prost(int32, tag = "6")]
    pub kind: i32,
    #[prost(fixed64, tag = "7")]
    pub start: u64,
    #[prost(fixed64, tag = "8")]
    pub end: u64,
    #[prost(message, repeated, tag = "9")]
    pub attributes: Vec<KeyValue>,
    #[prost(message, repeated, tag = "11")]
    pub events: Vec<Event>,
    #[prost(message, repeated, tag = "13")]
    pub links: Vec<Link>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Event {
    #[prost(string, tag = "2")]
    pub name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Link {
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AnyValue {
    #[prost(string, optional, tag = "1")]
    string: Option<String>,
    #[prost(int64, optional, tag = "3")]
    int: Option<i64>,
}

fn value(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|each| each.key == key).and_then(|each| each.value.clone());
    let text = found.and_then(|value| value.string.or(value.int.map(|int| int.to_string())));
    text.unwrap_or_default()
}

impl Span {
    /// What is said of it under `key`, as text.
    pub fn said(&self, key: &str) -> String {
        value(&self.attributes, key)
    }

    /// What happened during it.
    pub fn events(&self) -> Vec<&str> {
        self.events.iter().map(|event| &*event.name).collect()
    }
}

/// A running collector; it stops when this is dropped.
pub struct Collector {
    /// Where it listens.
    pub endpoint: String,
    received: Received,
    _serving: AbortOnDropHandle<()>,
}

type Received = Arc<Mutex<Vec<ResourceSpans>>>;

impl Collector {
    /// Starts a collector on the loopback.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = listener.local_addr()?.to_string();
        let received = Received::default();
        let serving = tonic::transport::Server::builder()
            .add_service(TraceService(received.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let serving = tokio::spawn(async move { serving.await.expect("the collector serves") });
        Ok(Self { endpoint, received, _serving: AbortOnDropHandle::new(serving) })
    }

    /// All spans that have arrived. They have to come from an API server.
    pub fn spans(&self) -> Vec<Span> {
        let received = self.received.lock().expect("no test panics while it holds it").clone();
        let of = |each: ResourceSpans| {
            let attributes = each.resource.unwrap_or_default().attributes;
            assert_eq!(value(&attributes, "service.name"), "apiserver");
            assert!(value(&attributes, "service.instance.id").starts_with("apiserver-"));
            each.scope_spans.into_iter().flat_map(|scope| scope.spans)
        };
        received.into_iter().flat_map(of).collect()
    }
}

#[derive(Clone)]
struct TraceService(Received);

impl NamedService for TraceService {
    const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
}

impl UnaryService<Export> for TraceService {
    type Response = Exported;
    type Future = std::future::Ready<Result<Response<Exported>, Status>>;

    fn call(&mut self, request: Request<Export>) -> Self::Future {
        let spans = request.into_inner().resource_spans;
        self.0.lock().expect("no test panics while it holds it").extend(spans);
        std::future::ready(Ok(Response::new(Exported {})))
    }
}

impl Service<http::Request<Body>> for TraceService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        assert_eq!(request.uri().path(), "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
        let service = self.clone();
        Box::pin(async move {
            let codec = ProstCodec::<Exported, Export>::default();
            Ok(Grpc::new(codec).unary(service, request).await)
        })
    }
}
