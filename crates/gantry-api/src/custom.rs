//! Custom kinds: what the schema of a CustomResourceDefinition's version means.
//!
//! A schema is read once into a tree of nodes ([`CustomSchema`]). Reading, defaulting and checking
//! an object walk that tree: structure says which fields there are, and everything else about a
//! value is a check of its own. The rules in `x-kubernetes-validations` are compiled and evaluated
//! by whoever passes a [`rules::Compiler`]; where they stand and what follows from them is said here.
//! Whether a schema may be written at all is up to the rules of CustomResourceDefinition.

mod checks;
mod default;
mod formats;
mod keyed;
mod lists;
mod meta;
pub(crate) mod node;
pub mod path;
pub mod pattern;
mod place;
mod prune;
pub mod publish;
pub mod rules;
mod scale;
mod validate;
pub mod warnings;

use gantry_json::Value;

pub use scale::{Scale, value_at};

pub(crate) use default::validate::validate_defaults;
pub(crate) use formats::is_request_uri;

use crate::field::{FieldError, FieldErrorKind, Path};
use crate::go::no_object;
use crate::schema::{DecodeError, Decoded};
use meta::Malformed;
use node::Node;
use rules::Compiler;

/// The schema of one version of a custom kind.
#[derive(Debug)]
pub struct CustomSchema {
    root: Node,
    scale: Option<Scale>,
}

impl CustomSchema {
    /// Reads a version of a definition, an entry of its `spec.versions`; without a compiler, rules
    /// are left out.
    pub fn new(version: &Value, compiler: Option<&dyn Compiler>) -> Self {
        Self {
            root: Node::read(&version["schema"]["openAPIV3Schema"], true, compiler),
            scale: Scale::read(&version["subresources"]["scale"]),
        }
    }

    /// The node of whole objects.
    pub(crate) fn root(&self) -> &Node {
        &self.root
    }

    /// Where the numbers of the scale subresource are, if it has one.
    pub fn scale(&self) -> Option<&Scale> {
        self.scale.as_ref()
    }

    /// Reads an object that was sent: fields that the schema does not know are left out and told, and
    /// so are nulls where none may be. What is no metadata is an error.
    pub fn decode(&self, mut value: Value) -> Result<Decoded, DecodeError> {
        let Value::Object(fields) = &mut value else {
            return match value {
                Value::Null => Ok(Decoded { value: Value::Object(Default::default()), strict: vec![] }),
                _ => Err(DecodeError::Type(no_object(&value))),
            };
        };
        for key in ["apiVersion", "kind"] {
            if fields.get(key).is_some_and(Value::is_null) {
                fields.remove(key);
            }
            if let Some(other) = fields.get(key).filter(|value| !value.is_string()) {
                let words =
                    format!(".{key} accessor error: {other} is not of the type string, expected string");
                return Err(DecodeError::Type(words));
            }
        }
        let mut strict = meta::coerce_metadata(fields, "", Malformed::Refused)?;
        let unknown = |path: String| format!("unknown field {path:?}");
        strict.extend(prune::prune(&mut value, &self.root).into_iter().map(unknown));
        prune::drop_nulls(&mut value, Some(&self.root));
        prune::write_plainly(&mut value);
        strict.extend(meta::coerce(&mut value, &self.root, false, Malformed::Refused)?);
        Ok(Decoded { value, strict })
    }

    /// Makes a stored object one of this version: what the schema does not know is left out, and what
    /// is missing takes its default.
    pub fn adopt(&self, object: &mut Value) {
        if let Value::Object(fields) = object {
            let _ = meta::coerce_metadata(fields, "", Malformed::Dropped);
        }
        prune::prune(object, &self.root);
        prune::drop_nulls(object, Some(&self.root));
        let _ = meta::coerce(object, &self.root, false, Malformed::Dropped);
        self.default(object);
    }

    /// Fills in what was left out. Idempotent.
    pub fn default(&self, object: &mut Value) {
        default::default(object, &self.root);
    }

    /// What is wrong with a new object, but for the metadata that every kind has.
    pub fn validate(&self, object: &Value) -> Vec<FieldError> {
        let root = Path::default();
        let mut errors = validate::validate(object, &self.root, &root, None);
        if let Some(scale) = &self.scale {
            scale.validate_spec(object, &mut errors);
            scale.validate_status(object, &mut errors);
        }
        errors.extend(meta::validate(object, &self.root, false, &root));
        errors.extend(lists::validate(object, &self.root));
        self.evaluate(object, None, errors, &mut Vec::new())
    }

    /// What is wrong with a changed object; what was wrong before and did not change is tolerated. By rules, it is
    /// one of the `warnings`.
    pub fn validate_update(&self, new: &Value, old: &Value, warnings: &mut Vec<String>) -> Vec<FieldError> {
        let root = Path::default();
        let mut errors = validate::validate(new, &self.root, &root, Some(old));
        if let Some(scale) = &self.scale {
            scale.validate_spec(new, &mut errors);
            scale.validate_status(new, &mut errors);
        }
        errors.extend(meta::validate(new, &self.root, false, &root));
        self.validate_lists(new, old, &mut errors);
        self.evaluate(new, Some(old), errors, warnings)
    }

    /// What is wrong with an object whose status changed, as [`Self::validate_update`] has it.
    pub fn validate_status(&self, new: &Value, old: &Value, warnings: &mut Vec<String>) -> Vec<FieldError> {
        let mut errors = validate::validate(new, &self.root, &Path::default(), Some(old));
        if let Some(scale) = &self.scale {
            scale.validate_status(new, &mut errors);
        }
        self.validate_lists(new, old, &mut errors);
        self.evaluate(new, Some(old), errors, warnings)
    }

    fn validate_lists(&self, new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
        let found = lists::validate(new, &self.root);
        if !found.is_empty() && lists::validate(old, &self.root).is_empty() {
            errors.extend(found);
        }
    }

    /// Adds what is wrong by the rules, which count on what they look at being as the schema says.
    fn evaluate(
        &self,
        new: &Value,
        old: Option<&Value>,
        mut errors: Vec<FieldError>,
        warnings: &mut Vec<String>,
    ) -> Vec<FieldError> {
        if !self.root.has.rules {
            return errors;
        }
        let blocks = |error: &FieldError| {
            matches!(
                error.kind,
                FieldErrorKind::NotSupported
                    | FieldErrorKind::Required
                    | FieldErrorKind::TooLong
                    | FieldErrorKind::TooMany
                    | FieldErrorKind::TypeInvalid
            )
        };
        if errors.iter().any(blocks) {
            let words = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
            errors.push(FieldError::invalid(&Path::new("<nil>"), "null", words));
        } else {
            errors.extend(rules::validate(&self.root, new, old, warnings));
        }
        errors
    }
}

#[cfg(test)]
mod tests;
