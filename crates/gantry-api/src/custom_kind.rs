//! Custom kinds: what a CustomResourceDefinition makes of the kinds that it defines, one for each
//! version that is served.

mod columns;
pub mod definition;
mod source;
mod unchanged;
pub mod version;

use std::sync::{Arc, OnceLock};

use gantry_json::{Value, json};
use jiff::Timestamp;

use crate::custom::path::JsonPath;
use crate::custom::rules::Compiler;
use crate::custom::{CustomSchema, Scale};
use crate::registry::{Kind, Name, Subresource};

use columns::Column;
pub use source::Source;
use unchanged::Unchanged;

const VERBS: &[&str] = &["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
/// The verbs while the definition is being deleted.
const LAST_VERBS: &[&str] = &["delete", "deletecollection", "get", "list", "watch"];
const PART: &[&str] = &["get", "patch", "update"];

/// How an object of one version becomes one of another.
#[derive(Debug, Clone, PartialEq)]
pub enum Conversion {
    /// It says that it is one.
    None,
    /// A webhook is asked: the `spec.conversion.webhook` of the definition.
    Webhook(Value),
}

/// One version of a custom kind. Its schema is read when it is needed first: of most kinds that a
/// cluster knows nobody has an object.
#[derive(Debug)]
pub struct Version {
    /// Its name.
    pub name: String,
    /// `group/version`.
    pub api_version: String,
    source: Arc<Source>,
    compiler: Option<&'static dyn Compiler>,
    schema: OnceLock<CustomSchema>,
    scale: Option<Scale>,
    served: bool,
    has_status: bool,
    /// How stored objects of the version begin.
    head: Vec<u8>,
    columns: Vec<Column>,
    selectable: Vec<(Name, Option<JsonPath>)>,
    /// What who uses it is told.
    warning: Option<String>,
}

/// A definition, read.
#[derive(Debug)]
pub struct Definition {
    /// The name of the CustomResourceDefinition.
    pub name: String,
    /// The resource version of the definition that was read.
    pub resource_version: String,
    /// Another one wherever what it says of its kinds is.
    pub digest: String,
    /// How its objects are converted.
    pub conversion: Conversion,
    /// Whether it is being deleted.
    pub terminating: bool,
    versions: Vec<Version>,
    storage: usize,
    /// Whether what was stored of one version is as it would be stored of every other now.
    plain: bool,
    unchanged: Unchanged,
}

impl Version {
    /// What its objects are.
    pub fn schema(&self) -> &CustomSchema {
        self.schema.get_or_init(|| CustomSchema::new(&self.source.version(&self.name), self.compiler))
    }

    /// The schema as it was written; null where there is none.
    pub fn open_api(&self) -> Value {
        self.source.version(&self.name)["schema"]["openAPIV3Schema"].take()
    }

    /// Whether these stored bytes are an object of the version.
    pub fn is_form_of(&self, stored: &[u8]) -> bool {
        stored.starts_with(&self.head)
    }
}

impl Definition {
    /// The version that is stored.
    pub fn storage(&self) -> &Version {
        &self.versions[self.storage]
    }

    /// The version with this `group/version`.
    pub fn version(&self, api_version: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.api_version == api_version)
    }
}

/// A custom kind in one of its versions.
#[derive(Debug, Clone)]
pub struct CustomKind {
    /// The definition, which its other versions share.
    pub definition: Arc<Definition>,
    at: usize,
}

/// What has to be done to show a stored object in a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Nothing.
    AsIs,
    /// What [`CustomKind::show`] does.
    Adopted,
    /// A webhook has to convert it first.
    Converted,
}

impl CustomKind {
    /// The version.
    pub fn version(&self) -> &Version {
        &self.definition.versions[self.at]
    }

    /// Where the numbers of the scale subresource are.
    pub fn scale(&self) -> Option<&Scale> {
        self.version().scale.as_ref()
    }

    /// What who uses the version is told.
    pub fn warning(&self) -> Option<&str> {
        self.version().warning.as_deref()
    }

    /// What has to be done to show these stored bytes, which `revision` has written.
    pub fn shown(&self, stored: &[u8], revision: u64) -> Shown {
        match self.version().is_form_of(stored) {
            true if self.definition.plain || self.definition.unchanged.has(revision) => Shown::AsIs,
            true => Shown::Adopted,
            false if self.definition.conversion == Conversion::None => Shown::Adopted,
            false => Shown::Converted,
        }
    }

    /// Notes that what `revision` has written is shown as it is, although it had to be read to know that.
    pub fn note_unchanged(&self, revision: u64) {
        self.definition.unchanged.note(revision);
    }

    /// A stored object as this version shows it, where no webhook is asked.
    pub fn show(&self, object: &mut Value) {
        let version = self.version();
        let stored = object["apiVersion"].as_str().and_then(|stored| self.definition.version(stored));
        if let Some(stored) = stored {
            stored.schema().adopt(object);
        }
        if stored.is_none_or(|stored| stored.api_version != version.api_version) {
            self.relabel(object);
        }
    }

    /// What a conversion leads to, as this version shows it.
    pub fn relabel(&self, object: &mut Value) {
        let version = self.version();
        object["apiVersion"] = version.api_version.as_str().into();
        if let Ok(decoded) = version.schema().decode(object.clone()) {
            *object = decoded.value;
        }
    }

    /// The value of a field that selectors may name; `None` where it has none.
    pub fn selected(&self, object: &Value, field: &str) -> Option<String> {
        let (_, path) = self.version().selectable.iter().find(|(name, _)| name == field)?;
        match path.as_ref()?.first(object)? {
            Value::String(text) => Some(text.to_string()),
            Value::Null | Value::Object(_) | Value::Array(_) => None,
            other => Some(other.to_string()),
        }
    }

    /// The definitions of the columns of a table.
    pub(crate) fn columns(&self) -> Vec<Value> {
        columns::definitions(&self.version().columns)
    }

    /// The cells of an object in a table.
    pub(crate) fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        columns::cells(&self.version().columns, object, now)
    }
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

fn names(value: &Value) -> Vec<Name> {
    let list = value.as_array().into_iter().flatten().filter_map(Value::as_str);
    list.map(|name| Name::Owned(name.to_owned())).collect()
}

fn version(definition: &Value, version: &Value, from: &From) -> Version {
    let spec = &definition["spec"];
    let (group, kind, name) = (text(spec, "group"), text(&spec["names"], "kind"), text(version, "name"));
    let api_version = format!("{group}/{name}");
    let fields = version["selectableFields"].as_array().into_iter().flatten();
    let selectable = fields.filter_map(|field| {
        let path = field["jsonPath"].as_str()?;
        Some((Name::Owned(path.trim_start_matches('.').to_owned()), JsonPath::parse(path).ok()))
    });
    let warning = (version["deprecated"] == true).then(|| {
        let said = version["deprecationWarning"].as_str();
        said.map_or_else(|| format!("{api_version} {kind} is deprecated"), str::to_owned)
    });
    let mut head = json!({"kind": kind}).to_string();
    head.pop();
    head += &format!(",\"apiVersion\":{},", Value::from(api_version.as_str()));
    Version {
        name,
        source: from.source.clone(),
        compiler: from.compiler,
        schema: OnceLock::new(),
        scale: Scale::read(&version["subresources"]["scale"]),
        served: version["served"] == true,
        has_status: version["subresources"]["status"].is_object(),
        head: head.into_bytes(),
        columns: columns::read(version),
        selectable: selectable.collect(),
        warning,
        api_version,
    }
}

/// What kinds read later.
pub struct From {
    /// The definition as it is stored.
    pub source: Arc<Source>,
    /// Compiles the rules in its schemas; without one they are left out.
    pub compiler: Option<&'static dyn Compiler>,
    /// Another one wherever what the definition says of its kinds is.
    pub digest: String,
}

/// The kinds of a definition whose names are accepted, one for each version that is served.
pub fn kinds(definition: &Value, from: &From) -> Vec<Arc<Kind>> {
    let (spec, status) = (&definition["spec"], &definition["status"]);
    let listed = spec["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut versions: Vec<(bool, &Value, Version)> =
        listed.iter().map(|each| (each["storage"] == true, each, version(definition, each, from))).collect();
    versions.sort_by(|a, b| version::compare(&a.2.name, &b.2.name));
    let Some(storage) = versions.iter().position(|(storage, ..)| *storage) else { return Vec::new() };
    let same = versions.windows(2).all(|pair| pair[0].1["schema"] == pair[1].1["schema"]);
    // What an earlier schema let through may not be what this one has.
    let unchanged = definition["metadata"]["generation"].as_i64().is_none_or(|generation| generation <= 1);
    let read = Arc::new(Definition {
        name: text(&definition["metadata"], "name"),
        resource_version: text(&definition["metadata"], "resourceVersion"),
        digest: from.digest.clone(),
        conversion: match text(&spec["conversion"], "strategy").as_str() {
            "Webhook" => Conversion::Webhook(spec["conversion"]["webhook"].clone()),
            _ => Conversion::None,
        },
        terminating: definition::has(definition, "Terminating"),
        storage,
        plain: same && unchanged,
        unchanged: Unchanged::default(),
        versions: versions.into_iter().map(|(_, _, version)| version).collect(),
    });
    let accepted = match status["acceptedNames"]["kind"].as_str() {
        Some(kind) if !kind.is_empty() => &status["acceptedNames"],
        _ => &spec["names"],
    };
    let kinds = (0..read.versions.len()).filter(|at| read.versions[*at].served).map(|at| {
        let custom = CustomKind { definition: read.clone(), at };
        Arc::new(kind(spec, accepted, custom))
    });
    kinds.collect()
}

fn kind(spec: &Value, accepted: &Value, custom: CustomKind) -> Kind {
    let version = custom.version();
    let mut subresources = Vec::new();
    if version.has_status {
        subresources.push(Subresource { name: "status", kind: None, verbs: PART });
    }
    if version.scale.is_some() {
        let kind = Some(["autoscaling", "v1", "Scale"]);
        subresources.push(Subresource { name: "scale", kind, verbs: PART });
    }
    let name = |field: &str| Name::Owned(text(accepted, field));
    Kind::custom(
        crate::registry::Custom {
            group: text(spec, "group"),
            version: version.name.clone(),
            kind: name("kind"),
            list_kind: name("listKind"),
            plural: name("plural"),
            singular: name("singular"),
            short_names: names(&accepted["shortNames"]),
            categories: names(&accepted["categories"]),
            verbs: if custom.definition.terminating { LAST_VERBS } else { VERBS },
            namespaced: spec["scope"] == "Namespaced",
            selectable_fields: version.selectable.iter().map(|(name, _)| name.clone()).collect(),
            has_status: version.has_status,
        },
        subresources,
        custom,
    )
}

#[cfg(test)]
mod tests;
