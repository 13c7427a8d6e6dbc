//! The fields of an object.

use std::collections::{BTreeMap, btree_map};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::mem;
use std::slice;
use std::vec;

use crate::{Key, Value};

/// The most fields that are kept as a list: with more, putting one between others would move too many.
const FEW: usize = 64;
/// The most fields that are looked through one by one: most names differ in length already.
const LINEAR: usize = 16;

/// Fields and their values, in the order of their names.
#[derive(Clone)]
pub struct Map(Fields);

#[derive(Clone)]
enum Fields {
    /// Sorted.
    Few(Vec<(Key, Value)>),
    #[expect(clippy::box_collection, reason = "without it every value would be a quarter larger")]
    Many(Box<BTreeMap<Key, Value>>),
}

use Fields::{Few, Many};

/// Where the field is.
fn find(fields: &[(Key, Value)], name: &str) -> Option<usize> {
    match fields.len() <= LINEAR {
        true => fields.iter().position(|(key, _)| key.as_str() == name),
        false => search(fields, name).ok(),
    }
}

/// Where the field is, or where it would be.
fn search(fields: &[(Key, Value)], name: &str) -> Result<usize, usize> {
    // Most objects are written in order.
    if fields.last().is_none_or(|(last, _)| last.as_str() < name) {
        return Err(fields.len());
    }
    fields.binary_search_by(|(key, _)| key.as_str().cmp(name))
}

impl Map {
    /// No fields.
    pub const fn new() -> Self {
        Self(Few(Vec::new()))
    }

    /// No fields, and room for so many.
    pub fn with_capacity(fields: usize) -> Self {
        Self(Few(Vec::with_capacity(fields.min(FEW))))
    }

    /// The number of fields.
    pub fn len(&self) -> usize {
        match &self.0 {
            Few(fields) => fields.len(),
            Many(fields) => fields.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes all fields out.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// The field's value.
    pub fn get(&self, name: &str) -> Option<&Value> {
        match &self.0 {
            Few(fields) => find(fields, name).map(|at| &fields[at].1),
            Many(fields) => fields.get(name),
        }
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        match &mut self.0 {
            Few(fields) => find(fields, name).map(|at| &mut fields[at].1),
            Many(fields) => fields.get_mut(name),
        }
    }

    /// The field's name, as it is kept, and value.
    pub fn get_key_value(&self, name: &str) -> Option<(&Key, &Value)> {
        match &self.0 {
            Few(fields) => find(fields, name).map(|at| (&fields[at].0, &fields[at].1)),
            Many(fields) => fields.get_key_value(name),
        }
    }

    /// Whether there is such a field.
    pub fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Sets a field; what it was before.
    pub fn insert(&mut self, key: Key, value: Value) -> Option<Value> {
        match &mut self.0 {
            Few(fields) => match search(fields, &key) {
                Ok(at) => Some(mem::replace(&mut fields[at].1, value)),
                Err(at) => {
                    fields.insert(at, (key, value));
                    self.settle();
                    None
                }
            },
            Many(fields) => fields.insert(key, value),
        }
    }

    /// The field's value; null, which is put there, if there is none.
    pub(crate) fn made(&mut self, name: &str) -> &mut Value {
        self.entry(name).or_insert(Value::Null)
    }

    /// Takes a field out.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.remove_entry(name).map(|(_, value)| value)
    }

    /// Takes a field out; its name as it was kept, and value.
    pub fn remove_entry(&mut self, name: &str) -> Option<(Key, Value)> {
        match &mut self.0 {
            Few(fields) => find(fields, name).map(|at| fields.remove(at)),
            Many(fields) => fields.remove_entry(name),
        }
    }

    /// A field's place, whether there is one or not.
    pub fn entry(&mut self, key: impl Into<Key>) -> Entry<'_> {
        Entry { map: self, key: key.into() }
    }

    /// Leaves the fields for which it holds.
    pub fn retain(&mut self, mut holds: impl FnMut(&Key, &mut Value) -> bool) {
        match &mut self.0 {
            Few(fields) => fields.retain_mut(|(key, value)| holds(key, value)),
            Many(fields) => fields.retain(|key, value| holds(key, value)),
        }
    }

    /// Takes all fields of `other`, which win.
    pub fn append(&mut self, other: &mut Self) {
        self.extend(mem::take(other));
    }

    /// Names and values.
    pub fn iter(&self) -> Iter<'_> {
        match &self.0 {
            Few(fields) => Iter::Few(fields.iter()),
            Many(fields) => Iter::Many(fields.iter()),
        }
    }

    /// Names and values, which may be changed.
    pub fn iter_mut(&mut self) -> IterMut<'_> {
        match &mut self.0 {
            Few(fields) => IterMut::Few(fields.iter_mut()),
            Many(fields) => IterMut::Many(fields.iter_mut()),
        }
    }

    /// The names.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &Key> + ExactSizeIterator + Clone {
        self.iter().map(|(key, _)| key)
    }

    /// The values.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &Value> + ExactSizeIterator + Clone {
        self.iter().map(|(_, value)| value)
    }

    /// The values, which may be changed.
    pub fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut Value> + ExactSizeIterator {
        self.iter_mut().map(|(_, value)| value)
    }

    /// The values alone.
    pub fn into_values(self) -> impl DoubleEndedIterator<Item = Value> + ExactSizeIterator {
        self.into_iter().map(|(_, value)| value)
    }

    /// The names alone.
    pub fn into_keys(self) -> impl DoubleEndedIterator<Item = Key> + ExactSizeIterator {
        self.into_iter().map(|(key, _)| key)
    }

    /// Keeps what has become too many for a list as a tree.
    fn settle(&mut self) {
        if let Few(fields) = &mut self.0
            && fields.len() > FEW
        {
            self.0 = Many(Box::new(mem::take(fields).into_iter().collect()));
        }
    }
}

impl Default for Map {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other)
    }
}

impl Eq for Map {}

impl Hash for Map {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.len());
        self.iter().for_each(|field| field.hash(state));
    }
}

/// Of fields of one name the last counts.
impl<K: Into<Key>> FromIterator<(K, Value)> for Map {
    fn from_iter<I: IntoIterator<Item = (K, Value)>>(fields: I) -> Self {
        let mut fields: Vec<(Key, Value)> =
            fields.into_iter().map(|(key, value)| (key.into(), value)).collect();
        if !fields.is_sorted_by(|(one, _), (next, _)| one < next) {
            fields.sort_by(|(one, _), (next, _)| one.cmp(next));
            fields.dedup_by(|next, one| {
                let is_same = next.0 == one.0;
                if is_same {
                    mem::swap(next, one);
                }
                is_same
            });
        }
        let mut map = Self(Few(fields));
        map.settle();
        map
    }
}

impl<K: Into<Key>> Extend<(K, Value)> for Map {
    fn extend<I: IntoIterator<Item = (K, Value)>>(&mut self, fields: I) {
        for (key, value) in fields {
            self.insert(key.into(), value);
        }
    }
}

/// A field's place, whether there is one or not.
#[derive(Debug)]
pub struct Entry<'a> {
    map: &'a mut Map,
    key: Key,
}

impl<'a> Entry<'a> {
    /// The field's value; `value`, if there was none.
    pub fn or_insert(self, value: Value) -> &'a mut Value {
        self.or_insert_with(|| value)
    }

    /// The field's value; what `make` gives, if there was none.
    pub fn or_insert_with(self, make: impl FnOnce() -> Value) -> &'a mut Value {
        let Self { map, key } = self;
        if let Few(fields) = &mut map.0
            && fields.len() >= FEW
            && find(fields, &key).is_none()
        {
            map.0 = Many(Box::new(mem::take(fields).into_iter().collect()));
        }
        match &mut map.0 {
            Few(fields) => {
                let at = search(fields, &key).unwrap_or_else(|at| {
                    fields.insert(at, (key, make()));
                    at
                });
                &mut fields[at].1
            }
            Many(fields) => fields.entry(key).or_insert_with(make),
        }
    }

    /// Changes the field's value, if there is one.
    #[must_use]
    pub fn and_modify(self, change: impl FnOnce(&mut Value)) -> Self {
        if let Some(value) = self.map.get_mut(&self.key) {
            change(value);
        }
        self
    }
}

macro_rules! iterator {
    ($(#[$about:meta])* $name:ident $(<$life:lifetime>)?, $few:ty, $many:ty, $item:ty, $each:expr) => {
        $(#[$about])*
        pub enum $name $(<$life>)? {
            /// Of a list.
            Few($few),
            /// Of a tree.
            Many($many),
        }

        impl $(<$life>)? Iterator for $name $(<$life>)? {
            type Item = $item;

            fn next(&mut self) -> Option<Self::Item> {
                match self {
                    Self::Few(fields) => fields.next().map($each),
                    Self::Many(fields) => fields.next(),
                }
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                let left = match self {
                    Self::Few(fields) => fields.len(),
                    Self::Many(fields) => fields.len(),
                };
                (left, Some(left))
            }
        }

        impl $(<$life>)? DoubleEndedIterator for $name $(<$life>)? {
            fn next_back(&mut self) -> Option<Self::Item> {
                match self {
                    Self::Few(fields) => fields.next_back().map($each),
                    Self::Many(fields) => fields.next_back(),
                }
            }
        }

        impl $(<$life>)? ExactSizeIterator for $name $(<$life>)? {}
    };
}

iterator!(
    /// Names and values.
    #[derive(Clone, Debug)]
    Iter<'a>,
    slice::Iter<'a, (Key, Value)>,
    btree_map::Iter<'a, Key, Value>,
    (&'a Key, &'a Value),
    |(key, value)| (key, value)
);
iterator!(
    /// Names and values, which may be changed.
    #[derive(Debug)]
    IterMut<'a>,
    slice::IterMut<'a, (Key, Value)>,
    btree_map::IterMut<'a, Key, Value>,
    (&'a Key, &'a mut Value),
    |(key, value)| (&*key, value)
);
iterator!(
    /// Names and values of a map that is gone.
    #[derive(Debug)]
    IntoIter,
    vec::IntoIter<(Key, Value)>,
    btree_map::IntoIter<Key, Value>,
    (Key, Value),
    |field| field
);

impl IntoIterator for Map {
    type Item = (Key, Value);
    type IntoIter = IntoIter;

    fn into_iter(self) -> IntoIter {
        match self.0 {
            Few(fields) => IntoIter::Few(fields.into_iter()),
            Many(fields) => IntoIter::Many(fields.into_iter()),
        }
    }
}

impl<'a> IntoIterator for &'a Map {
    type Item = (&'a Key, &'a Value);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &'a mut Map {
    type Item = (&'a Key, &'a mut Value);
    type IntoIter = IterMut<'a>;

    fn into_iter(self) -> IterMut<'a> {
        self.iter_mut()
    }
}
