//! Whether the defaults in a schema are values that it allows.

use gantry_json::{Map, Value, json};

use crate::custom::meta::{self, Malformed};
use crate::custom::node::{Node, is_true};
use crate::custom::rules::{self, Compiler};
use crate::custom::{prune, validate};
use crate::field::{FieldError, Path};

/// What is wrong with the defaults of a version's structural schema at `path`.
pub(crate) fn validate_defaults(path: &Path, schema: &Value) -> Vec<FieldError> {
    walk(path, schema, None)
}

/// What is wrong with them by the rules beside them.
pub(crate) fn by_rules(path: &Path, schema: &Value, compiler: &dyn Compiler) -> Vec<FieldError> {
    walk(path, schema, Some(compiler))
}

fn walk(path: &Path, schema: &Value, compiler: Option<&dyn Compiler>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let whole = Around { root: schema, steps: Vec::new(), metadata: false, compiler };
    place(path, schema, true, &whole, &mut errors);
    errors
}

/// What surrounds a place: the resource that it is in, and the way to it from there.
#[derive(Clone)]
struct Around<'a> {
    root: &'a Value,
    steps: Vec<Step<'a>>,
    /// Whether it is within what every resource has.
    metadata: bool,
    /// Where defaults are checked by rules, what compiles those.
    compiler: Option<&'a dyn Compiler>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Field(&'a str),
    Item,
}

fn place<'a>(
    path: &Path,
    schema: &'a Value,
    resource: bool,
    around: &Around<'a>,
    errors: &mut Vec<FieldError>,
) {
    let own;
    let around = if resource {
        own = Around { root: schema, steps: Vec::new(), metadata: false, compiler: around.compiler };
        &own
    } else {
        around
    };
    if !schema["default"].is_null() {
        default(&path.child("default"), schema, resource, around, errors);
    }
    if schema["items"].is_object() {
        let below = around.below(Step::Item);
        let items = &schema["items"];
        let resource = is_true(items, "x-kubernetes-embedded-resource");
        place(&path.child("items"), items, resource, &below, errors);
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let mut below = around.below(Step::Field(name));
        below.metadata |= resource && matches!(name.as_str(), "metadata" | "kind" | "apiVersion");
        let within = is_true(property, "x-kubernetes-embedded-resource");
        place(&path.child("properties").key(name), property, within, &below, errors);
    }
}

impl<'a> Around<'a> {
    fn below(&self, step: Step<'a>) -> Self {
        let mut below = self.clone();
        below.steps.push(step);
        below
    }

    /// The smallest resource with that value at this place.
    fn surround(&self, value: &Value) -> Value {
        let wrap = |value: Value, step: &Step<'_>| match step {
            Step::Field(name) => Value::Object(Map::from_iter([((*name).to_owned(), value)])),
            Step::Item => json!([value]),
        };
        let mut object = self.steps.iter().rev().fold(value.clone(), wrap);
        if let Value::Object(fields) = &mut object {
            fields.entry("apiVersion").or_insert_with(|| "validation/v1".into());
            fields.entry("kind").or_insert_with(|| "Validation".into());
        }
        object
    }
}

fn default(path: &Path, schema: &Value, resource: bool, around: &Around<'_>, errors: &mut Vec<FieldError>) {
    let value = &schema["default"];
    if let Some(compiler) = around.compiler {
        let node = Node::read(schema, resource, Some(compiler));
        return errors.extend(rules::validate_default(path, &node, value));
    }
    let node = Node::read(schema, resource, None);
    if around.metadata {
        let mut whole = around.surround(value);
        let root = Node::read(around.root, true, None);
        let words = match meta::coerce(&mut whole, &root, true, Malformed::Refused) {
            Err(error) => Some(error.to_string()),
            Ok(_) => {
                let faults = meta::validate(&whole, &root, true, &Path::default());
                let words: Vec<String> = faults.iter().map(ToString::to_string).collect();
                match &words[..] {
                    [] => None,
                    [one] => Some(one.clone()),
                    several => Some(format!("[{}]", several.join(", "))),
                }
            }
        };
        if let Some(words) = words {
            let words = format!("must result in valid metadata: {words}");
            errors.push(FieldError::invalid(path, value.clone(), words));
        } else {
            errors.extend(validate::validate(value, &node, path, None));
        }
        return;
    }
    let mut pruned = value.clone();
    prune::prune_value(&mut pruned, &node);
    if pruned != *value {
        errors.push(FieldError::invalid(path, value.clone(), "must not have unknown fields"));
    }
    let mut whole = value.clone();
    if let Err(error) = meta::coerce(&mut whole, &node, resource, Malformed::Refused) {
        errors.push(FieldError::invalid(path, value.clone(), error.to_string()));
        return;
    }
    let faults = meta::validate(value, &node, resource, path);
    if faults.is_empty() {
        errors.extend(validate::validate(value, &node, path, None));
    } else {
        errors.extend(faults);
    }
}
