//! What a load balancer in front of the cluster asks each node: whether it has endpoints of a Service
//! whose traffic has to stay on the node it comes to (`healthCheckNodePort`).

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use gantry_client::ObjectKey;
use gantry_json::json;
use http::{Response, StatusCode, header};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::task::AbortOnDropHandle;

/// Time for a caller to say what it wants, so that silent ones do not add up.
const PATIENCE: Duration = Duration::from_secs(10);
/// Wait after a port was taken or a connection could not be accepted: nothing tells when it can be.
const RETRY: Duration = Duration::from_secs(5);

/// What is asked about a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The port that is asked at.
    pub port: u16,
    /// How many ready endpoints the node has.
    pub local_endpoints: usize,
}

/// Answers at the ports of all Services that have one.
#[derive(Debug, Default)]
pub struct HealthServers(BTreeMap<ObjectKey, Server>);

#[derive(Debug)]
struct Server {
    port: u16,
    local_endpoints: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

impl HealthServers {
    /// Answers as `checks` say from now on, and only there. Has to be called inside of a runtime.
    pub fn follow(&mut self, checks: &BTreeMap<ObjectKey, Check>) {
        // Ports may have moved from one Service to another.
        self.0.retain(|service, server| checks.get(service).is_some_and(|c| c.port == server.port));
        for (service, check) in checks {
            let server = self.0.entry(service.clone()).or_insert_with(|| start(service, check.port));
            server.local_endpoints.store(check.local_endpoints, Ordering::Relaxed);
        }
    }
}

fn start(service: &ObjectKey, port: u16) -> Server {
    let local_endpoints = Arc::new(AtomicUsize::new(0));
    let bound = bind(port);
    let task = tokio::spawn(serve(service.clone(), port, bound, local_endpoints.clone()));
    Server { port, local_endpoints, _task: AbortOnDropHandle::new(task) }
}

fn bind(port: u16) -> io::Result<TcpListener> {
    let any: [IpAddr; 2] = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
    let addresses = any.map(|ip| SocketAddr::new(ip, port));
    let listener = std::net::TcpListener::bind(&addresses[..])?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

async fn serve(service: ObjectKey, port: u16, mut bound: io::Result<TcpListener>, count: Arc<AtomicUsize>) {
    let listener = loop {
        match bound {
            Ok(listener) => break listener,
            Err(error) => {
                tracing::warn!(%service, port, %error, "nobody can ask for the Service's health here");
                tokio::time::sleep(RETRY).await;
                bound = bind(port);
            }
        }
    };
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(RETRY).await;
            continue;
        };
        let (service, count) = (service.clone(), count.clone());
        let answering = service_fn(move |_| {
            std::future::ready(Ok::<_, Infallible>(answer(&service, count.load(Ordering::Relaxed))))
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
            .serve_connection(TokioIo::new(stream), answering);
        // A caller that goes away in between has no interest in an answer.
        connections.spawn(async move { drop(connection.await) });
    }
}

/// The answer, whatever the path.
fn answer(service: &ObjectKey, local_endpoints: usize) -> Response<Full<Bytes>> {
    let body = json!({
        "service": {"namespace": service.namespace, "name": service.name},
        "localEndpoints": local_endpoints,
        "serviceProxyHealthy": true,
    });
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    if local_endpoints == 0 {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    headers.insert("x-load-balancing-endpoint-weight", local_endpoints.into());
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_node_with_endpoints_is_healthy() {
        let service = ObjectKey::new("default", "web");
        let healthy = answer(&service, 2);
        assert_eq!(healthy.status(), StatusCode::OK);
        assert_eq!(healthy.headers()["x-load-balancing-endpoint-weight"], "2");
        let body = healthy.into_body().collect().await.unwrap().to_bytes();
        let body: gantry_json::Value = gantry_json::from_slice(&body).unwrap();
        assert_eq!(
            body,
            json!({
                "service": {"namespace": "default", "name": "web"}, "localEndpoints": 2, "serviceProxyHealthy": true,
            })
        );
        assert_eq!(answer(&service, 0).status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
