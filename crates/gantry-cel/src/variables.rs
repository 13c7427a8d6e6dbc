//! What the names of an expression stand for while it runs.

use crate::ast::Node;
use crate::environment::Composition;
use crate::value::Value;

/// The values of an environment's variables.
#[derive(Debug, Clone, Default)]
pub struct Variables<'a> {
    values: Vec<(&'a str, Value<'a>)>,
    composition: Option<&'a Composition>,
}

impl<'a> Variables<'a> {
    /// No variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// With `name` standing for `value`; a later value replaces an earlier one.
    #[must_use]
    pub fn with(mut self, name: &'a str, value: Value<'a>) -> Self {
        self.set(name, value);
        self
    }

    /// Lets `name` stand for `value`; a later value replaces an earlier one.
    pub fn set(&mut self, name: &'a str, value: Value<'a>) {
        match self.values.iter_mut().find(|each| each.0 == name) {
            Some(known) => known.1 = value,
            None => self.values.push((name, value)),
        }
    }

    /// With `variables.NAME` standing for the composed variables.
    #[must_use]
    pub fn with_composition(mut self, composition: &'a Composition) -> Self {
        self.composition = Some(composition);
        self
    }

    pub(crate) fn get(&self, name: &str) -> Option<Value<'a>> {
        if name == "variables" && self.composition.is_some() {
            return Some(Value::Variables);
        }
        self.values.iter().find(|each| each.0 == name).map(|each| each.1.clone())
    }

    pub(crate) fn composed(&self, name: &str) -> Option<(&'a str, &'a Node)> {
        self.composition?.get(name)
    }

    pub(crate) fn depth(&self) -> usize {
        self.composition.map_or(0, Composition::depth)
    }
}
