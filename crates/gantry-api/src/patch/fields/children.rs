//! What is below a place in a set of fields: few elements, mostly met in order.

use gantry_json::Key;

use super::FieldSet;

/// Places by path element, in order of the elements.
///
/// A sorted vector: objects' fields come in order, so that building one appends, and what is built takes
/// a third of the memory and time of a tree of nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Children(Vec<(Key, FieldSet)>);

impl Children {
    fn find(&self, element: &str) -> Result<usize, usize> {
        match self.0.last() {
            None => Err(0),
            Some((last, _)) if last.as_str() < element => Err(self.0.len()),
            Some(_) => self.0.binary_search_by(|(each, _)| each.as_str().cmp(element)),
        }
    }

    /// Nothing, and room for so many elements.
    pub fn with_capacity(elements: usize) -> Self {
        Self(Vec::with_capacity(elements))
    }

    /// Puts `child` at `element`, which is behind all that there are.
    pub fn push(&mut self, element: Key, child: FieldSet) {
        debug_assert!(self.0.last().is_none_or(|(last, _)| *last < element), "{element} is not the last");
        self.0.push((element, child));
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is something at `element`.
    pub fn contains_key(&self, element: &str) -> bool {
        self.find(element).is_ok()
    }

    /// What is at `element`.
    pub fn get(&self, element: &str) -> Option<&FieldSet> {
        self.find(element).ok().map(|at| &self.0[at].1)
    }

    /// As [`Children::get`], to change it.
    pub fn get_mut(&mut self, element: &str) -> Option<&mut FieldSet> {
        self.find(element).ok().map(|at| &mut self.0[at].1)
    }

    /// Puts `child` at `element`, in place of what was there.
    pub fn insert(&mut self, element: Key, child: FieldSet) {
        match self.find(&element) {
            Ok(at) => self.0[at].1 = child,
            Err(at) => self.0.insert(at, (element, child)),
        }
    }

    /// Takes out what is at `element`.
    pub fn remove(&mut self, element: &str) {
        if let Ok(at) = self.find(element) {
            self.0.remove(at);
        }
    }

    /// Takes out what `keep` does not want.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &mut FieldSet) -> bool) {
        self.0.retain_mut(|(element, child)| keep(element, child));
    }

    /// Everything, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &FieldSet)> {
        self.0.iter().map(|(element, child)| (element.as_str(), child))
    }
}

impl IntoIterator for Children {
    type Item = (Key, FieldSet);
    type IntoIter = std::vec::IntoIter<(Key, FieldSet)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
