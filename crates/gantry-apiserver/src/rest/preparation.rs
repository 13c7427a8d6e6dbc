//! What the server itself writes into objects: system metadata, generation, field management.

use gantry_api::patch::apply::{self, Operation};
use gantry_api::registry::Kind;
use gantry_api::status::ApiError;
use gantry_json::{Key, Map, Value, json};
use jiff::Timestamp;

use super::Context;

/// The random end of a generated name: letters that spell nothing.
const SUFFIX: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// The longest base of a generated name.
const LONGEST_BASE: usize = 58;

/// The time as the API writes it.
pub(crate) fn now() -> String {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}

/// `object`'s metadata, made where it is missing.
pub(super) fn metadata(object: &mut Value) -> &mut Map {
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    object["metadata"].as_object_mut().expect("it was just made an object")
}

/// The text of a metadata field, or nothing.
pub(super) fn meta_text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// A name that starts with `base`.
pub(super) fn generate_name(base: &str) -> String {
    let mut end = base.len().min(LONGEST_BASE);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = base[..end].to_owned();
    for _ in 0..5 {
        name.push(char::from(SUFFIX[rand::random_range(0..SUFFIX.len())]));
    }
    name
}

impl Context<'_> {
    /// Checks the object's name and namespace against the path's, and fills them in.
    pub(super) fn place(&self, object: &mut Value, name: &str) -> Result<(), ApiError> {
        let namespace = self.namespace();
        let given = meta_text(object, "namespace");
        if !given.is_empty() && !namespace.is_empty() && given != namespace {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        let given = meta_text(object, "name");
        if !name.is_empty() && !given.is_empty() && given != name {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({given}) does not match the name on the URL ({name})"
            )));
        }
        let metadata = metadata(object);
        if namespace.is_empty() {
            metadata.remove("namespace");
        } else {
            metadata.insert("namespace".into(), namespace.into());
        }
        if !name.is_empty() {
            metadata.insert("name".into(), name.into());
        }
        Ok(())
    }

    /// Sets `metadata.managedFields` for a write that is not an apply.
    pub(super) fn manage(&self, old: &Value, object: &mut Value, manager: &str) {
        apply::update(
            self.kind.structure(),
            &self.kind.api_version(),
            old,
            object,
            manager,
            Operation::Update,
            &self.info.subresource,
            &now(),
        );
    }
}

/// Takes out of a new `object` what a client may not choose.
pub(super) fn clear_system(object: &mut Value) {
    let metadata = metadata(object);
    for field in [
        "uid",
        "creationTimestamp",
        "selfLink",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "resourceVersion",
        "managedFields",
    ] {
        metadata.remove(field);
    }
}

/// Gives a new `object` what the server chooses: who changes it by admission does not see that yet, and has no
/// say in it.
pub(super) fn fill_new(kind: &Kind, object: &mut Value) {
    let metadata = metadata(object);
    for field in ["selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion"] {
        metadata.remove(field);
    }
    metadata.insert("uid".into(), uuid::Uuid::new_v4().to_string().into());
    metadata.insert("creationTimestamp".into(), now().into());
    match kind.generation {
        true => metadata.insert("generation".into(), 1.into()),
        false => metadata.remove("generation"),
    };
    let base = metadata.get("generateName").and_then(Value::as_str).unwrap_or_default();
    let named = metadata.get("name").and_then(Value::as_str).is_some_and(|name| !name.is_empty());
    if !named && !base.is_empty() {
        let name = generate_name(base);
        metadata.insert("name".into(), name.into());
    }
}

/// Keeps in `object` what an update may not change.
pub(super) fn keep_system(object: &mut Value, old: &Value) {
    let metadata = metadata(object);
    for field in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
        "generateName",
    ] {
        match old["metadata"].get(field) {
            Some(value) => metadata.insert(field.into(), value.clone()),
            None => metadata.remove(field),
        };
    }
    metadata.remove("selfLink");
}

/// Counts the generation up where anything but metadata and status changed.
pub(super) fn count_generation(kind: &Kind, object: &mut Value, old: &Value) {
    if !kind.generation {
        return;
    }
    let annotations_count = kind.is("apps", "Deployment");
    let (new, before) = (object.as_object(), old.as_object());
    // A custom kind may have a status that is a field like any other.
    let status_counts = kind.as_custom().is_some() && !kind.has_status;
    let own = |(name, _): &(&Key, &Value)| match name.as_str() {
        "metadata" | "kind" | "apiVersion" => false,
        "status" => status_counts,
        _ => true,
    };
    let changed = match (new, before) {
        (Some(new), Some(before)) => new.iter().filter(own).ne(before.iter().filter(own)),
        _ => false,
    } || (annotations_count
        && object["metadata"]["annotations"] != old["metadata"]["annotations"])
        || (kind.is("discovery.k8s.io", "EndpointSlice")
            && object["metadata"]["labels"] != old["metadata"]["labels"]);
    if changed {
        let generation = old["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        object["metadata"]["generation"] = generation.into();
    }
}
