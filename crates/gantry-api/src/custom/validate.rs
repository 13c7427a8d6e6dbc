//! Whether a value is what its schema asks for, in the words of upstream's schema validator.
//!
//! In an update, what is wrong with a part that did not change is tolerated (ratcheting, KEP-4008):
//! each place is compared with the one it was, where it is known which that is.

mod scalars;

use std::collections::HashSet;

use gantry_json::{Map, Value};

use super::checks::Checks;
use super::keyed::Keyed;
use super::node::{Additional, Kind, Node};
use super::place;
use crate::field::{FieldError, FieldErrorKind, Path};
use crate::schema::ListType;

/// The most errors that are told.
const MOST_ERRORS: usize = 1000;

/// What is wrong with `value` at `path`; where it was `old`, only what is wrong with its changes.
pub(crate) fn validate(value: &Value, node: &Node, path: &Path, old: Option<&Value>) -> Vec<FieldError> {
    let place = Place { prefix: path, at: place::Place::START };
    let mut outcome = check(value, node, &place, old, true);
    let mut seen = HashSet::new();
    outcome.errors.retain(|error| seen.insert(error.to_string()));
    outcome.errors.truncate(MOST_ERRORS);
    outcome.errors
}

/// Where a value is: the messages name it without the prefix that the paths have.
#[derive(Clone, Copy)]
struct Place<'a> {
    prefix: &'a Path,
    at: place::Place<'a>,
}

impl<'a> Place<'a> {
    fn field(&'a self, name: &'a str) -> Self {
        Self { prefix: self.prefix, at: self.at.field(name) }
    }

    fn item(&'a self, at: usize) -> Self {
        Self { prefix: self.prefix, at: self.at.item(at) }
    }

    fn name(&self) -> String {
        self.at.dotted()
    }

    fn path(&self) -> Path {
        let name = self.name();
        match (name.as_str(), *self.prefix == Path::default()) {
            // What has no name is called so.
            ("", true) => Path::new("<nil>"),
            ("", false) => self.prefix.clone(),
            (name, _) => self.prefix.child(name),
        }
    }

    fn error(&self, kind: FieldErrorKind, value: impl Into<Value>, words: String) -> FieldError {
        FieldError::of(kind, &self.path(), Some(&value.into()), words)
    }

    fn invalid(&self, value: impl Into<Value>, words: impl AsRef<str>) -> FieldError {
        let words = format!("{} in body {}", self.name(), words.as_ref());
        self.error(FieldErrorKind::Invalid, value, words)
    }

    fn wrong_type(&self, wanted: &str, found: &str) -> FieldError {
        let words = format!("{} in body must be of type {wanted}: {found:?}", self.name());
        self.error(FieldErrorKind::TypeInvalid, found, words)
    }

    /// A failure of a whole junctor, which has no field of its own.
    fn junctor(&self, words: &str) -> FieldError {
        let path = match *self.prefix == Path::default() {
            true => Path::new("<nil>"),
            false => self.prefix.clone(),
        };
        FieldError::invalid(&path, "", format!("{:?} {words}", self.name()))
    }
}

/// What a check found, and how many of its parts held: of several alternatives that fail, the one
/// that holds most is told.
#[derive(Default)]
struct Outcome {
    errors: Vec<FieldError>,
    held: usize,
}

impl Outcome {
    fn of(error: FieldError) -> Self {
        Self { errors: vec![error], held: 0 }
    }

    fn holds(&self) -> bool {
        self.errors.is_empty()
    }

    fn merge(&mut self, other: Self) {
        self.held += other.held;
        let room = (4 * MOST_ERRORS).saturating_sub(self.errors.len());
        self.errors.extend(other.errors.into_iter().take(room));
    }

    /// Merges one of the checks of a value.
    fn count(&mut self, other: Self) {
        self.merge(other);
        self.held += 1;
    }
}

/// Checks a value. `ratchets` says whether its own failures are tolerated where it did not change,
/// which is not so for the parts of a junctor: they are about the same value as the whole.
fn check(value: &Value, node: &Node, place: &Place<'_>, old: Option<&Value>, ratchets: bool) -> Outcome {
    let mut outcome = Outcome::default();
    let typed = node.kind != Kind::Any || node.checks.as_ref().is_some_and(|checks| checks.format.is_some());
    let found = scalars::type_of(value, node, place);
    if value.is_null() {
        outcome.merge(found);
        if let Some(checks) = &node.checks {
            outcome.merge(scalars::one_of(value, checks, place));
        }
    } else {
        if typed {
            outcome.count(found);
        }
        outcome.count(junctors(value, node, place, old));
        match value {
            Value::String(text) => {
                if let Some(checks) = &node.checks {
                    outcome.merge(scalars::text(text, checks, place));
                }
                outcome.held += 1;
            }
            Value::Number(number) => {
                if let Some(checks) = &node.checks {
                    outcome.merge(scalars::number(number, checks, place));
                }
                outcome.held += 2;
            }
            Value::Array(items) => outcome.count(list(items, node, place, old)),
            _ => {}
        }
        match &node.checks {
            Some(checks) => outcome.count(scalars::one_of(value, checks, place)),
            None => outcome.held += 1,
        }
        if let Value::Object(fields) = value {
            outcome.count(object(fields, node, place, old));
        }
        outcome.held += 1;
    }
    if ratchets && !outcome.holds() && old == Some(value) {
        outcome.errors.clear();
    }
    outcome
}

fn junctors(value: &Value, node: &Node, place: &Place<'_>, old: Option<&Value>) -> Outcome {
    let mut outcome = Outcome { held: 1, ..Outcome::default() };
    let Some(checks) = &node.checks else { return outcome };
    let part = |node: &Node| check(value, node, place, old, false);
    if !checks.any_of.is_empty() {
        let mut best: Option<Outcome> = None;
        let mut first = None;
        for node in &checks.any_of {
            let found = part(node);
            if found.holds() {
                first = Some(found);
                break;
            }
            if best.as_ref().is_none_or(|best| found.held > best.held) {
                best = Some(found);
            }
        }
        if first.is_none() {
            outcome.errors.push(place.junctor("must validate at least one schema (anyOf)"));
        }
        first.or(best).into_iter().for_each(|found| outcome.merge(found));
    }
    if !checks.one_of.is_empty() {
        let mut best: Option<Outcome> = None;
        let mut valid = Vec::new();
        for node in &checks.one_of {
            let found = part(node);
            if found.holds() {
                valid.push(found);
                best = None;
            } else if valid.is_empty() && best.as_ref().is_none_or(|best| found.held > best.held) {
                best = Some(found);
            }
        }
        if valid.len() == 1 {
            valid.into_iter().for_each(|found| outcome.merge(found));
        } else {
            let how = match valid.len() {
                0 => "Found none valid".to_owned(),
                count => format!("Found {count} valid alternatives"),
            };
            let words = format!("must validate one and only one schema (oneOf). {how}");
            outcome.errors.push(place.junctor(&words));
            best.into_iter().for_each(|found| outcome.merge(found));
        }
    }
    if !checks.all_of.is_empty() {
        let mut valid = 0;
        for node in &checks.all_of {
            let found = part(node);
            valid += usize::from(found.holds());
            outcome.merge(found);
        }
        if valid != checks.all_of.len() {
            let none = if valid == 0 { ". None validated" } else { "" };
            outcome.errors.push(place.junctor(&format!("must validate all the schemas (allOf){none}")));
        }
    }
    if let Some(not) = &checks.not
        && part(not).holds()
    {
        outcome.errors.push(place.junctor("must not validate the schema (not)"));
    }
    outcome
}

fn list(items: &[Value], node: &Node, place: &Place<'_>, old: Option<&Value>) -> Outcome {
    let mut outcome = Outcome { held: 1, ..Outcome::default() };
    if let Some(below) = &node.items {
        // Only the items of a list of type map have an identity.
        let before = old.and_then(Value::as_array).filter(|_| node.list == ListType::Map);
        let before = before.map(|old| Keyed::new(old, &node.keys));
        for (at, item) in items.iter().enumerate() {
            let old = before.as_ref().and_then(|before| before.get(item));
            outcome.merge(check(item, below, &place.item(at), old, true));
        }
    }
    let Some(checks) = &node.checks else { return outcome };
    let size = i64::try_from(items.len()).unwrap_or(i64::MAX);
    if let Some(least) = checks.min_items.filter(|least| size < *least) {
        outcome.errors.push(place.invalid(size, format!("should have at least {least} items")));
    }
    if let Some(most) = checks.max_items.filter(|most| size > *most) {
        outcome.errors.push(too_many(place, size, most));
    }
    if checks.unique_items {
        let mut seen = HashSet::new();
        if !items.iter().all(|item| seen.insert(item.to_string())) {
            outcome.errors.push(place.invalid("", "shouldn't contain duplicates"));
        }
    }
    outcome
}

fn too_many(place: &Place<'_>, size: i64, most: i64) -> FieldError {
    let unit = if most == 1 { "item" } else { "items" };
    place.error(FieldErrorKind::TooMany, size, format!("must have at most {most} {unit}"))
}

fn object(fields: &Map, node: &Node, place: &Place<'_>, old: Option<&Value>) -> Outcome {
    let none = Checks::default();
    let checks = node.checks.as_deref().unwrap_or(&none);
    let size = i64::try_from(fields.len()).unwrap_or(i64::MAX);
    if let Some(least) = checks.min_properties.filter(|least| size < *least) {
        return Outcome::of(place.invalid(size, format!("should have at least {least} properties")));
    }
    if let Some(most) = checks.max_properties.filter(|most| size > *most) {
        return Outcome::of(too_many(place, size, most));
    }
    let mut outcome = Outcome::default();
    for (name, value) in fields {
        let below = match (node.property(name), &node.additional) {
            (Some(below), _) => below,
            (None, Some(Additional::Node(below))) => below,
            (None, _) if checks.closed => {
                let words = format!("{}.{name} in body is a forbidden property", place.name());
                outcome.errors.push(place.error(FieldErrorKind::Invalid, name.as_str(), words));
                continue;
            }
            (None, _) => continue,
        };
        let below_place = place.field(name);
        // Both objects were converted to one version: what it is says nothing about a change.
        let same_version = place.at.is_start() && matches!(name.as_str(), "apiVersion" | "kind");
        let old = old.and_then(|old| old.get(name)).filter(|_| !same_version);
        outcome.merge(check(value, below, &below_place, old, true));
    }
    for name in checks.required.iter().filter(|name| !fields.contains_key(name)) {
        outcome.errors.push(FieldError::required(&place.field(name).path(), ""));
    }
    outcome
}
