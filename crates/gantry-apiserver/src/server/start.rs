//! What the server writes before it is ready: the objects that every cluster starts with,
//! through its own pipeline.

use async_trait::async_trait;
use gantry_json::Value;
use http::header::USER_AGENT;
use http::{HeaderValue, Method, Request};
use http_body_util::BodyExt;

use super::identity::Identity;
use super::service_range;
use crate::body::Body;
use crate::fairness::dangling;
use crate::{ApiServer, User, bootstrap, services};

impl ApiServer {
    /// What the servers of aggregated APIs are told of how to authenticate.
    fn authentication_config(&self) -> Value {
        bootstrap::authentication_config(&self.config.client_ca, self.config.request_header.as_ref())
    }

    /// Tells them again, where somebody changed it.
    pub(crate) async fn keep_authentication_config(&self) {
        if let Err(error) = bootstrap::keep_authentication(self, &self.authentication_config()).await {
            tracing::warn!(%error, "servers of aggregated APIs cannot learn how to authenticate");
        }
    }

    /// Writes the default objects; afterwards the server is ready.
    pub async fn bootstrap(&self) {
        if self.is_ready() {
            return;
        }
        // The Service `kubernetes` has an address out of it.
        if services::are_objects_served(&self.builtin) {
            service_range::settle(self, None).await;
        }
        let authentication = self.authentication_config();
        let (range, address) = (self.config.service_cidr, self.config.advertise);
        let ensured = bootstrap::ensure(self, &self.builtin, range, address, &authentication, &today()).await;
        match ensured {
            Ok(()) => {
                let identity = async {
                    if let Some(identity) = Identity::of(self) {
                        identity.renew(self).await;
                    }
                };
                let conditions = async {
                    if self.fairness.is_some() {
                        dangling::settle(self).await;
                    }
                };
                tokio::join!(identity, conditions);
                self.ready.send_replace(true);
            }
            Err(error) => tracing::error!(%error, "the default objects are not all there"),
        }
    }
}

/// The day in UTC, such as `2026-01-31`.
pub(super) fn today() -> String {
    jiff::Timestamp::now().strftime("%F").to_string()
}

#[async_trait]
impl bootstrap::Api for ApiServer {
    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
        let body = body.map_or(Body::Empty, |body| body.to_string().into_bytes().into());
        let mut request = Request::new(body);
        *request.method_mut() = method;
        let Ok(uri) = path.parse() else { return (400, Value::Null) };
        *request.uri_mut() = uri;
        // The manager of what the server writes.
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("kube-apiserver"));
        let response = self.handle(request, Some(User::apiserver())).await;
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        (code, gantry_json::from_slice(&bytes).unwrap_or_default())
    }
}
