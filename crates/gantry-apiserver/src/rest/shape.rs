//! Objects shown as a Table or by their metadata alone.

use gantry_api::registry::Kind;
use gantry_api::table::{self, IncludeObject};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::negotiate::Shape;
use crate::request::Query;

fn include(query: &Query) -> IncludeObject {
    match query.get("includeObject") {
        Some("None") => IncludeObject::None,
        Some("Object") => IncludeObject::Object,
        _ => IncludeObject::Metadata,
    }
}

/// One object as `shape`.
pub fn object(kind: &Kind, object: Value, shape: Shape, query: &Query) -> Value {
    match shape {
        Shape::Object => object,
        Shape::Metadata => table::partial(&object),
        Shape::Table => {
            let meta = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
            table::table(kind, std::slice::from_ref(&object), meta, include(query), Timestamp::now())
        }
    }
}

/// A list of objects as `shape`.
pub fn list(kind: &Kind, items: Vec<Value>, meta: Value, shape: Shape, query: &Query) -> Value {
    match shape {
        Shape::Table => table::table(kind, &items, meta, include(query), Timestamp::now()),
        _ => {
            let items: Vec<Value> = items.iter().map(table::partial).collect();
            json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": meta, "items": items,
            })
        }
    }
}
