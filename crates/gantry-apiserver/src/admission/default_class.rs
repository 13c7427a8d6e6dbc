//! Which class is the default one, among storage classes or ingress classes.

use serde_json::Value;

use super::text;
use crate::Lookup;

/// The class that one of the annotations `marks` as the default: of several the youngest.
pub(super) fn default_class(
    objects: &dyn Lookup,
    group: &str,
    resource: &str,
    marks: &[&str],
) -> Option<String> {
    let marked = |class: &Value| marks.iter().any(|mark| class["metadata"]["annotations"][*mark] == "true");
    let classes = objects.list_with(group, resource, "", "is-default-class\":\"true\"").into_iter();
    let youngest_first = |a: &Value, b: &Value| {
        let (time, name) = ("/metadata/creationTimestamp", "/metadata/name");
        text(b, time).cmp(text(a, time)).then_with(|| text(a, name).cmp(text(b, name)))
    };
    let class = classes.filter(marked).min_by(youngest_first)?;
    Some(text(&class, "/metadata/name").to_owned())
}

/// A class that the annotation `mark` makes the default one or not, for tests.
#[cfg(test)]
pub(super) fn class(name: &str, mark: &str, value: &str, time: &str) -> Value {
    serde_json::json!({"metadata": {"name": name, "creationTimestamp": time, "annotations": {mark: value}}})
}
