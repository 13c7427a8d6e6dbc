//! Server-side apply and the tracking of who owns which field (KEP-555).
//!
//! Flow: [`apply`] merges what a manager wants into the live object, takes out what it gave up and
//! nobody else owns, and fails with [`Conflicts`] where it would change others' fields.
//! [`update`] gives every changed field to who wrote it. Both write `metadata.managedFields`.

mod compare;
pub mod configuration;
mod managers;
mod merge;

use gantry_json::{Value, json};

use self::compare::{Changes, changes, owned};
use self::managers::{Manager, Managers};
use super::fields::FieldSet;
use super::layout::Layout;
use super::typed;
use crate::custom::CustomSchema;
use crate::registry::KeptMetadata;
use crate::schema::{DefinitionId, Schemas, Type};
use crate::status::ApiError;

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Who owns the fields of an object from before the first apply.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// The structure of a kind, as ownership of fields goes by it.
#[derive(Clone, Copy)]
pub struct Structure<'a> {
    root: Layout<'a>,
    /// The definition of a built-in kind.
    builtin: Option<DefinitionId>,
    has_status: bool,
    kept: KeptMetadata,
}

impl<'a> Structure<'a> {
    /// That of a built-in kind.
    pub fn builtin(id: DefinitionId) -> Structure<'static> {
        let root = Layout::root(Schemas::builtin(), id);
        Structure { root, builtin: Some(id), has_status: true, kept: KeptMetadata::Nothing }
    }

    /// The same, where a write of the status leaves that of the metadata as it is.
    #[must_use]
    pub fn keeping(self, kept: KeptMetadata) -> Self {
        Self { kept, ..self }
    }

    /// That of a custom kind, which may have its status as a subresource.
    pub fn custom(schema: &'a CustomSchema, has_status: bool) -> Self {
        Self { root: Layout::Resource(schema.root()), builtin: None, has_status, kept: KeptMetadata::Nothing }
    }

    /// What in an object to be applied is not of its field's type, in the words of upstream.
    pub fn type_faults(&self, object: &Value) -> Vec<String> {
        match self.root {
            Layout::Resource(node) => typed::of_custom(node, object),
            _ => self.builtin.map_or(Vec::new(), |id| typed::of_builtin(&Type::Object(id), object)),
        }
    }

    /// The fields that a write to the subresource leaves as they are.
    fn kept(&self, subresource: &str) -> &'static [&'static str] {
        match subresource {
            "status" => &["spec"],
            _ if self.has_status => &["status"],
            _ => &[],
        }
    }
}

/// How a manager writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// By server-side apply.
    Apply,
    /// By any other write.
    Update,
}

/// Fields that an apply would change and others own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflicts(Vec<(String, FieldSet)>);

impl Conflicts {
    /// The 409 that tells of them.
    pub fn into_error(self, group: &str, resource: &str, name: &str) -> ApiError {
        let mut causes = Vec::new();
        let mut lines = Vec::new();
        let mut single = String::new();
        for (manager, set) in &self.0 {
            lines.push(format!("conflicts with {manager}:"));
            for path in set.paths() {
                lines.push(format!("- {path}"));
                single = format!("conflict with {manager}: {path}");
                causes.push(json!({
                    "reason": "FieldManagerConflict", "message": format!("conflict with {manager}"), "field": path,
                }));
            }
        }
        let message = match causes.len() {
            1 => format!("Apply failed with 1 conflict: {single}"),
            count => format!("Apply failed with {count} conflicts: {}", lines.join("\n")),
        };
        let mut error = ApiError::conflict(group, resource, name, "").with_causes(causes);
        error.message = message;
        error
    }

    /// Those that are left where these fields may be taken.
    fn without(self, allowed: &FieldSet) -> Self {
        let left = self.0.into_iter().map(|(manager, mut set)| {
            set.subtract(allowed);
            (manager, set)
        });
        Self(left.filter(|(_, set)| !set.is_empty()).collect())
    }
}

/// Takes out what is not anybody's: identity and what the server keeps.
fn strip(set: &mut FieldSet) {
    for field in ["f:apiVersion", "f:kind", "f:metadata"] {
        if let Some(child) = set.children.get_mut(field) {
            child.member = false;
        }
    }
    set.children.remove("f:apiVersion");
    set.children.remove("f:kind");
    for field in [
        "f:name",
        "f:namespace",
        "f:creationTimestamp",
        "f:selfLink",
        "f:uid",
        "f:clusterName",
        "f:generation",
        "f:managedFields",
        "f:resourceVersion",
    ] {
        set.cut(&["f:metadata", field]);
    }
    if set.children.get("f:metadata").is_some_and(FieldSet::is_empty) {
        set.children.remove("f:metadata");
    }
}

fn is_object(value: &Value) -> bool {
    value.as_object().is_some_and(|fields| !fields.is_empty())
}

/// Sets `new`'s `metadata.managedFields` for a write that is not an apply.
///
/// `old` is null for a new object. A client that sends `managedFields: [{}]` ends all tracking; an
/// object without tracking stays without until the first apply.
#[expect(clippy::too_many_arguments)]
pub fn update(
    structure: Structure<'_>,
    api_version: &str,
    old: &Value,
    new: &mut Value,
    manager: &str,
    operation: Operation,
    subresource: &str,
    now: &str,
) {
    let sent = new["metadata"]["managedFields"].take();
    if let Some(metadata) = new["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    if sent.as_array().is_some_and(|entries| entries.len() == 1 && entries[0] == json!({})) {
        return;
    }
    let mut managers = Managers::parse(&sent);
    if managers.is_empty() {
        managers = Managers::parse(&old["metadata"]["managedFields"]);
    }
    if managers.is_empty() && is_object(old) {
        return;
    }
    let me = Manager::new(manager, operation, api_version, subresource);
    let mut changes = changes(Schemas::builtin(), structure.root, old, new);
    // What the write cannot change is not its writer's, even of a new object that came with it.
    for field in structure.kept(subresource) {
        let field = format!("f:{field}");
        changes.written.children.remove(&field);
        changes.removed.children.remove(&field);
    }
    let mut mine = managers.take(&me).unwrap_or_default();
    managers.yield_to(&changes);
    mine.subtract(&changes.removed);
    let mut gained = changes.written;
    strip(&mut gained);
    match mine.is_empty() {
        true => mine = gained,
        false => mine.add(&gained),
    }
    managers.put(me, mine, now);
    managers.cap();
    managers.write(new);
}

/// `live` (null for a new object) with what `manager` wants, `applied`, and field ownership noted.
#[expect(clippy::too_many_arguments)]
pub fn apply(
    structure: Structure<'_>,
    api_version: &str,
    live: &Value,
    applied: &Value,
    manager: &str,
    force: bool,
    subresource: &str,
    now: &str,
) -> Result<Value, Conflicts> {
    let (schemas, root) = (Schemas::builtin(), structure.root);
    let mut base = live.clone();
    let mut managers = Managers::parse(&live["metadata"]["managedFields"]);
    if let Some(metadata) = base.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    if managers.is_empty() && is_object(live) {
        let mut all = changes(schemas, root, &Value::Null, &base).written;
        structure.kept("").iter().for_each(|field| all.children.remove(&format!("f:{field}")));
        strip(&mut all);
        managers.put(Manager::new(BEFORE_FIRST_APPLY, Operation::Update, api_version, ""), all, now);
    }
    let me = Manager::new(manager, Operation::Apply, api_version, subresource);
    let last = managers.take(&me);
    let mut wanted = owned(schemas, root, applied);
    let kept = structure.kept(subresource);
    kept.iter().for_each(|field| wanted.children.remove(&format!("f:{field}")));
    let mut merged = merge::merge(schemas, root, &base, applied);
    kept.iter().for_each(|field| restore(&mut merged, &base, field));
    if subresource == "status" {
        keep_metadata(structure.kept, &mut wanted, &mut merged, &base);
    }
    if let Some(last) = last {
        let mut others = managers.all();
        others.add(&wanted);
        merge::prune(schemas, root, &mut merged, &last, &others);
    }
    let changed = changes(schemas, root, &base, &merged);
    let conflicts = Conflicts(managers.conflicts(&changed));
    if !conflicts.0.is_empty() && !force {
        let left = conflicts.without(&last_applied(schemas, root, &base, manager));
        if !left.0.is_empty() {
            return Err(left);
        }
    }
    managers.yield_to(&changed);
    strip(&mut wanted);
    managers.put(me, wanted, now);
    managers.write(&mut merged);
    if manager == "kubectl" && merged["metadata"]["annotations"][LAST_APPLIED].is_string() {
        merged["metadata"]["annotations"][LAST_APPLIED] = format!("{applied}\n").into();
    }
    Ok(merged)
}

fn restore(merged: &mut Value, base: &Value, field: &str) {
    if let Value::Object(merged) = merged {
        match base.get(field) {
            Some(value) => merged.insert(field.into(), value.clone()),
            None => merged.remove(field),
        };
    }
}

/// Leaves that of the metadata as it was, and nobody's.
fn keep_metadata(kept: KeptMetadata, wanted: &mut FieldSet, merged: &mut Value, base: &Value) {
    for field in ["annotations", "finalizers", "labels", "ownerReferences"] {
        if kept.keeps(field) {
            wanted.cut(&["f:metadata", &format!("f:{field}")]);
            restore(&mut merged["metadata"], &base["metadata"], field);
        }
    }
}

/// The fields that kubectl itself wrote by client-side apply, which its server-side apply may take.
fn last_applied(schemas: &Schemas, root: Layout<'_>, live: &Value, manager: &str) -> FieldSet {
    let text = live["metadata"]["annotations"][LAST_APPLIED].as_str().filter(|_| manager == "kubectl");
    let Some(before) = text.and_then(|text| gantry_json::from_str::<Value>(text).ok()) else {
        return FieldSet::default();
    };
    let mut mine = owned(schemas, root, &before);
    let Changes { written, removed: _ } =
        changes(schemas, root, live, &merge::merge(schemas, root, live, &before));
    mine.subtract(&written);
    mine
}

#[cfg(test)]
mod tests;
