//! Which requests webhooks and policies are for: rules, scopes and selectors, as objects of
//! `admissionregistration.k8s.io` write them.

use std::sync::Arc;

use gantry_api::registry::{Kind, Registry};
use gantry_api::schema::{self, DecodeError, Decoded, Schemas};
use gantry_api::selector::{LabelSelector, Labels};
use gantry_api::status::ApiError;
use gantry_json::Value;
use gantry_store::Snapshot;

use super::{Operation, Request};
use crate::custom_resources::Converter;
use crate::{Lookup, storage};

/// The group whose own objects are never subject to what they configure.
const CONFIGURATION: &str = "admissionregistration.k8s.io";

/// Whether a request changes the configuration of admission itself, which no webhook and no policy may
/// prevent.
pub(super) fn is_exempt(request: &Request<'_>) -> bool {
    request.group == CONFIGURATION
        && matches!(
            request.resource,
            "validatingwebhookconfigurations"
                | "mutatingwebhookconfigurations"
                | "validatingadmissionpolicies"
                | "validatingadmissionpolicybindings"
                | "mutatingadmissionpolicies"
                | "mutatingadmissionpolicybindings"
        )
}

/// A resource in one of its versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Resource<'a> {
    pub group: &'a str,
    pub version: &'a str,
    pub resource: &'a str,
}

impl<'a> Resource<'a> {
    /// The resource of a kind.
    pub fn of(kind: &'a Kind) -> Self {
        Self { group: &kind.group, version: &kind.version, resource: &kind.plural }
    }
}

/// What of a request rules look at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    pub operation: Operation,
    pub resource: Resource<'a>,
    pub subresource: &'a str,
    /// The namespace; that of a Namespace object is the one that it is.
    pub namespace: &'a str,
    pub name: &'a str,
}

impl<'a> Facts<'a> {
    pub fn of(request: &'a Request<'_>) -> Self {
        Self {
            operation: request.operation,
            resource: Resource::of(request.kind),
            subresource: request.subresource,
            namespace: request.told_namespace(),
            name: request.told_name(),
        }
    }

    fn is_namespace_object(&self) -> bool {
        self.resource.group.is_empty() && self.resource.resource == "namespaces"
    }
}

/// One of `rules`.
#[derive(Debug, Clone, Default)]
pub(super) struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    scope: String,
    /// The names that it is for; none: all.
    names: Vec<String>,
}

impl Rule {
    pub fn read(rule: &Value) -> Self {
        Self {
            operations: texts(&rule["operations"]),
            groups: texts(&rule["apiGroups"]),
            versions: texts(&rule["apiVersions"]),
            resources: texts(&rule["resources"]),
            scope: rule["scope"].as_str().unwrap_or("*").to_owned(),
            names: texts(&rule["resourceNames"]),
        }
    }

    /// The rules of a list.
    pub fn list(rules: &Value) -> Vec<Self> {
        rules.as_array().into_iter().flatten().map(Self::read).collect()
    }

    pub fn matches(&self, facts: &Facts<'_>) -> bool {
        let named = |list: &[String], wanted: &str| list.iter().any(|each| each == "*" || each == wanted);
        self.in_scope(facts)
            && named(&self.operations, facts.operation.word())
            && named(&self.groups, facts.resource.group)
            && named(&self.versions, facts.resource.version)
            && self.resources.iter().any(|each| is_for(each, facts))
            && (self.names.is_empty() || self.names.iter().any(|name| name == facts.name))
    }

    fn in_scope(&self, facts: &Facts<'_>) -> bool {
        // An object of kind Namespace is in none, whatever its request's namespace is.
        let in_namespace = !facts.is_namespace_object() && !facts.namespace.is_empty();
        match self.scope.as_str() {
            "Namespaced" => in_namespace,
            "Cluster" => !in_namespace,
            _ => true,
        }
    }
}

fn is_for(pattern: &str, facts: &Facts<'_>) -> bool {
    let (resource, subresource) = pattern.split_once('/').unwrap_or((pattern, ""));
    (resource == "*" || resource == facts.resource.resource)
        && (subresource == "*" || subresource == facts.subresource)
}

/// The texts of a list.
pub(super) fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|each| each.as_str().map(str::to_owned)).collect()
}

/// The first of `rules` that the request meets in its own version or, where `equivalent` ones count, in
/// another version of the same objects. Gives the resource that was met.
pub(super) fn find<'a>(
    rules: &[Rule],
    facts: &Facts<'a>,
    equivalents: Option<&[&'a Kind]>,
) -> Option<Resource<'a>> {
    if rules.iter().any(|rule| rule.matches(facts)) {
        return Some(facts.resource);
    }
    let others = equivalents?;
    rules.iter().find_map(|rule| {
        others.iter().find_map(|kind| {
            let resource = Resource::of(kind);
            rule.matches(&Facts { resource, ..*facts }).then_some(resource)
        })
    })
}

/// The other resources whose objects are those of `kind`, which has the subresource too.
pub(super) fn equivalents<'a>(registry: &'a Registry, kind: &Kind, subresource: &str) -> Vec<&'a Kind> {
    let prefix = storage::prefix_of(kind);
    let others = registry.iter().map(AsRef::<Kind>::as_ref).filter(|other| {
        (&other.group, &other.version) != (&kind.group, &kind.version)
            && storage::prefix_of(other) == prefix
            && (subresource.is_empty() || other.subresources.iter().any(|each| each.name == subresource))
    });
    others.collect()
}

/// A label selector; an error where it is none.
pub(super) fn selector(value: &Value) -> Result<LabelSelector, String> {
    let mut parts = Vec::new();
    for (key, value) in value["matchLabels"].as_object().into_iter().flatten() {
        parts.push(format!("{key}={}", value.as_str().unwrap_or_default()));
    }
    for expression in value["matchExpressions"].as_array().into_iter().flatten() {
        let key = expression["key"].as_str().unwrap_or_default();
        let values = texts(&expression["values"]).join(",");
        parts.push(match expression["operator"].as_str().unwrap_or_default() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            other => return Err(format!("{other:?} is not a valid label selector operator")),
        });
    }
    LabelSelector::parse(&parts.join(",")).map_err(|error| error.to_string())
}

/// The labels of an object.
pub(super) struct LabelsOf<'a>(pub &'a Value);

impl Labels for LabelsOf<'_> {
    fn label(&self, key: &str) -> Option<&str> {
        self.0["metadata"]["labels"][key].as_str()
    }
}

/// The two selectors that webhooks and policies have.
#[derive(Debug, Clone)]
pub(super) struct Selectors {
    namespaces: Result<LabelSelector, String>,
    objects: Result<LabelSelector, String>,
}

impl Selectors {
    /// Those of a webhook or of match constraints.
    pub fn read(owner: &Value) -> Self {
        Self {
            namespaces: selector(&owner["namespaceSelector"]),
            objects: selector(&owner["objectSelector"]),
        }
    }

    /// Whether the namespace of the request is selected. The error counts only where the request is met
    /// otherwise.
    pub fn select_namespace(&self, request: &Request<'_>, objects: &Snapshot) -> Result<bool, ApiError> {
        let selector = self.namespaces.as_ref().map_err(ApiError::internal)?;
        let own = request.is_about_namespaces();
        if selector.is_everything() || (!own && request.namespace.is_empty()) {
            return Ok(true);
        }
        let made = matches!(request.operation, Operation::Create | Operation::Update);
        if own && request.subresource.is_empty() && made {
            return Ok(selector.matches(&LabelsOf(&request.object)));
        }
        let name = request.told_namespace();
        match Lookup::get(objects, "", "namespaces", "", name) {
            Some(namespace) => Ok(selector.matches(&LabelsOf(&namespace))),
            None => Err(ApiError::not_found("", "namespaces", name)),
        }
    }

    /// Whether the object is selected, as it is or as it is to become.
    pub fn select_object(&self, request: &Request<'_>) -> Result<bool, ApiError> {
        let selector = self.objects.as_ref().map_err(ApiError::internal)?;
        if selector.is_everything() {
            return Ok(true);
        }
        let selected = |object: &Value| object.is_object() && selector.matches(&LabelsOf(object));
        Ok(selected(&request.object) || request.old.is_some_and(selected))
    }
}

/// The match constraints of a policy, or those that a binding adds.
#[derive(Debug, Clone)]
pub(super) struct Constraints {
    rules: Vec<Rule>,
    excludes: Vec<Rule>,
    equivalent: bool,
    selectors: Selectors,
}

impl Constraints {
    pub fn read(constraints: &Value) -> Self {
        Self {
            rules: Rule::list(&constraints["resourceRules"]),
            excludes: Rule::list(&constraints["excludeResourceRules"]),
            equivalent: constraints["matchPolicy"] != "Exact",
            selectors: Selectors::read(constraints),
        }
    }

    /// The kind that a request is met as: its own or, where that is allowed, another version of it.
    pub fn met(&self, request: &Request<'_>, objects: &Snapshot) -> Result<Option<Arc<Kind>>, ApiError> {
        let facts = Facts::of(request);
        let own = || kind_of(request.registry, facts.resource);
        // Most requests meet no rule, which is said soonest.
        let plain = self.rules.is_empty() || self.rules.iter().any(|rule| rule.matches(&facts));
        if !plain && !self.equivalent {
            return Ok(None);
        }
        // What does not select the request says so before an error of the other is one.
        let namespace = self.selectors.select_namespace(request, objects);
        let object = self.selectors.select_object(request);
        if matches!(namespace, Ok(false)) || matches!(object, Ok(false)) {
            return Ok(None);
        }
        let others = match self.equivalent {
            true => equivalents(request.registry, request.kind, request.subresource),
            false => Vec::new(),
        };
        if find(&self.excludes, &facts, Some(&others)).is_some() {
            return Ok(None);
        }
        let met = match self.rules.is_empty() {
            true => Some(facts.resource),
            false => find(&self.rules, &facts, Some(&others)),
        };
        let Some(resource) = met else { return Ok(None) };
        namespace?;
        object?;
        Ok(kind_of(request.registry, resource).or_else(own))
    }
}

/// A request's objects in the version that a webhook or a policy asked for.
pub(super) struct Versioned {
    /// Group, version, kind.
    pub kind: [String; 3],
    pub object: Value,
    pub old: Value,
}

impl Versioned {
    /// The objects of `request` as those of `kind`, its own or an equivalent one.
    pub async fn of(request: &Request<'_>, kind: &Kind) -> Result<Self, ApiError> {
        let old = request.old.cloned().unwrap_or_default();
        let own = same(request.kind, kind);
        let parent = request.object_kind == [&*request.kind.group, &request.kind.version, &request.kind.kind];
        let shown =
            if own || !parent { request.object_kind } else { [&*kind.group, &kind.version, &kind.kind] };
        let (object, old) = match own || !parent {
            true => (request.object.clone(), old),
            false => (
                convert(request.converter, request.object.clone(), request.kind, kind).await?,
                convert(request.converter, old, request.kind, kind).await?,
            ),
        };
        Ok(Self { kind: shown.map(str::to_owned), object, old })
    }

    /// Makes `object`, which came of the one shown as `kind`'s, the object of `request`.
    pub async fn put_back(
        &self,
        request: &mut Request<'_>,
        kind: &Kind,
        object: Value,
    ) -> Result<(), ApiError> {
        let unchanged = request.object_kind.iter().eq(self.kind.iter());
        request.object = match unchanged {
            true => object,
            false => convert(request.converter, object, kind, request.kind).await?,
        };
        Ok(())
    }
}

fn same(a: &Kind, b: &Kind) -> bool {
    (&a.group, &a.version, &a.plural) == (&b.group, &b.version, &b.plural)
}

/// An object of `from` as one of `to`, another version of the same objects.
async fn convert(
    converter: Option<&Converter>,
    mut object: Value,
    from: &Kind,
    to: &Kind,
) -> Result<Value, ApiError> {
    if !object.is_object() || same(from, to) {
        return Ok(object);
    }
    if let Some(converter) = converter.filter(|_| from.as_custom().is_some()) {
        return converter.between(from, to, object).await;
    }
    if let Some(stored) = from.stored {
        (stored.pack)(&mut object);
    }
    if let Some(stored) = to.stored {
        (stored.unpack)(&mut object);
    }
    Ok(object)
}

/// Reads `object` by the structure of its kind.
pub(super) fn read(registry: &Registry, kind: [&str; 3], object: Value) -> Result<Value, String> {
    decode(registry, kind, object).map(|decoded| decoded.value).map_err(|error| error.to_string())
}

/// Reads `object` by the structure of its kind, noting what the kind does not have.
pub(super) fn decode(
    registry: &Registry,
    [group, version, kind]: [&str; 3],
    object: Value,
) -> Result<Decoded, DecodeError> {
    match registry.by_gvk(group, version, kind) {
        Some(known) => known.decode_value(object),
        None => match Schemas::builtin().by_kind(group, version, kind) {
            Some(id) => schema::decode_value(Schemas::builtin(), id, object),
            None => Ok(Decoded { value: object, strict: Vec::new() }),
        },
    }
}

/// As [`decode`], of a part of an object that is merged into another: its zero values count.
pub(super) fn decode_given(
    registry: &Registry,
    [group, version, kind]: [&str; 3],
    object: Value,
) -> Result<Decoded, DecodeError> {
    match registry.by_gvk(group, version, kind) {
        Some(known) => known.decode_given(object),
        None => match Schemas::builtin().by_kind(group, version, kind) {
            Some(id) => schema::decode_given(Schemas::builtin(), id, object),
            None => Ok(Decoded { value: object, strict: Vec::new() }),
        },
    }
}

/// Fills in what is left out in an object of the kind.
pub(super) fn default(registry: &Registry, [group, version, kind]: [&str; 3], object: &mut Value) {
    if let Some(known) = registry.by_gvk(group, version, kind) {
        known.default(object);
    }
}

/// The kind of a resource that was met.
pub(super) fn kind_of(registry: &Registry, resource: Resource<'_>) -> Option<Arc<Kind>> {
    registry.lookup(resource.group, resource.version, resource.resource).cloned()
}

#[cfg(test)]
mod tests;
