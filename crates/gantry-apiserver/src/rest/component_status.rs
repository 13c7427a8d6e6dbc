//! ComponentStatuses: made when they are asked for. The server knows one component that is not
//! itself, the store; what runs elsewhere shows its health where it runs.

use gantry_api::status::ApiError;
use gantry_json::{Value, json};
use http::{Response, StatusCode};

use super::{Context, shape};
use crate::body::Body;
use crate::negotiate::Shape;
use crate::respond;

/// The name by which clients know the store.
const STORE: &str = "etcd-0";

/// Answers a get or list.
pub(super) fn serve(context: &Context<'_>) -> Result<Response<Body>, ApiError> {
    if context.info.verb == "get" {
        if context.info.name != STORE {
            return Err(context.not_found());
        }
        return context.object(StatusCode::OK, status());
    }
    let kind = context.kind;
    shape::check(kind, true, context.output, context.query)?;
    let items = vec![status()];
    let list = match context.output.shape {
        Shape::Object => json!({
            "kind": kind.list_kind, "apiVersion": kind.api_version(), "metadata": {}, "items": items,
        }),
        _ => shape::list(kind, items, json!({}), context.output, context.query),
    };
    Ok(respond::json(StatusCode::OK, &list, context.output))
}

fn status() -> Value {
    json!({
        "kind": "ComponentStatus", "apiVersion": "v1", "metadata": {"name": STORE},
        "conditions": [{"type": "Healthy", "status": "True", "message": "ok"}],
    })
}
