//! Who is asked again because the object has changed since.

use std::collections::BTreeSet;

use gantry_json::Value;

/// What is known of the webhooks or of the policies that were asked for one request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reinvocation {
    /// Those that were asked and are to be asked again where the object changes after them.
    eligible: BTreeSet<String>,
    /// Those that are to be asked in the second round.
    required: BTreeSet<String>,
    /// What the object was when all had been asked.
    left: Option<Value>,
}

impl Reinvocation {
    /// The second round begins: others may have changed the object since the first.
    pub fn resume(&mut self, object: &Value) {
        if self.left.as_ref().is_some_and(|left| left != object) {
            self.changed();
        }
    }

    /// Whether it is to be asked in the second round.
    pub fn is_required(&self, asked: &str) -> bool {
        self.required.contains(asked)
    }

    /// The object changed: whoever saw it before and wants to see changes has to be asked again.
    pub fn changed(&mut self) {
        self.required.append(&mut self.eligible);
    }

    /// It was asked, and wants to see what changes after it.
    pub fn watches(&mut self, asked: String) {
        self.eligible.insert(asked);
    }

    /// All have been asked, and this is what the object is.
    pub fn leave(&mut self, object: &Value) {
        self.left = Some(object.clone());
    }
}
