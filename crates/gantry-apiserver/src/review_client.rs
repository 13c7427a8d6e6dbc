//! Asking a webhook in the shape of a review: an object is sent, and comes back with its status.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use gantry_json::Value;

use crate::endpoint_client::EndpointClient;
use crate::remote::RemoteError;
use crate::{Endpoint, Error};

/// How often a review is sent, at most.
const ATTEMPTS: u32 = 5;
/// How long after the first failure it is sent again; each time half as much longer.
const PAUSE: Duration = Duration::from_millis(500);

/// A webhook that answers reviews.
pub(crate) struct ReviewClient {
    client: EndpointClient,
    time: Duration,
}

impl ReviewClient {
    /// The webhook that the kubeconfig at `path` describes, which has `time` for each answer.
    pub fn from_kubeconfig(path: &Path, time: Duration) -> Result<Self, Error> {
        let endpoint = Endpoint::from_kubeconfig(path).map_err(|error| Error::config("webhook", error))?;
        Ok(Self { client: EndpointClient::new(&endpoint)?, time })
    }

    /// The review with its status. What may have better luck is tried again, longer apart each time.
    pub async fn ask(&self, review: &Value) -> Result<Value, RemoteError> {
        let body = Bytes::from(review.to_string());
        let mut pause = PAUSE;
        let mut attempt = 1;
        loop {
            match self.client.post(body.clone(), self.time).await {
                Ok(answer) => {
                    let url = || self.client.url().to_owned();
                    return gantry_json::from_slice(&answer)
                        .map_err(|error| RemoteError::Answer(url(), error.to_string()));
                }
                Err(error) if attempt == ATTEMPTS || !error.is_passing() => return Err(error),
                Err(_) => {}
            }
            tokio::time::sleep(pause).await;
            pause = pause.mul_f64(1.5);
            attempt += 1;
        }
    }
}
