//! The kinds that are served, as data, and the rules that each has of its own.
//!
//! To add a built-in kind, add a line to the table `KINDS`; where it has rules, a module to
//! [`crate::rules`]. Custom kinds come and go: a [`Registry`] does not change, and the server holds
//! the newest one, so that a request sees the same kinds from its start to its end.

mod kept_metadata;
mod kinds;
mod unconditional;

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use gantry_json::Value;
use hashbrown::{Equivalent, HashMap};

use crate::custom::publish;
use crate::custom::warnings;
use crate::custom_kind::CustomKind;
use crate::features::FeatureGates;
use crate::field::{self, FieldError, Path};
use crate::gated::Gated;
use crate::patch::apply::Structure;
use crate::runtime_config::RuntimeConfig;
use crate::schema::{self, DecodeError, Decoded, DefinitionId, Format, Schemas};

pub use self::kept_metadata::KeptMetadata;

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
    /// What is said about a new object as it was given, before it is made ready.
    pub warn_given: fn(&Value) -> Vec<String>,
    /// What is said about an object that is accepted all the same, beside the old one in an update.
    pub warn: fn(&Value, Option<&Value>) -> Vec<String>,
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
        warn_given: |_| Vec::new(),
        warn: |_, _| Vec::new(),
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

/// A text of a kind: the program's own, or that of a custom kind.
pub type Name = Cow<'static, str>;

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
    pub group: Name,
    /// The API version.
    pub version: Name,
    /// The kind.
    pub kind: Name,
    /// The kind of its lists.
    pub list_kind: Name,
    /// The resource's name.
    pub plural: Name,
    /// The resource's name for one object.
    pub singular: Name,
    /// Short names that kubectl knows it by.
    pub short_names: Vec<Name>,
    /// Groups of kinds that it is in, such as `all`.
    pub categories: Vec<Name>,
    /// The verbs.
    pub verbs: &'static [&'static str],
    /// The subresources.
    pub subresources: Vec<Subresource>,
    /// Whether objects are in namespaces.
    pub namespaced: bool,
    /// The structure among the built-in ones; that of a custom kind is its metadata's alone.
    pub schema: DefinitionId,
    /// The fields that selectors may name, beside `metadata.name` and `metadata.namespace`.
    pub selectable_fields: Vec<Name>,
    /// The fields of an object that [`Rules::selectable`] reads.
    pub selected_from: &'static [&'static str],
    /// Whether the status is a subresource.
    pub has_status: bool,
    /// Whether changes of the desired state are counted.
    pub generation: bool,
    /// How objects are kept, where not as they are.
    pub stored: Option<&'static Stored>,
    /// The feature without which it is not served.
    pub gate: Option<&'static str>,
    /// What it does beyond its structure.
    behaviour: Behaviour,
}

/// What a kind does beyond its structure.
enum Behaviour {
    /// What the program says.
    Builtin(Rules),
    /// What a CustomResourceDefinition says.
    Custom(CustomKind),
}

/// Kinds whose deletion is answered with the object.
const SHOWN_DELETED: [(&str, &str); 16] = [
    ("", "PersistentVolume"),
    ("", "PersistentVolumeClaim"),
    ("", "Pod"),
    ("", "PodTemplate"),
    ("", "ResourceQuota"),
    ("", "Service"),
    ("", "ServiceAccount"),
    ("resource.k8s.io", "DeviceClass"),
    ("resource.k8s.io", "ResourceClaim"),
    ("resource.k8s.io", "ResourceClaimTemplate"),
    ("resource.k8s.io", "ResourceSlice"),
    ("storage.k8s.io", "CSIDriver"),
    ("storage.k8s.io", "CSINode"),
    ("storage.k8s.io", "StorageClass"),
    ("storage.k8s.io", "VolumeAttachment"),
    ("storage.k8s.io", "VolumeAttributesClass"),
];

/// What [`Kind::custom`] takes over as it is.
pub(crate) struct Custom {
    pub group: String,
    pub version: String,
    pub kind: Name,
    pub list_kind: Name,
    pub plural: Name,
    pub singular: Name,
    pub short_names: Vec<Name>,
    pub categories: Vec<Name>,
    pub verbs: &'static [&'static str],
    pub namespaced: bool,
    pub selectable_fields: Vec<Name>,
    pub has_status: bool,
}

impl Kind {
    /// A custom kind.
    pub(crate) fn custom(names: Custom, subresources: Vec<Subresource>, custom: CustomKind) -> Self {
        Self {
            group: names.group.into(),
            version: names.version.into(),
            kind: names.kind,
            list_kind: names.list_kind,
            plural: names.plural,
            singular: names.singular,
            short_names: names.short_names,
            categories: names.categories,
            verbs: names.verbs,
            subresources,
            namespaced: names.namespaced,
            schema: Schemas::object_meta(),
            selectable_fields: names.selectable_fields,
            selected_from: &[],
            has_status: names.has_status,
            generation: true,
            stored: None,
            gate: None,
            behaviour: Behaviour::Custom(custom),
        }
    }

    /// What it is where it is a custom kind.
    pub fn as_custom(&self) -> Option<&CustomKind> {
        match &self.behaviour {
            Behaviour::Custom(custom) => Some(custom),
            Behaviour::Builtin(_) => None,
        }
    }

    /// Whether it is the built-in kind of that group and name, in whichever version.
    pub fn is(&self, group: &str, kind: &str) -> bool {
        self.group == group && self.kind == kind && self.as_custom().is_none()
    }

    /// Whether a deletion is answered with the object that it removed; of other kinds with a Status.
    pub fn shows_deleted(&self) -> bool {
        let names = (&*self.group, &*self.kind);
        self.as_custom().is_none() && SHOWN_DELETED.contains(&names)
    }

    /// Whether an update may leave the resource version out, and then replaces whatever stands there.
    pub fn updates_unconditionally(&self) -> bool {
        self.as_custom().is_none() && unconditional::allowed(&self.group, &self.kind)
    }

    /// The structure that field management goes by.
    pub fn structure(&self) -> Structure<'_> {
        match self.as_custom() {
            Some(custom) => Structure::custom(custom.version().schema(), self.has_status),
            None => Structure::builtin(self.schema).keeping(self.kept_metadata()),
        }
    }

    /// What of the metadata an update of the status leaves as it is.
    pub fn kept_metadata(&self) -> KeptMetadata {
        match self.as_custom() {
            Some(_) => KeptMetadata::All,
            None => KeptMetadata::of(&self.group, &self.kind),
        }
    }

    /// The name of its definition in OpenAPI documents.
    pub fn definition_name(&self) -> Cow<'_, str> {
        if self.as_custom().is_none() {
            return Cow::Borrowed(&Schemas::builtin().get(self.schema).name);
        }
        Cow::Owned(publish::definition_name(&self.group, &self.version, &self.kind))
    }

    /// Reads a whole object. An object of a custom kind has no protobuf form.
    pub fn decode(&self, bytes: &[u8], format: Format) -> Result<Decoded, DecodeError> {
        let Some(custom) = self.as_custom() else {
            return schema::decode(Schemas::builtin(), self.schema, bytes, format);
        };
        let free = schema::decode_free(bytes, format)?;
        let mut decoded = custom.version().schema().decode(free.value)?;
        decoded.strict.splice(0..0, free.strict);
        Ok(decoded)
    }

    /// Reads an object that is already a value, such as the outcome of a patch.
    pub fn decode_value(&self, value: Value) -> Result<Decoded, DecodeError> {
        match self.as_custom() {
            Some(custom) => custom.version().schema().decode(value),
            None => schema::decode_value(Schemas::builtin(), self.schema, value),
        }
    }

    /// Reads what a client applies: every value that it gives is its own, zero values too.
    pub fn decode_given(&self, value: Value) -> Result<Decoded, DecodeError> {
        match self.as_custom() {
            Some(custom) => custom.version().schema().decode(value),
            None => schema::decode_given(Schemas::builtin(), self.schema, value),
        }
    }

    /// The rules of a built-in kind; a custom one has none of these.
    fn rules(&self) -> &Rules {
        match &self.behaviour {
            Behaviour::Builtin(rules) => rules,
            Behaviour::Custom(_) => &Rules::NONE,
        }
    }

    /// Fills in what was left out. Idempotent.
    pub fn default(&self, object: &mut Value) {
        match &self.behaviour {
            Behaviour::Builtin(rules) => (rules.default)(object),
            Behaviour::Custom(custom) => custom.version().schema().default(object),
        }
    }

    /// Makes a new object ready: what clients may not set is reset, what every object has is there. What is said
    /// about it as it was given.
    pub fn prepare_create(&self, object: &mut Value) -> Vec<String> {
        let mut warnings = Vec::new();
        match &self.behaviour {
            Behaviour::Builtin(rules) => {
                warnings = (rules.warn_given)(object);
                (rules.prepare_create)(object);
                self.write_zeros(object);
            }
            Behaviour::Custom(_) if self.has_status => {
                object.as_object_mut().map(|fields| fields.remove("status"));
            }
            Behaviour::Custom(_) => {}
        }
        warnings
    }

    /// Adds the fields that every object of a built-in kind has.
    pub fn write_zeros(&self, object: &mut Value) {
        if let (Behaviour::Builtin(_), Some(object)) = (&self.behaviour, object.as_object_mut()) {
            Schemas::builtin().get(self.schema).write_zeros(object);
        }
    }

    /// Makes a changed object ready, beside the old one.
    pub fn prepare_update(&self, object: &mut Value, old: &Value) {
        (self.rules().prepare_update)(object, old);
    }

    /// Makes an object ready whose status or approval changed, beside the old one; the subresource.
    pub fn prepare_status(&self, object: &mut Value, old: &Value, part: &str) {
        (self.rules().prepare_status)(object, old, part);
    }

    /// What is wrong with an object.
    pub fn validate(&self, object: &Value) -> Vec<FieldError> {
        match &self.behaviour {
            Behaviour::Builtin(rules) => field::find(|| (rules.validate)(object)),
            Behaviour::Custom(custom) => match self.validate_type(object) {
                errors if errors.is_empty() => custom.version().schema().validate(object),
                errors => errors,
            },
        }
    }

    /// What is wrong with a new object alone.
    pub fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        field::find(|| (self.rules().validate_create)(object))
    }

    /// What is wrong with a changed object: new, old. What was wrong before may be no fault of a custom
    /// kind's; what its rules say of that are `warnings`.
    pub fn validate_change(
        &self,
        object: &Value,
        old: &Value,
        warnings: &mut Vec<String>,
    ) -> Vec<FieldError> {
        match &self.behaviour {
            Behaviour::Builtin(rules) => field::find(|| {
                let mut errors = (rules.validate)(object);
                errors.extend((rules.validate_update)(object, old));
                errors
            }),
            Behaviour::Custom(custom) => match self.validate_type(object) {
                errors if errors.is_empty() => {
                    custom.version().schema().validate_update(object, old, warnings)
                }
                errors => errors,
            },
        }
    }

    /// What is wrong with a change alone: new, old.
    pub fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        field::find(|| (self.rules().validate_update)(object, old))
    }

    /// What is wrong with a change of the status or the approval: new, old, the subresource. Custom kinds have
    /// `warnings`, as in other changes.
    pub fn validate_status(
        &self,
        object: &Value,
        old: &Value,
        part: &str,
        warnings: &mut Vec<String>,
    ) -> Vec<FieldError> {
        match &self.behaviour {
            Behaviour::Builtin(rules) => field::find(|| (rules.validate_status)(object, old, part)),
            Behaviour::Custom(custom) => custom.version().schema().validate_status(object, old, warnings),
        }
    }

    /// What is said about an object that is accepted all the same, beside the old one in an update.
    pub fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        match &self.behaviour {
            Behaviour::Builtin(rules) => field::find(|| (rules.warn)(object, old)),
            Behaviour::Custom(_) => warnings::of_instance(object, old),
        }
    }

    /// What is wrong with what an object says of its kind.
    fn validate_type(&self, object: &Value) -> Vec<FieldError> {
        let check = |field: &str, wanted: &str| {
            let given = object[field].as_str().unwrap_or_default();
            let fault = || FieldError::invalid(&Path::new(field), given, format!("must be {wanted}"));
            (given != wanted).then(fault)
        };
        check("kind", &self.kind).or_else(|| check("apiVersion", &self.api_version())).into_iter().collect()
    }

    /// The fields that an object is selected by, with their values; not those of custom kinds.
    pub fn selectable(&self, object: &Value) -> Vec<(&'static str, String)> {
        (self.rules().selectable)(object)
    }

    /// The name under which the stored object keeps a selectable field.
    pub fn stored_field<'a>(&self, field: &'a str) -> &'a str {
        let mut renamed = self.stored.into_iter().flat_map(|stored| stored.fields);
        renamed.find(|(name, _)| *name == field).map_or(field, |(_, kept)| kept)
    }

    /// `group/version`, or the version alone in the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone().into_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

/// A group and a version with a resource's or a kind's name.
#[derive(Clone, PartialEq, Eq)]
struct Key([Name; 3]);

/// A [`Key`] that is looked for.
#[derive(Clone, Copy)]
struct Wanted<'a>([&'a str; 3]);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [group, version, name] = &self.0;
        Wanted([group, version, name]).hash(state);
    }
}

impl Hash for Wanted<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.iter().for_each(|part| part.hash(state));
    }
}

impl Equivalent<Key> for Wanted<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        key.0.iter().eq(self.0.iter())
    }
}

/// All kinds at one moment.
#[derive(Clone, Default)]
pub struct Registry {
    kinds: Vec<Arc<Kind>>,
    by_resource: HashMap<Key, usize>,
    by_kind: HashMap<Key, usize>,
    gated: Gated,
}

impl Registry {
    /// The built-in kinds that are served where nothing else is configured.
    pub fn builtin() -> &'static Arc<Self> {
        static BUILTIN: LazyLock<Arc<Registry>> = LazyLock::new(|| {
            Arc::new(Registry::serving(&RuntimeConfig::default(), &FeatureGates::default()))
        });
        &BUILTIN
    }

    /// All built-in kinds, those that are off by default too.
    pub fn known() -> &'static Arc<Self> {
        static KNOWN: LazyLock<Arc<Registry>> = LazyLock::new(|| {
            let mut registry = Registry::default();
            let kinds = kinds::KINDS.iter().filter_map(kinds::kind);
            kinds.for_each(|kind| registry.add(Arc::new(kind)));
            Arc::new(registry)
        });
        &KNOWN
    }

    /// The built-in kinds that a configuration turns on.
    pub fn serving(config: &RuntimeConfig, gates: &FeatureGates) -> Self {
        let mut registry = Self { gated: Gated::new(gates), ..Self::default() };
        let on = Self::known().iter().filter(|kind| {
            config.serves(&kind.group, &kind.version, &kind.plural)
                && kind.gate.is_none_or(|gate| gates.enabled(gate))
        });
        on.for_each(|kind| registry.add(kind.clone()));
        registry
    }

    /// These kinds and `custom` ones; where a custom kind has another's place it is left out.
    #[must_use]
    pub fn with(&self, custom: impl IntoIterator<Item = Arc<Kind>>) -> Self {
        let mut registry = self.clone();
        for kind in custom {
            if registry.lookup(&kind.group, &kind.version, &kind.plural).is_none() {
                registry.add(kind);
            }
        }
        registry
    }

    fn add(&mut self, kind: Arc<Kind>) {
        let at = self.kinds.len();
        let key = |name: &Name| Key([kind.group.clone(), kind.version.clone(), name.clone()]);
        self.by_resource.insert(key(&kind.plural), at);
        self.by_kind.insert(key(&kind.kind), at);
        self.kinds.push(kind);
    }

    /// Drops the fields of an object whose feature gates are off; not those that `old`, which it replaces,
    /// has already.
    pub fn drop_gated(&self, kind: &Kind, object: &mut Value, old: Option<&Value>) {
        if let Behaviour::Builtin(_) = kind.behaviour {
            self.gated.drop_from(kind.schema, object, old);
        }
    }

    /// The kind of a resource.
    pub fn lookup(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.by_resource.get(&Wanted([group, version, plural])).map(|at| &self.kinds[*at])
    }

    /// The kind of that name.
    pub fn by_gvk(&self, group: &str, version: &str, kind: &str) -> Option<&Arc<Kind>> {
        self.by_kind.get(&Wanted([group, version, kind])).map(|at| &self.kinds[*at])
    }

    /// All kinds.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.kinds.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_facts_and_is_found() {
        assert_eq!(Registry::known().iter().count(), kinds::KINDS.len());
        let registry = Registry::builtin();
        let deployment = registry.lookup("apps", "v1", "deployments").expect("served");
        assert_eq!((deployment.api_version().as_str(), &*deployment.singular), ("apps/v1", "deployment"));
        assert!(registry.by_gvk("", "v1", "Pod").is_some_and(|pod| pod.has_status));
        assert!(registry.lookup("", "v1", "deployments").is_none());
        let off = ["admissionregistration.k8s.io", "v1beta1", "mutatingadmissionpolicies"];
        assert!(registry.lookup(off[0], off[1], off[2]).is_none());
        let config = RuntimeConfig::parse(["admissionregistration.k8s.io/v1beta1"]).expect("reads");
        let more = Registry::serving(&config, &FeatureGates::default());
        assert!(more.lookup(off[0], off[1], off[2]).is_some());
    }
}
