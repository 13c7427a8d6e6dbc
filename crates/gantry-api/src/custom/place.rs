//! Where a walk through an object is. The path is written only where something is to be said.

use std::fmt::Write as _;

use crate::field::Path;

/// A place in an object, seen from where the walk began.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    above: Option<&'a Place<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    /// Where the walk begins.
    Start,
    Field(&'a str),
    /// An entry of a map.
    Key(&'a str),
    Item(usize),
}

impl<'a> Place<'a> {
    /// Where a walk begins.
    pub const START: Self = Self { above: None, step: Step::Start };

    /// The field `name` below.
    pub fn field(&'a self, name: &'a str) -> Self {
        Self { above: Some(self), step: Step::Field(name) }
    }

    /// The entry `key` below.
    pub fn key(&'a self, key: &'a str) -> Self {
        Self { above: Some(self), step: Step::Key(key) }
    }

    /// The item `at` below.
    pub fn item(&'a self, at: usize) -> Self {
        Self { above: Some(self), step: Step::Item(at) }
    }

    /// Whether it is where the walk began.
    pub fn is_start(&self) -> bool {
        self.above.is_none()
    }

    /// The path from `start`.
    pub fn path(&self, start: &Path) -> Path {
        let Some(above) = self.above else { return start.clone() };
        let above = above.path(start);
        match self.step {
            Step::Start => above,
            Step::Field(name) => above.child(name),
            Step::Key(key) => above.key(key),
            Step::Item(at) => above.index(at),
        }
    }

    /// The path with every name after a dot.
    pub fn dotted(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) {
        if let Some(above) = self.above {
            above.write(text);
        }
        match self.step {
            Step::Start => {}
            Step::Field(name) | Step::Key(name) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(name);
            }
            Step::Item(at) => drop(write!(text, "[{at}]")),
        }
    }
}
