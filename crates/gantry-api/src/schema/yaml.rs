//! YAML bodies as JSON values. A key that comes twice is reported with its line; the last one counts.

use std::fmt;

use gantry_json::{Map, Number, Value};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Duplicate keys that are reported, at most: each costs one more reading of the text.
const MOST_DUPLICATES: usize = 20;

/// Brackets that may be open at once: the reader's time grows with each of them.
const MOST_OPEN: usize = 1000;

/// The value of `bytes`, and what is to be said of its duplicate keys.
pub(super) fn read(bytes: &[u8]) -> Result<(Value, Option<String>), String> {
    if let Some(value) = json(bytes) {
        return Ok((value, None));
    }
    if too_deep(bytes) {
        return Err("error converting YAML to JSON: yaml: exceeded max depth".to_owned());
    }
    let mut state = State::default();
    let value = parse(bytes, &mut state)
        .map_err(|error| format!("error converting YAML to JSON: yaml: {}", words(&error.to_string())))?;
    let mut lines = Vec::new();
    for at in 1..=state.duplicates.min(MOST_DUPLICATES) {
        let mut state = State { stop_at: at, ..State::default() };
        let Err(error) = parse(bytes, &mut state) else { break };
        let line = error.location().map_or(0, |location| location.line());
        lines.push(format!("  line {line}: key {:?} already set in map", state.stopped_at));
    }
    let found = (!lines.is_empty())
        .then(|| format!("error converting YAML to JSON: yaml: unmarshal errors:\n{}", lines.join("\n")));
    Ok((value, found))
}

/// The value of what is an object in JSON, and so in YAML, with no key twice: it is read much sooner as what
/// it is.
fn json(bytes: &[u8]) -> Option<Value> {
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    let mut state = State::default();
    let mut deserializer = gantry_json::Deserializer::from_slice(bytes);
    let value = Read(&mut state).deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    (state.duplicates == 0).then_some(value)
}

/// Whether more brackets are open at once than any object needs, wherever they stand.
fn too_deep(bytes: &[u8]) -> bool {
    let mut open: usize = 0;
    bytes.iter().any(|byte| {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        open > MOST_OPEN
    })
}

/// An error's text without the place behind it, as a line before it where it has one.
fn words(text: &str) -> String {
    match text.rsplit_once(" at line ") {
        Some((what, place)) => {
            let line = place.split(' ').next().unwrap_or_default();
            format!("line {line}: {what}")
        }
        None => text.to_owned(),
    }
}

fn parse(bytes: &[u8], state: &mut State) -> Result<Value, serde_yaml_ng::Error> {
    Read(state).deserialize(serde_yaml_ng::Deserializer::from_slice(bytes))
}

#[derive(Default)]
struct State {
    duplicates: usize,
    /// The duplicate key to end at, counted from 1; 0: none.
    stop_at: usize,
    stopped_at: String,
}

struct Read<'a>(&'a mut State);

impl<'de> DeserializeSeed<'de> for Read<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Read<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number that JSON does not have"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Read(self.0))? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key_seed(Key { state: self.0, before: &map })? {
            let value = entries.next_value_seed(Read(self.0))?;
            map.insert(key.into(), value);
        }
        Ok(map.into())
    }
}

/// A key, as the text that JSON has for it.
struct Key<'a> {
    state: &'a mut State,
    before: &'a Map,
}

impl Key<'_> {
    fn take<E: serde::de::Error>(self, key: String) -> Result<String, E> {
        if self.before.contains_key(&key) {
            self.state.duplicates += 1;
            if self.state.duplicates == self.state.stop_at {
                self.state.stopped_at = key;
                return Err(E::custom("duplicate key"));
            }
        }
        Ok(key)
    }
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<String, D::Error> {
        from.deserialize_any(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key that is text, a number, true, false or null")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<String, E> {
        self.take("null".into())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<String, E> {
        self.take(value.to_string())
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<String, E> {
        self.take(value.to_string())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<String, E> {
        self.take(value.to_string())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<String, E> {
        self.take(value.to_string())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<String, E> {
        self.take(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::json;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_and_duplicate_keys() {
        let text = "a: 1\nb:\n  c: x\n  d: [1, 2.5]\n  c: y\n7: true\nb2: null\na: 2\n";
        let (value, found) = read(text.as_bytes()).expect("reads");
        assert_eq!(value, json!({"a": 2, "b": {"c": "y", "d": [1, 2.5]}, "7": true, "b2": null}));
        assert_eq!(
            found.as_deref(),
            Some(
                "error converting YAML to JSON: yaml: unmarshal errors:\n  line 5: key \"c\" already set in map\n  \
                 line 8: key \"a\" already set in map"
            )
        );
        assert_eq!(read(b"a: 1\n"), Ok((json!({"a": 1}), None)));
    }

    #[test]
    fn json_is_yaml() {
        let check =
            |text: &str, expect: Value| assert_eq!(read(text.as_bytes()), Ok((expect, None)), "{text}");
        let text = r#" {"a": [1, -2, 2.5, 1e3, null, true], "b": {"c\u00e4": "\n\/"}} "#;
        check(text, json!({"a": [1, -2, 2.5, 1000.0, null, true], "b": {"cä": "\n/"}}));
        // In flow style only YAML may leave out quotes.
        check("{a: b, 1: [c]}", json!({"a": "b", "1": ["c"]}));
        let (value, found) = read(b"{\"a\": 1,\n \"a\": 2}").expect("reads");
        assert_eq!(value, json!({"a": 2}));
        assert!(found.expect("a key twice").ends_with("line 2: key \"a\" already set in map"));
    }

    #[test]
    fn what_is_no_yaml() {
        let error = read(b"a: [\nb").expect_err("no YAML");
        assert!(error.starts_with("error converting YAML to JSON: yaml: line "), "{error}");
        // Aliases that stand for ever more of themselves.
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
        for at in 1..12 {
            let before = vec![format!("*a{}", at - 1); 9].join(",");
            bomb += &format!("a{at}: &a{at} [{before}]\n");
        }
        assert!(read(bomb.as_bytes()).is_err());
        let deep = read("[".repeat(100_000).as_bytes());
        assert_eq!(deep.unwrap_err(), "error converting YAML to JSON: yaml: exceeded max depth");
        assert!(read("[".repeat(900).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[a-c:\\-\\[\\]{}&*!|>'\" \n,1?#%]{0,60}") {
            let _ = read(text.as_bytes());
        }
    }
}
