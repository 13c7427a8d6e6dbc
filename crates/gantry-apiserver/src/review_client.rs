//! Asking a webhook in the shape of a review: an object is sent, and comes back with its status.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use serde_json::Value;

use crate::remote::{Remote, RemoteError, Trust, bearer};
use crate::{Endpoint, Error};

/// How often a review is sent, at most.
const ATTEMPTS: u32 = 5;
/// How long after the first failure it is sent again; each time half as much longer.
const PAUSE: Duration = Duration::from_millis(500);

/// A webhook that answers reviews.
pub(crate) struct ReviewClient {
    url: String,
    headers: HeaderMap,
    remote: Remote,
    time: Duration,
}

impl ReviewClient {
    /// The webhook that the kubeconfig at `path` describes, which has `time` for each answer.
    pub fn from_kubeconfig(path: &Path, time: Duration) -> Result<Self, Error> {
        let endpoint = Endpoint::from_kubeconfig(path).map_err(|error| Error::config("webhook", error))?;
        Self::new(endpoint, time)
    }

    fn new(endpoint: Endpoint, time: Duration) -> Result<Self, Error> {
        let trust = match endpoint.ca {
            _ if endpoint.insecure => Trust::Anybody,
            Some(pem) => Trust::Bundle(pem),
            None => Trust::Machine,
        };
        let remote = Remote::new(&trust, endpoint.identity.as_ref(), endpoint.server_name.as_deref())?;
        let mut headers = HeaderMap::new();
        let wrong = |error: String| Error::config("webhook", error);
        if let Some(token) = &endpoint.token {
            let value = bearer(&endpoint.url, token).map_err(|error| wrong(error.to_string()))?;
            headers.insert(AUTHORIZATION, value);
        } else if let Some((user, password)) = &endpoint.basic {
            let value = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
            let value = HeaderValue::try_from(value).map_err(|error| wrong(error.to_string()))?;
            headers.insert(AUTHORIZATION, value);
        }
        Ok(Self { url: endpoint.url, headers, remote, time })
    }

    /// The review with its status. What may have better luck is tried again, longer apart each time.
    pub async fn ask(&self, review: &Value) -> Result<Value, RemoteError> {
        let body = Bytes::from(review.to_string());
        let mut pause = PAUSE;
        let mut attempt = 1;
        loop {
            let answer = self.remote.post(&self.url, self.headers.clone(), body.clone(), self.time).await;
            match answer {
                Ok(answer) => {
                    return serde_json::from_slice(&answer)
                        .map_err(|error| RemoteError::Answer(self.url.clone(), error.to_string()));
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
