//! Scopes: of which objects a quota speaks.

use std::fmt;

use gantry_json::Value;

use super::{Resource, claims};
use crate::rules::common::{list, text};
use crate::rules::pod::qos_class;

/// A scope, and which objects are within it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Requirement<'a> {
    /// The scope's name.
    pub scope: &'a str,
    operator: &'a str,
    values: &'a [Value],
}

impl<'a> Requirement<'a> {
    /// One of the `matchExpressions` of a scope selector.
    pub fn read(expression: &'a Value) -> Self {
        let (scope, operator) = (text(expression, "scopeName"), text(expression, "operator"));
        Self { scope, operator, values: list(expression, "values") }
    }

    /// Whether `object` is within it. Only pods and claims of storage have scopes: no other object is.
    pub fn holds(&self, resource: Resource<'_>, object: &Value) -> bool {
        matches(resource, object, self.scope, self.operator, self.values)
    }
}

impl fmt::Display for Requirement<'_> {
    /// As messages show it: `{SCOPE OPERATOR [VALUES]}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values: Vec<&str> = self.values.iter().filter_map(Value::as_str).collect();
        write!(f, "{{{} {} [{}]}}", self.scope, self.operator, values.join(" "))
    }
}

/// The scopes of a quota.
pub fn requirements(quota: &Value) -> impl Iterator<Item = Requirement<'_>> {
    let spec = &quota["spec"];
    let plain = list(spec, "scopes").iter().filter_map(Value::as_str);
    let plain = plain.map(|scope| Requirement { scope, operator: "Exists", values: &[] });
    plain.chain(list(&spec["scopeSelector"], "matchExpressions").iter().map(Requirement::read))
}

/// Whether `object` is within all scopes of a quota.
pub fn in_scope(quota: &Value, resource: Resource<'_>, object: &Value) -> bool {
    requirements(quota).all(|requirement| requirement.holds(resource, object))
}

fn matches(resource: Resource<'_>, object: &Value, scope: &str, operator: &str, values: &[Value]) -> bool {
    let spec = &object["spec"];
    let named = |name: Option<&str>| {
        let listed = || name.is_some_and(|name| values.iter().any(|value| value == name));
        match operator {
            "Exists" => name.is_some(),
            "DoesNotExist" => name.is_none(),
            "In" => listed(),
            "NotIn" => !listed(),
            _ => false,
        }
    };
    match (resource.core(), scope) {
        (Some("pods"), "Terminating") => ends(spec),
        (Some("pods"), "NotTerminating") => !ends(spec),
        (Some("pods"), "BestEffort") => is_best_effort(object),
        (Some("pods"), "NotBestEffort") => !is_best_effort(object),
        (Some("pods"), "PriorityClass") => {
            named(Some(text(spec, "priorityClassName")).filter(|name| !name.is_empty()))
        }
        (Some("pods"), "CrossNamespacePodAffinity") => looks_abroad(spec),
        (Some("persistentvolumeclaims"), "VolumeAttributesClass") => {
            let classes = claims::attribute_classes(object);
            match classes.is_empty() {
                true => named(None),
                false => classes.into_iter().any(|class| named(Some(class))),
            }
        }
        _ => false,
    }
}

fn ends(spec: &Value) -> bool {
    spec["activeDeadlineSeconds"].as_i64().is_some_and(|seconds| seconds >= 0)
}

fn is_best_effort(pod: &Value) -> bool {
    match text(&pod["status"], "qosClass") {
        "" => qos_class(&pod["spec"]) == "BestEffort",
        class => class == "BestEffort",
    }
}

/// Whether affinity of the pod is to pods of other namespaces.
fn looks_abroad(spec: &Value) -> bool {
    let abroad = |term: &Value| !list(term, "namespaces").is_empty() || term["namespaceSelector"].is_object();
    ["podAffinity", "podAntiAffinity"].into_iter().map(|kind| &spec["affinity"][kind]).any(|affinity| {
        let preferred = list(affinity, "preferredDuringSchedulingIgnoredDuringExecution").iter();
        let required = list(affinity, "requiredDuringSchedulingIgnoredDuringExecution").iter();
        required.chain(preferred.map(|each| &each["podAffinityTerm"])).any(abroad)
    })
}
