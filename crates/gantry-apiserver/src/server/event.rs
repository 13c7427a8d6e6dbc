//! Events that the server itself writes about objects.

use gantry_json::{Value, json};
use http::Method;
use jiff::Timestamp;

use crate::ApiServer;
use crate::bootstrap::Api;

/// A warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Warning {
    /// The part of the server that warns.
    pub component: &'static str,
    /// Why, in one word.
    pub reason: String,
    /// What it was doing.
    pub action: &'static str,
    /// Why, in a sentence.
    pub message: String,
}

impl ApiServer {
    /// Writes an event about `object`. What goes wrong is logged only: nobody depends on it.
    pub(crate) async fn warn(&self, object: &Value, warning: &Warning) {
        let now = Timestamp::now();
        let event = event(object, warning, now, &super::instance());
        let namespace = event["metadata"]["namespace"].as_str().unwrap_or_default();
        let path = format!("/api/v1/namespaces/{namespace}/events");
        let (code, answer) = self.call(Method::POST, &path, Some(&event)).await;
        if code >= 400 {
            tracing::debug!(code, message = %answer["message"], "event not written");
        }
    }
}

fn event(object: &Value, warning: &Warning, now: Timestamp, instance: &str) -> Value {
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default();
    // Events of objects without a namespace are kept in this one.
    let namespace = metadata["namespace"].as_str().unwrap_or("default");
    let mut about = json!({
        "kind": object["kind"], "apiVersion": object["apiVersion"], "name": name, "uid": metadata["uid"],
        "resourceVersion": metadata["resourceVersion"],
    });
    if metadata["namespace"].is_string() {
        about["namespace"] = namespace.into();
    }
    json!({
        "kind": "Event", "apiVersion": "v1",
        "metadata": {
            "name": format!("{name}.{:x}", now.as_nanosecond()), "namespace": namespace,
        },
        "involvedObject": about, "type": "Warning", "reason": warning.reason, "action": warning.action,
        "message": warning.message, "eventTime": now.strftime("%FT%T.%6fZ").to_string(),
        "reportingComponent": warning.component, "reportingInstance": format!("{}-{instance}", warning.component),
        "source": {"component": warning.component},
    })
}
