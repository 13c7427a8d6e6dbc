//! What the plugins' tests have in common.

use std::collections::BTreeMap;

use gantry_api::status::ApiError;
use gantry_json::Value;

use super::{Again, Operation, Options, Plugin, Reinvocation, Request};
use crate::User;
use crate::lookup::Objects;

/// A request to be filled in: `target` is `GROUP:RESOURCE/SUBRESOURCE`, without what is empty.
pub(super) fn request<'a>(
    operation: Operation,
    target: &'a str,
    user: &'a User,
    object: Value,
    old: Option<&'a Value>,
) -> Request<'a> {
    let (group, resource) = target.rsplit_once(':').unwrap_or(("", target));
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let known = if object.is_null() { old.cloned().unwrap_or_default() } else { object.clone() };
    let leak = |pointer: &str| -> &'a str {
        let text = known.pointer(pointer).and_then(Value::as_str).unwrap_or("");
        Box::leak(text.to_owned().into_boxed_str())
    };
    let (namespace, name) = (leak("/metadata/namespace"), leak("/metadata/name"));
    let kinds = gantry_api::registry::Registry::builtin();
    let mut known_kinds = kinds.iter();
    let kind = known_kinds.find(|kind| kind.group == group && kind.plural == resource);
    let kind = kind.or_else(|| kinds.lookup("", "v1", "pods")).expect("pods are served");
    Request {
        operation,
        registry: kinds,
        kind,
        object_kind: [&kind.group, &kind.version, &kind.kind],
        group,
        resource,
        subresource,
        namespace,
        name,
        unnamed: false,
        user,
        object,
        old,
        dry_run: false,
        options: Options::None,
        warnings: Vec::new(),
        annotations: BTreeMap::new(),
        again: Again::No,
        converter: None,
        called: Reinvocation::default(),
        applied: Reinvocation::default(),
    }
}

/// Runs both halves of a plugin; the object as it came out, or the refusal's message.
pub(super) fn admit(
    plugin: &dyn Plugin,
    mut request: Request<'_>,
    objects: &Objects,
) -> Result<Value, String> {
    let result = plugin.mutate(&mut request, objects).and_then(|()| plugin.validate(&request, objects));
    result.map(|()| request.object).map_err(|refusal: ApiError| refusal.message)
}
