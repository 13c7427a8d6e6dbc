//! An object in an ordered set, which its own metadata give its place: the key is not kept beside it.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::sync::Arc;

use super::Cached;
use crate::ObjectKey;

/// What an object is found by.
pub trait Key {
    /// Namespace and name.
    fn parts(&self) -> (&str, &str);
}

impl Key for ObjectKey {
    fn parts(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }
}

/// The object.
pub struct Member<T>(pub Arc<T>);

impl<T: Cached> Key for Member<T> {
    fn parts(&self) -> (&str, &str) {
        let meta = self.0.meta();
        (meta.namespace().unwrap_or_default(), meta.name().unwrap_or_default())
    }
}

impl<'a, T: Cached> Borrow<dyn Key + 'a> for Member<T> {
    fn borrow(&self) -> &(dyn Key + 'a) {
        self
    }
}

impl PartialEq for dyn Key + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for dyn Key + '_ {}

impl PartialOrd for dyn Key + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn Key + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl<T: Cached> PartialEq for Member<T> {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl<T: Cached> Eq for Member<T> {}

impl<T: Cached> PartialOrd for Member<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Cached> Ord for Member<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}
