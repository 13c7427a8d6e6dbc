//! Objects shown as a Table or by their metadata alone.

use gantry_api::field::{FieldError, Path};
use gantry_api::registry::Kind;
use gantry_api::status::ApiError;
use gantry_api::table::{self, IncludeObject};
use gantry_json::{Value, json};
use jiff::Timestamp;

use crate::negotiate::{Output, Shape};
use crate::request::Query;

fn include(query: &Query) -> IncludeObject {
    match query.get("includeObject") {
        Some("None") => IncludeObject::None,
        Some("Object") => IncludeObject::Object,
        _ => IncludeObject::Metadata,
    }
}

/// Refuses a table with rows that nobody knows.
pub fn check_options(output: Output, query: &Query) -> Result<(), ApiError> {
    let known = ["Metadata", "None", "Object"];
    match query.filled("includeObject") {
        Some(other) if output.shape == Shape::Table && !known.contains(&other) => {
            let detail = "must be 'Metadata', 'Object', 'None', or empty";
            let error = FieldError::invalid(&Path::new("includeObject"), other, detail);
            Err(ApiError::bad_request(format!("Unable to convert to Table as requested: {error}")))
        }
        _ => Ok(()),
    }
}

/// Refuses what cannot be shown in the shape that is asked for: metadata is asked of a list in other words
/// than of an object.
pub fn check(kind: &Kind, list: bool, output: Output, query: &Query) -> Result<(), ApiError> {
    check_options(output, query)?;
    let (asked, found) = match output.shape {
        Shape::Metadata { list: false } if list => ("PartialObjectMetadata", "a list"),
        Shape::Metadata { list: true } if !list => ("PartialObjectMetadataList", "not a list"),
        _ => return Ok(()),
    };
    let message =
        format!("you requested {asked}, but the requested object is {found} ({})", name(kind, list));
    Err(ApiError::new(406, "NotAcceptable", message))
}

/// What upstream calls the type of an object, or of a list, in such an error.
fn name(kind: &Kind, list: bool) -> String {
    if kind.as_custom().is_some() {
        return if list { "*unstructured.UnstructuredList" } else { "*unstructured.Unstructured" }.to_owned();
    }
    let package = match &*kind.group {
        "" | "events.k8s.io" => "core",
        "internal.apiserver.k8s.io" => "apiserverinternal",
        group => group.split('.').next().unwrap_or_default(),
    };
    format!("*{package}.{}", if list { &kind.list_kind } else { &kind.kind })
}

/// One object as is asked for.
pub fn object(kind: &Kind, object: Value, output: Output, query: &Query) -> Value {
    match output.shape {
        Shape::Object => object,
        Shape::Metadata { .. } => table::partial(&object, output.meta),
        Shape::Table => {
            let meta = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
            list(kind, vec![object], meta, output, query)
        }
    }
}

/// The Scale of an object as is asked for.
pub fn scale(scale: Value, output: Output, query: &Query) -> Value {
    match output.shape {
        Shape::Object => scale,
        Shape::Metadata { .. } => table::partial(&scale, output.meta),
        Shape::Table => table::scale(&scale, include(query), output.meta, Timestamp::now()),
    }
}

/// A list of objects as is asked for.
pub fn list(kind: &Kind, items: Vec<Value>, meta: Value, output: Output, query: &Query) -> Value {
    if output.shape == Shape::Table {
        return table::table(kind, &items, meta, include(query), output.meta, Timestamp::now());
    }
    let items: Vec<Value> = items.iter().map(|item| table::partial(item, output.meta)).collect();
    json!({
        "kind": "PartialObjectMetadataList", "apiVersion": output.meta, "metadata": meta, "items": items,
    })
}
