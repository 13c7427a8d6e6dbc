//! What the server writes before it is ready: the objects that every cluster starts with,
//! through its own pipeline.

use async_trait::async_trait;
use http::{Method, Request};
use http_body_util::BodyExt;
use serde_json::Value;

use crate::body::Body;
use crate::{ApiServer, User, bootstrap};

impl ApiServer {
    /// Writes the default objects; afterwards the server is ready.
    pub async fn bootstrap(&self) {
        if self.is_ready() {
            return;
        }
        match bootstrap::ensure(self, self.config.service_cidr, self.config.advertise).await {
            Ok(()) => drop(self.ready.send_replace(true)),
            Err(error) => tracing::error!(%error, "the default objects are not all there"),
        }
    }
}

#[async_trait]
impl bootstrap::Api for ApiServer {
    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
        let body = body.map_or(Body::Empty, |body| body.to_string().into_bytes().into());
        let mut request = Request::new(body);
        *request.method_mut() = method;
        let Ok(uri) = path.parse() else { return (400, Value::Null) };
        *request.uri_mut() = uri;
        let user = User::new("system:apiserver", ["system:masters"]);
        let response = self.handle(request, Some(user)).await;
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        (code, serde_json::from_slice(&bytes).unwrap_or_default())
    }
}
