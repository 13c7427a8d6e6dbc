//! Changes to bytes and to JSON values, all from one seed.

use gantry_json::{Key, Map, Value, json};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

/// Text that decides something somewhere.
const WORDS: &[&str] = &[
    "",
    "\0",
    "null",
    "-1",
    "9223372036854775808",
    "1e999",
    "{",
    "[[[[[[[[",
    "]}",
    "\"",
    "\\u0000",
    "\\ud800",
    "\u{202e}",
    "ä",
    "!!binary",
    "&a [*a,*a]",
    "<<: *a",
    "---\n",
    "metadata",
    "$patch",
    "$setElementOrder/containers",
    "$deleteFromPrimitiveList/x",
    "$retainKeys",
    "apiVersion",
    "x-kubernetes-validations",
    "(a+)+$",
    "(?:",
    "%00",
    "%2",
    "in (",
    "notin",
    "==",
    "!",
    ",",
    "..",
    "/",
    "~1",
    "self",
    ".all(x, ",
    "size(",
    "'a'.matches('",
    "[1,2,3].map(y, ",
    " ? ",
    " + ",
    "{}{}",
];

/// The changes.
pub struct Mutator {
    random: SmallRng,
}

impl Mutator {
    /// Those that a seed leads to.
    pub fn new(seed: u64) -> Self {
        Self { random: SmallRng::seed_from_u64(seed) }
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.random.random_range(0..limit.max(1))
    }

    /// One of several.
    pub fn choose<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        of.choose(&mut self.random).expect("there are some")
    }

    /// Bytes, changed in a few places.
    pub fn bytes(&mut self, seed: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            match self.below(6) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 => drop(bytes.splice(at..at, self.choose(WORDS).bytes())),
                2 => {
                    let end = (at + self.below(16)).min(bytes.len());
                    bytes.drain(at..end);
                }
                3 => {
                    let end = (at + self.below(64)).min(bytes.len());
                    let again = bytes[at..end].repeat(1 + self.below(8));
                    bytes.splice(at..at, again);
                }
                4 => bytes.truncate(at),
                _ => bytes.insert(at, self.random.random()),
            }
        }
        bytes
    }

    /// Text, changed in a few places.
    pub fn text(&mut self, seed: &str) -> String {
        String::from_utf8_lossy(&self.bytes(seed.as_bytes())).into_owned()
    }

    /// A value, changed in a few places; now and then what it is written as.
    pub fn json(&mut self, seed: &Value) -> Vec<u8> {
        let mut value = seed.clone();
        for _ in 0..=self.below(3) {
            self.change(&mut value, 0);
        }
        let text = value.to_string();
        if self.below(4) == 0 { self.bytes(text.as_bytes()) } else { text.into_bytes() }
    }

    fn change(&mut self, value: &mut Value, depth: usize) {
        // The deeper the likelier, so that changes are not all at the top.
        if depth > 8 || self.below(8) == 0 {
            *value = self.value();
            return;
        }
        match value {
            Value::Object(map) if !map.is_empty() => self.change_map(map, depth),
            Value::Array(list) if !list.is_empty() => {
                let at = self.below(list.len());
                match self.below(6) {
                    0 => drop(list.remove(at)),
                    1 => list.extend(vec![list[at].clone(); 1 + self.below(40)]),
                    _ => self.change(&mut list[at], depth + 1),
                }
            }
            Value::String(text) => *text = self.text(text).into(),
            other => *other = self.value(),
        }
    }

    fn change_map(&mut self, map: &mut Map, depth: usize) {
        let names: Vec<Key> = map.keys().cloned().collect();
        let name = self.choose(&names).clone();
        match self.below(8) {
            0 => drop(map.remove(&name)),
            1 => {
                let other = self.text(&name);
                let moved = map.remove(&name).unwrap_or_default();
                map.insert(other.into(), moved);
            }
            2 => {
                let other = self.choose(&names).clone();
                let copy = map[&other].clone();
                map.insert(name, copy);
            }
            _ => self.change(map.get_mut(&name).expect("it is there"), depth + 1),
        }
    }

    fn value(&mut self) -> Value {
        match self.below(9) {
            0 => Value::Null,
            1 => json!(self.below(2) == 0),
            2 => json!([0_i64, -1, 1, i64::MAX, i64::MIN, 1 << 32][self.below(6)]),
            3 => json!([0.5, -1e300, 1e-300][self.below(3)]),
            4 => Value::String((*self.choose(WORDS)).into()),
            5 => Value::String("a".repeat(self.below(100_000)).into()),
            6 => [json!([]), json!([{}]), json!([null]), json!([[[]]])][self.below(4)].clone(),
            7 => {
                let mut deep = Value::Null;
                for _ in 0..self.below(200) {
                    deep = json!({"a": [deep]});
                }
                deep
            }
            _ => json!({ (*self.choose(WORDS)): (*self.choose(WORDS)) }),
        }
    }
}
