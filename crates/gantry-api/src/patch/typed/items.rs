//! What makes an item of a list itself, and whether another one was there before.

use std::collections::HashSet;
use std::fmt::Write;
use std::hash::{Hash, Hasher};

use gantry_json::Value;

use super::Wanted;
use crate::field::{quote, quoted};

/// Lists up to this length are looked through for each item.
const SHORT: usize = 16;

/// What makes an item itself.
#[derive(Clone, Copy)]
pub(super) enum Identity<'a> {
    /// Where it stands.
    Place,
    /// What it is.
    Value,
    /// The values of these keys, in the order of their names, of an item as is wanted.
    Keys(&'a [Box<str>], Wanted<'a>),
}

/// A value as paths show it.
fn show(value: &Value, path: &mut String) {
    match value {
        Value::String(text) => quote(text, path),
        other => write!(path, "{other}").expect("a text takes it"),
    }
}

impl<'a> Identity<'a> {
    /// The keys that the item has, or has by default.
    fn keys(self, item: &'a Value) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let (keys, wanted) = match self {
            Self::Keys(keys, wanted) => (keys, Some(wanted)),
            _ => (&[][..], None),
        };
        keys.iter().filter_map(move |key| {
            let value = item.get(&**key).or_else(|| wanted?.key(key))?;
            Some((&**key, value))
        })
    }

    /// Whether the item has what makes it itself; why not otherwise. `keys` in the order of their definition.
    pub fn check(self, item: &'a Value, keys: &[Box<str>]) -> Result<(), String> {
        match (self, item) {
            (Self::Keys(..), Value::Null) => {
                Err("associative list with keys may not have a null element".to_owned())
            }
            (Self::Keys(..), Value::Object(_)) => match self.keys(item).next() {
                Some(_) => Ok(()),
                None => {
                    let keys: Vec<String> = keys.iter().map(|key| quoted(key)).collect();
                    Err(format!(
                        "associative list with keys has an element that omits all key fields [{}] (and doesn't \
                         have default values for any key fields)",
                        keys.join(" ")
                    ))
                }
            },
            (Self::Keys(..), _) => Err("associative list with keys may not have non-map elements".to_owned()),
            (Self::Value, Value::Object(_)) => {
                Err("associative list without keys has an element that's a map type".to_owned())
            }
            (Self::Value, Value::Array(_)) => {
                Err("not supported: associative list with lists as elements".to_owned())
            }
            (Self::Value, Value::Null) => {
                Err("associative list without keys has an element that's an explicit null".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Appends the step to the item: `[name="a"]`, `[="a"]` or `[0]`.
    pub fn show(self, at: usize, item: &'a Value, path: &mut String) {
        path.push('[');
        match self {
            Self::Place => write!(path, "{at}").expect("a text takes it"),
            Self::Value => {
                path.push('=');
                show(item, path);
            }
            Self::Keys(..) => {
                for (place, (key, value)) in self.keys(item).enumerate() {
                    if place > 0 {
                        path.push(',');
                    }
                    path.push_str(key);
                    path.push('=');
                    show(value, path);
                }
            }
        }
        path.push(']');
    }
}

/// An item, seen as what makes it itself.
struct Itself<'a>(Identity<'a>, &'a Value);

impl PartialEq for Itself<'_> {
    fn eq(&self, other: &Self) -> bool {
        match self.0 {
            Identity::Place => false,
            Identity::Value => self.1 == other.1,
            Identity::Keys(..) => self.0.keys(self.1).eq(other.0.keys(other.1)),
        }
    }
}

impl Eq for Itself<'_> {}

impl Hash for Itself<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.0 {
            Identity::Keys(..) => self.0.keys(self.1).for_each(|key| key.hash(state)),
            _ => self.1.hash(state),
        }
    }
}

/// Which items of a list were there before.
pub(super) struct Seen<'a> {
    identity: Identity<'a>,
    items: &'a [Value],
    /// Those so far, of a long list.
    before: HashSet<Itself<'a>>,
}

impl<'a> Seen<'a> {
    // What changes in a schema, a pattern that is compiled late, is no part of what makes an item itself.
    #[expect(clippy::mutable_key_type)]
    pub fn new(identity: Identity<'a>, items: &'a [Value]) -> Self {
        let long = items.len() > SHORT && !matches!(identity, Identity::Place);
        let before = HashSet::with_capacity(if long { items.len() } else { 0 });
        Self { identity, items, before }
    }

    /// Whether an item before the one at `at` is the same; each is asked for in turn.
    pub fn has(&mut self, at: usize) -> bool {
        let item = Itself(self.identity, &self.items[at]);
        match self.identity {
            Identity::Place => false,
            _ if self.items.len() > SHORT => !self.before.insert(item),
            _ => self.items[..at].iter().any(|before| Itself(self.identity, before) == item),
        }
    }
}
