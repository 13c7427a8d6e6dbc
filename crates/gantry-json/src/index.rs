//! What leads into a value: a field's name or an item's place.

use std::ops;

use crate::{Key, Map, Value};

const NULL: Value = Value::Null;

/// A field's name or an item's place.
pub trait Index {
    /// What it leads to.
    fn within(self, value: &Value) -> Option<&Value>;

    /// The same, to be changed.
    fn within_mut(self, value: &mut Value) -> Option<&mut Value>;

    /// The same, made where it is missing. Panics where it cannot be.
    fn made_within(self, value: &mut Value) -> &mut Value;
}

impl Index for usize {
    fn within(self, value: &Value) -> Option<&Value> {
        value.as_array()?.get(self)
    }

    fn within_mut(self, value: &mut Value) -> Option<&mut Value> {
        value.as_array_mut()?.get_mut(self)
    }

    fn made_within(self, value: &mut Value) -> &mut Value {
        match self.within_mut(value) {
            Some(item) => item,
            None => panic!("no item {self}"),
        }
    }
}

impl Index for &str {
    fn within(self, value: &Value) -> Option<&Value> {
        value.as_object()?.get(self)
    }

    fn within_mut(self, value: &mut Value) -> Option<&mut Value> {
        value.as_object_mut()?.get_mut(self)
    }

    fn made_within(self, value: &mut Value) -> &mut Value {
        if value.is_null() {
            *value = Value::Object(Map::new());
        }
        match value {
            Value::Object(map) => map.made(self),
            _ => panic!("no object can have the field {self:?}"),
        }
    }
}

macro_rules! as_text {
    ($($name:ty),*) => {$(
        impl Index for $name {
            fn within(self, value: &Value) -> Option<&Value> {
                self.as_str().within(value)
            }

            fn within_mut(self, value: &mut Value) -> Option<&mut Value> {
                self.as_str().within_mut(value)
            }

            fn made_within(self, value: &mut Value) -> &mut Value {
                self.as_str().made_within(value)
            }
        }
    )*};
}

as_text!(String, &String, Key, &Key);

impl Index for &&str {
    fn within(self, value: &Value) -> Option<&Value> {
        (*self).within(value)
    }

    fn within_mut(self, value: &mut Value) -> Option<&mut Value> {
        (*self).within_mut(value)
    }

    fn made_within(self, value: &mut Value) -> &mut Value {
        (*self).made_within(value)
    }
}

/// What is not there is null.
impl<I: Index> ops::Index<I> for Value {
    type Output = Self;

    fn index(&self, index: I) -> &Self {
        index.within(self).unwrap_or(&NULL)
    }
}

/// A field that is not there is made; so is the object, of null.
impl<I: Index> ops::IndexMut<I> for Value {
    fn index_mut(&mut self, index: I) -> &mut Self {
        index.made_within(self)
    }
}

/// What is not there panics.
impl ops::Index<&str> for Map {
    type Output = Value;

    fn index(&self, name: &str) -> &Value {
        match self.get(name) {
            Some(value) => value,
            None => panic!("no field {name:?}"),
        }
    }
}

/// A field that is not there is made.
impl ops::IndexMut<&str> for Map {
    fn index_mut(&mut self, name: &str) -> &mut Value {
        self.made(name)
    }
}
