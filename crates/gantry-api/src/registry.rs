//! The kinds that are served, as data, and the rules that each has of its own.
//!
//! To add a kind, add a line to its table `KINDS`; where it has rules, a module to [`crate::rules`].

mod kinds;

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::Value;

use crate::field::FieldError;
use crate::schema::DefinitionId;

/// What a kind does beyond its structure.
#[derive(Clone, Copy)]
pub struct Rules {
    /// Fills in what was left out. Idempotent.
    pub default: fn(&mut Value),
    /// Makes a new object ready: what clients may not set is reset.
    pub prepare_create: fn(&mut Value),
    /// Makes a changed object ready, beside the old one.
    pub prepare_update: fn(&mut Value, &Value),
    /// What is wrong with an object.
    pub validate: fn(&Value) -> Vec<FieldError>,
    /// What is wrong with a new object alone.
    pub validate_create: fn(&Value) -> Vec<FieldError>,
    /// What is wrong with a change: new, old.
    pub validate_update: fn(&Value, &Value) -> Vec<FieldError>,
    /// Makes an object ready whose status or approval changed, beside the old one; the subresource.
    pub prepare_status: fn(&mut Value, &Value, &str),
    /// What is wrong with a change of the status or the approval: new, old, the subresource.
    pub validate_status: fn(&Value, &Value, &str) -> Vec<FieldError>,
    /// The fields that an object is selected by, with their values.
    pub selectable: fn(&Value) -> Vec<(&'static str, String)>,
}

impl Rules {
    /// No rules of its own.
    pub const NONE: Self = Self {
        default: |_| {},
        prepare_create: |_| {},
        prepare_update: |_, _| {},
        validate: |_| Vec::new(),
        validate_create: |_| Vec::new(),
        validate_update: |_, _| Vec::new(),
        prepare_status: |_, _, _| {},
        validate_status: |_, _, _| Vec::new(),
        selectable: |_| Vec::new(),
    };
}

/// The form in which the objects of a kind are kept, where it is another kind's.
pub struct Stored {
    /// The group of the kind that is kept.
    pub group: &'static str,
    /// The resource of the kind that is kept.
    pub plural: &'static str,
    /// Turns an object of the kind into the one that is kept.
    pub pack: fn(&mut Value),
    /// Turns a kept object into one of the kind.
    pub unpack: fn(&mut Value),
    /// The selectable fields, each with its name in the form that is kept.
    pub fields: &'static [(&'static str, &'static str)],
}

/// A subresource of a kind.
pub struct Subresource {
    /// Its name.
    pub name: &'static str,
    /// The group, version and kind of what it takes and gives; the parent's where `None`.
    pub kind: Option<[&'static str; 3]>,
    /// Its verbs.
    pub verbs: &'static [&'static str],
}

/// A kind that is served.
pub struct Kind {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The API version.
    pub version: &'static str,
    /// The kind.
    pub kind: &'static str,
    /// The kind of its lists.
    pub list_kind: String,
    /// The resource's name.
    pub plural: &'static str,
    /// The resource's name for one object.
    pub singular: String,
    /// Short names that kubectl knows it by.
    pub short_names: &'static [&'static str],
    /// Groups of kinds that it is in, such as `all`.
    pub categories: &'static [&'static str],
    /// The verbs.
    pub verbs: &'static [&'static str],
    /// The subresources.
    pub subresources: Vec<Subresource>,
    /// Whether objects are in namespaces.
    pub namespaced: bool,
    /// The structure.
    pub schema: DefinitionId,
    /// The fields that selectors may name, beside `metadata.name` and `metadata.namespace`.
    pub selectable_fields: &'static [&'static str],
    /// The fields of an object that [`Rules::selectable`] reads.
    pub selected_from: &'static [&'static str],
    /// Whether the status is a subresource.
    pub has_status: bool,
    /// Whether changes of the desired state are counted.
    pub generation: bool,
    /// The kind's own rules.
    pub rules: Rules,
    /// How objects are kept, where not as they are.
    pub stored: Option<&'static Stored>,
}

impl Kind {
    /// The name under which the stored object keeps a selectable field.
    pub fn stored_field<'a>(&self, field: &'a str) -> &'a str {
        let mut renamed = self.stored.into_iter().flat_map(|stored| stored.fields);
        renamed.find(|(name, _)| *name == field).map_or(field, |(_, kept)| kept)
    }

    /// `group/version`, or the version alone in the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

/// All kinds.
pub struct Registry {
    kinds: Vec<Kind>,
    by_resource: HashMap<[&'static str; 3], usize>,
    by_kind: HashMap<[&'static str; 3], usize>,
}

impl Registry {
    /// The built-in kinds.
    pub fn builtin() -> &'static Self {
        static BUILTIN: LazyLock<Registry> = LazyLock::new(build);
        &BUILTIN
    }

    /// The kind of a resource.
    pub fn lookup(&self, group: &str, version: &str, plural: &str) -> Option<&Kind> {
        self.by_resource.get(&[group, version, plural]).map(|at| &self.kinds[*at])
    }

    /// The kind of that name.
    pub fn by_gvk(&self, group: &str, version: &str, kind: &str) -> Option<&Kind> {
        self.by_kind.get(&[group, version, kind]).map(|at| &self.kinds[*at])
    }

    /// All kinds.
    pub fn iter(&self) -> impl Iterator<Item = &Kind> {
        self.kinds.iter()
    }
}

fn build() -> Registry {
    let kinds: Vec<Kind> = kinds::KINDS.iter().filter_map(kinds::kind).collect();
    let each = || kinds.iter().enumerate();
    let by_resource = each().map(|(at, kind)| ([kind.group, kind.version, kind.plural], at)).collect();
    let by_kind = each().map(|(at, kind)| ([kind.group, kind.version, kind.kind], at)).collect();
    Registry { kinds, by_resource, by_kind }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_facts_and_is_found() {
        let registry = Registry::builtin();
        assert_eq!(registry.iter().count(), kinds::KINDS.len());
        let deployment = registry.lookup("apps", "v1", "deployments").expect("served");
        assert_eq!(
            (deployment.api_version().as_str(), deployment.singular.as_str()),
            ("apps/v1", "deployment")
        );
        assert!(registry.by_gvk("", "v1", "Pod").is_some_and(|pod| pod.has_status));
        assert!(registry.lookup("", "v1", "deployments").is_none());
    }
}
