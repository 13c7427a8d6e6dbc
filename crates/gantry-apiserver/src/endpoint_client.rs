//! A client of the server that a kubeconfig describes: identity providers', auditors' and authorizers' own.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::kubeconfig::User;
use crate::remote::{Remote, RemoteError};
use crate::tls::Trust;
use crate::{Endpoint, Error};

/// What requests to an [`Endpoint`] are sent with.
pub(crate) struct EndpointClient {
    url: String,
    headers: HeaderMap,
    remote: Remote,
}

impl EndpointClient {
    /// A client that trusts and shows itself as `endpoint` says.
    pub fn new(endpoint: &Endpoint) -> Result<Self, Error> {
        let trust = match endpoint.insecure {
            true => Trust::Anybody,
            false => Trust::bundle(endpoint.ca.as_deref().unwrap_or_default())?,
        };
        let remote = Remote::new(trust, endpoint.identity.as_ref(), endpoint.server_name.as_deref())?;
        let mut headers = HeaderMap::new();
        let user = User { identity: None, token: endpoint.token.clone(), basic: endpoint.basic.clone() };
        if let Some(value) = user.authorization().map_err(|error| Error::config("webhook", error))? {
            headers.insert(AUTHORIZATION, value);
        }
        Ok(Self { url: endpoint.url.clone(), headers, remote })
    }

    /// The address that requests are sent to.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sends JSON; the answer has to come within `time`.
    pub async fn post(&self, body: Bytes, time: Duration) -> Result<Bytes, RemoteError> {
        self.remote.post(&self.url, self.headers.clone(), body, time).await
    }
}
