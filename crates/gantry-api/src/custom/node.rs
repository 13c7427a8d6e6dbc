//! A schema as it is walked: one node for each place, with its structure apart from its checks.

use std::collections::HashMap;
use std::sync::Arc;

use gantry_json::{Key, Value};

use super::checks::Checks;
use super::pattern::Pattern;
use super::rules::{Compiler, Expressions};
use crate::rules::common::{list, text};
use crate::schema::ListType;

/// What a place may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Kind {
    /// Anything.
    #[default]
    Any,
    /// An object.
    Object,
    /// A list.
    Array,
    /// A text.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// A whole number or a text.
    IntOrString,
}

impl Kind {
    /// What the place of a schema may hold.
    pub fn read(schema: &Value) -> Self {
        match text(schema, "type") {
            _ if is_true(schema, "x-kubernetes-int-or-string") => Self::IntOrString,
            "object" => Self::Object,
            "array" => Self::Array,
            "string" => Self::String,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            _ => Self::Any,
        }
    }

    /// As schemas and messages call it; empty for anything.
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::IntOrString => "integer,string",
        }
    }
}

/// What the fields of an object hold that no property names.
#[derive(Debug)]
pub(crate) enum Additional {
    /// Anything.
    Any,
    /// What a schema says.
    Node(Box<Node>),
}

/// One place of a schema.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub kind: Kind,
    pub nullable: bool,
    pub default: Option<Box<Value>>,
    /// By name.
    properties: Vec<(Box<str>, Node)>,
    pub additional: Option<Additional>,
    pub items: Option<Box<Node>>,
    pub preserves: bool,
    /// Whether it is a whole resource, with metadata.
    pub embedded: bool,
    pub list: ListType,
    pub keys: Vec<Box<str>>,
    pub atomic: bool,
    pub checks: Option<Box<Checks>>,
    pub rules: Option<Box<Expressions>>,
    pub has: Has,
}

/// What there is at a place or below it: a walk that looks for it goes no further than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Has {
    /// Defaults.
    pub defaults: bool,
    /// Lists whose items have an identity.
    pub identities: bool,
    /// Whole resources.
    pub resources: bool,
    /// Expressions.
    pub rules: bool,
}

impl Has {
    fn or(self, other: Self) -> Self {
        Self {
            defaults: self.defaults || other.defaults,
            identities: self.identities || other.identities,
            resources: self.resources || other.resources,
            rules: self.rules || other.rules,
        }
    }
}

impl Node {
    /// Reads the schema of a whole `resource`, or of a value. What a schema cannot say is left out: a
    /// definition was checked when it was written.
    pub fn read(schema: &Value, resource: bool, compiler: Option<&dyn Compiler>) -> Self {
        Reader { compiler, patterns: HashMap::new() }.node(schema, resource)
    }

    /// The node of a property.
    pub fn property(&self, name: &str) -> Option<&Node> {
        let at = self.properties.binary_search_by(|(each, _)| (**each).cmp(name)).ok()?;
        Some(&self.properties[at].1)
    }

    /// The properties by name.
    pub fn properties(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.properties.iter().map(|(name, node)| (&**name, node))
    }

    /// Whether any property is named.
    pub fn has_properties(&self) -> bool {
        !self.properties.is_empty()
    }

    /// The node of the fields that no property names, where a schema says what they hold.
    pub fn additional_node(&self) -> Option<&Node> {
        match &self.additional {
            Some(Additional::Node(node)) => Some(node),
            _ => None,
        }
    }

    /// The node of a field.
    pub fn field(&self, name: &str) -> Option<&Node> {
        self.property(name).or_else(|| self.additional_node())
    }

    /// Whether the value is null where nulls are not allowed.
    pub fn refuses_null(&self, value: &Value) -> bool {
        value.is_null() && !self.nullable
    }
}

/// Whether a key of a schema is set.
pub(crate) fn is_true(schema: &Value, key: &str) -> bool {
    schema[key] == true
}

struct Reader<'a> {
    compiler: Option<&'a dyn Compiler>,
    /// Each pattern once: schemas repeat them.
    patterns: HashMap<String, Arc<Pattern>>,
}

impl Reader<'_> {
    /// The node of `schema`; `resource` where it stands for a whole resource.
    fn node(&mut self, schema: &Value, resource: bool) -> Node {
        let kind = Kind::read(schema);
        let mut node = Node {
            kind,
            nullable: is_true(schema, "nullable"),
            default: Some(&schema["default"]).filter(|value| !value.is_null()).cloned().map(Box::new),
            preserves: is_true(schema, "x-kubernetes-preserve-unknown-fields"),
            embedded: is_true(schema, "x-kubernetes-embedded-resource"),
            list: match text(schema, "x-kubernetes-list-type") {
                "map" => ListType::Map,
                "set" => ListType::Set,
                _ => ListType::Atomic,
            },
            keys: list(schema, "x-kubernetes-list-map-keys")
                .iter()
                .filter_map(|key| key.as_str().map(Box::from))
                .collect(),
            atomic: text(schema, "x-kubernetes-map-type") == "atomic",
            ..Node::default()
        };
        // They are in order already: schemas are maps by key.
        if let Some(properties) = schema["properties"].as_object() {
            let read = |(name, schema): (&Key, &Value)| {
                let resource = is_true(schema, "x-kubernetes-embedded-resource");
                (name.as_str().into(), self.node(schema, resource))
            };
            node.properties = properties.iter().map(read).collect();
            node.properties.sort_by(|a, b| a.0.cmp(&b.0));
        }
        node.additional = match &schema["additionalProperties"] {
            additional @ Value::Object(_) => {
                let resource = is_true(additional, "x-kubernetes-embedded-resource");
                Some(Additional::Node(Box::new(self.node(additional, resource))))
            }
            // Where none are allowed, that is a check: they are known, and refused.
            Value::Bool(_) => Some(Additional::Any),
            _ => None,
        };
        if let items @ Value::Object(_) = &schema["items"] {
            let resource = is_true(items, "x-kubernetes-embedded-resource");
            node.items = Some(Box::new(self.node(items, resource)));
        }
        node.checks = self.checks(schema, kind);
        if let (Some(compiler), false) = (self.compiler, list(schema, "x-kubernetes-validations").is_empty())
        {
            node.rules = Some(Box::new(Expressions::read(schema, resource, compiler)));
        }
        let here = Has {
            defaults: node.default.is_some(),
            identities: node.list != ListType::Atomic,
            resources: node.embedded,
            rules: node.rules.is_some(),
        };
        let below = node.properties.iter().map(|(_, each)| each);
        let below = below.chain(node.additional_node()).chain(node.items.as_deref());
        node.has = below.fold(here, |has, each| has.or(each.has));
        node
    }

    fn checks(&mut self, schema: &Value, kind: Kind) -> Option<Box<Checks>> {
        let mut checks = Checks::read(schema, kind);
        if let Some(text) = schema["pattern"].as_str().filter(|text| !text.is_empty()) {
            let made = self.patterns.entry(text.to_owned());
            checks.pattern = Some(Arc::clone(made.or_insert_with(|| Arc::new(Pattern::new(text)))));
        }
        let compiler = self.compiler.take();
        for (key, nodes) in
            [("allOf", &mut checks.all_of), ("anyOf", &mut checks.any_of), ("oneOf", &mut checks.one_of)]
        {
            nodes.extend(list(schema, key).iter().map(|each| self.node(each, false)));
        }
        if let not @ Value::Object(_) = &schema["not"] {
            checks.not = Some(Box::new(self.node(not, false)));
        }
        self.compiler = compiler;
        (!checks.is_empty()).then(|| Box::new(checks))
    }
}
