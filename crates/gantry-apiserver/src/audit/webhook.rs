//! The audit webhook: events are sent to somebody else's server. What could not be sent is tried again,
//! longer apart each time.

use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::Delivery;
use crate::endpoint_client::EndpointClient;
use crate::{Endpoint, Error};

/// How often a batch is sent before it is given up.
const ATTEMPTS: u32 = 5;
/// How long an attempt may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where events are sent, and how.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// The server that takes EventLists.
    pub endpoint: Endpoint,
    /// How long after a failure the next attempt is made; each time longer.
    pub backoff: Duration,
    /// How events get there.
    pub delivery: Delivery,
}

impl Webhook {
    /// A webhook with upstream's batches.
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, backoff: Duration::from_secs(10), delivery: Delivery::of_webhook() }
    }
}

/// Who sends events.
pub(super) struct Sender {
    client: EndpointClient,
    backoff: Duration,
}

impl Sender {
    pub fn new(settings: &Webhook) -> Result<Self, Error> {
        Ok(Self { client: EndpointClient::new(&settings.endpoint)?, backoff: settings.backoff })
    }

    /// Sends a batch, several times if it has to; once where the server is `stopping`.
    pub async fn send(&self, batch: &[Bytes], stopping: &CancellationToken) -> Result<(), String> {
        let mut body =
            br#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":["#.to_vec();
        for (at, event) in batch.iter().enumerate() {
            if at > 0 {
                body.push(b',');
            }
            body.extend_from_slice(event);
        }
        body.extend_from_slice(b"]}");
        let body = Bytes::from(body);
        let mut pause = self.backoff;
        let mut attempt = 1;
        loop {
            let error = match self.client.post(body.clone(), PATIENCE).await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            if attempt == ATTEMPTS || stopping.is_cancelled() {
                return Err(error.to_string());
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stopping.cancelled() => {}
            }
            pause = pause.mul_f64(1.5);
            attempt += 1;
        }
    }
}
