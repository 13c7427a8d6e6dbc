//! Spans on their way to the collector: a bounded queue, and batches out of it.
//!
//! Guarantees: a request never waits for the collector; what does not fit into the queue is dropped and
//! counted; while nothing waits there is no timer. What waits when the server stops is sent once more.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint as Transport, Uri};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::endpoint::Endpoint;
use super::otlp::{
    ExportTraceServiceRequest, ExportTraceServiceResponse, InstrumentationScope, Resource, ResourceSpans,
    ScopeSpans, Span,
};
use crate::Error;

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// How many spans may wait.
const QUEUE: usize = 2048;
/// How many spans are sent at once.
const BATCH: usize = 512;
/// How long a span waits for others.
const DELAY: Duration = Duration::from_secs(5);
/// How long a collector has for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long after a failure the next attempt is made; each time half as much longer.
const PAUSE: Duration = Duration::from_secs(5);
/// How long a batch is tried.
const TRIED: Duration = Duration::from_secs(60);
/// How long the last spans may take when the server stops.
const FAREWELL: Duration = Duration::from_secs(5);

/// The spans that wait, and who sends them.
pub(super) struct Exporter {
    waiting: mpsc::Sender<Span>,
    arriving: Mutex<mpsc::Receiver<Span>>,
    dropped: AtomicU64,
    transport: Transport,
    endpoint: Endpoint,
    resource: Resource,
}

impl Exporter {
    /// An exporter of the spans of `resource`.
    pub fn new(endpoint: Endpoint, resource: Resource) -> Result<Self, Error> {
        let transport = Transport::from_shared(format!("http://{}", endpoint.authority()))
            .map_err(|cause| Error::config("tracing endpoint", cause))?;
        let (waiting, arriving) = mpsc::channel(QUEUE);
        let (arriving, dropped) = (Mutex::new(arriving), AtomicU64::new(0));
        Ok(Self { waiting, arriving, dropped, transport, endpoint, resource })
    }

    /// Takes a span that has ended.
    pub fn push(&self, span: Span) {
        if self.waiting.try_send(span).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends batches until `stopping`, and then what waits.
    pub async fn run(&self, stopping: &CancellationToken) {
        let mut arriving = self.arriving.lock().await;
        let endpoint = self.endpoint.clone();
        let connector = tower::service_fn(move |_: Uri| {
            let endpoint = endpoint.clone();
            async move { endpoint.connect().await.map(TokioIo::new) }
        });
        let channel = self.transport.connect_with_connector_lazy(connector);
        let sending = async {
            while let Some(batch) = gather(&mut arriving, stopping).await {
                self.send(&channel, batch, stopping).await;
                let dropped = self.dropped.swap(0, Ordering::Relaxed);
                if dropped > 0 {
                    tracing::warn!(dropped, "there were more spans than could be sent");
                }
            }
        };
        let late = async {
            stopping.cancelled().await;
            tokio::time::sleep(FAREWELL).await;
        };
        tokio::select! {
            () = sending => {}
            () = late => tracing::warn!("the last spans could not be sent in time"),
        }
    }

    /// Sends a batch; again, while the collector may have better luck with it later.
    async fn send(&self, channel: &Channel, batch: Vec<Span>, stopping: &CancellationToken) {
        let spans = batch.len();
        let scope = InstrumentationScope {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.resource.clone()),
                scope_spans: vec![ScopeSpans { scope: Some(scope), spans: batch }],
            }],
        };
        let begun = Instant::now();
        let mut pause = PAUSE;
        loop {
            let error = match export(channel.clone(), request.clone()).await {
                Ok(answer) => {
                    let refused = answer.partial_success.filter(|refused| refused.rejected_spans > 0);
                    if let Some(refused) = refused {
                        let (spans, error) = (refused.rejected_spans, refused.error_message);
                        tracing::warn!(spans, error, "the collector did not take all spans");
                    }
                    return;
                }
                Err(error) => error,
            };
            // A server that stops tries once.
            if stopping.is_cancelled() || begun.elapsed() + pause > TRIED || !is_passing(error.code()) {
                tracing::warn!(error = error.message(), spans, "spans could not be sent");
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stopping.cancelled() => {}
            }
            pause = pause.mul_f64(1.5);
        }
    }
}

/// The spans that are sent next; `None`: the server has stopped and nothing waits.
async fn gather(arriving: &mut mpsc::Receiver<Span>, stopping: &CancellationToken) -> Option<Vec<Span>> {
    let mut batch = Vec::new();
    if !stopping.is_cancelled() {
        tokio::select! {
            span = arriving.recv() => batch.push(span?),
            () = stopping.cancelled() => {}
        }
        let full = async {
            while batch.len() < BATCH {
                let Some(span) = arriving.recv().await else { return };
                batch.push(span);
            }
        };
        tokio::select! {
            () = full => {}
            // Only while spans wait.
            () = tokio::time::sleep(DELAY) => {}
            () = stopping.cancelled() => {}
        }
    }
    while batch.len() < BATCH
        && let Ok(span) = arriving.try_recv()
    {
        batch.push(span);
    }
    (!batch.is_empty()).then_some(batch)
}

async fn export(
    channel: Channel,
    request: ExportTraceServiceRequest,
) -> Result<ExportTraceServiceResponse, Status> {
    let call = async {
        let mut grpc = Grpc::new(channel);
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let codec = ProstCodec::<ExportTraceServiceRequest, ExportTraceServiceResponse>::default();
        grpc.unary(Request::new(request), PathAndQuery::from_static(EXPORT), codec).await
    };
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(answer) => answer.map(tonic::Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded(format!("no answer within {PATIENCE:?}"))),
    }
}

/// Whether the same spans may be taken later, as OTLP has it.
fn is_passing(code: Code) -> bool {
    matches!(
        code,
        Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(name: usize) -> Span {
        Span { name: name.to_string(), ..Span::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_what_comes_in_time() {
        let (waiting, mut arriving) = mpsc::channel(QUEUE);
        let stopping = CancellationToken::new();
        let begun = Instant::now();
        let late = tokio::spawn({
            let waiting = waiting.clone();
            async move {
                tokio::time::sleep(Duration::from_secs(60)).await;
                waiting.send(span(0)).await.unwrap();
                tokio::time::sleep(DELAY / 2).await;
                waiting.send(span(1)).await.unwrap();
                tokio::time::sleep(DELAY).await;
                waiting.send(span(2)).await.unwrap();
            }
        });
        assert_eq!(gather(&mut arriving, &stopping).await, Some(vec![span(0), span(1)]));
        assert_eq!(begun.elapsed(), Duration::from_secs(60) + DELAY);
        assert_eq!(gather(&mut arriving, &stopping).await, Some(vec![span(2)]));
        late.await.unwrap();

        let begun = Instant::now();
        for at in 0..BATCH + 1 {
            waiting.try_send(span(at)).unwrap();
        }
        assert_eq!(gather(&mut arriving, &stopping).await.map(|batch| batch.len()), Some(BATCH));
        assert_eq!(begun.elapsed(), Duration::ZERO);
        for at in 0..BATCH {
            waiting.try_send(span(at)).unwrap();
        }
        stopping.cancel();
        assert_eq!(gather(&mut arriving, &stopping).await.map(|batch| batch.len()), Some(BATCH));
        assert_eq!(gather(&mut arriving, &stopping).await.map(|batch| batch.len()), Some(1));
        assert_eq!(gather(&mut arriving, &stopping).await, None);
    }

    #[tokio::test]
    async fn what_does_not_fit_is_counted() {
        let resource = Resource { attributes: Vec::new() };
        let exporter = Exporter::new(Endpoint::read("localhost:4317"), resource).unwrap();
        for at in 0..QUEUE + 3 {
            exporter.push(span(at));
        }
        assert_eq!(exporter.dropped.load(Ordering::Relaxed), 3);
    }
}
