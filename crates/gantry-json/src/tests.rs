//! The tree does what serde_json's does: each property holds the two against each other.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{Key, Map, RawValue, Value, from_value, to_value};

/// Any value, as serde_json has it; objects are large enough to become trees of fields.
fn any_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        "\\PC{0,40}".prop_map(Into::into),
        "[\\x00-\\x7f]{0,40}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 200, 90, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
            prop::collection::btree_map("[a-z\\PC\\x00-\\x7f]{0,30}", inner, 0..90)
                .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// What may be done to a map.
#[derive(Debug, Clone)]
enum Step {
    Insert(String, i64),
    Remove(String),
    Entry(String, i64),
    Keep(i64),
    Extend(Vec<(String, i64)>),
}

fn step() -> impl Strategy<Value = Step> {
    let name = || "[a-c]{1,4}";
    prop_oneof![
        8 => (name(), any::<i64>()).prop_map(|(name, value)| Step::Insert(name, value)),
        4 => name().prop_map(Step::Remove),
        4 => (name(), any::<i64>()).prop_map(|(name, value)| Step::Entry(name, value)),
        1 => any::<i64>().prop_map(Step::Keep),
        1 => prop::collection::vec((name(), any::<i64>()), 0..70).prop_map(Step::Extend),
    ]
}

proptest! {
    #[test]
    fn values_read_write_and_compare_alike(other in any_value()) {
        let value = Value::from(other.clone());
        prop_assert_eq!(value.to_string(), other.to_string());
        prop_assert_eq!(value.to_vec(), serde_json::to_vec(&value).expect("JSON"));
        prop_assert_eq!(format!("{value:#}"), format!("{other:#}"));
        prop_assert_eq!(format!("{value:?}"), format!("{other:?}"));
        // Numbers that are not whole may change a little when they are read.
        let (read, other_read) = (value.to_string().parse::<Value>(), other.to_string().parse::<serde_json::Value>());
        let (read, other_read) = (read.expect("JSON"), other_read.expect("JSON"));
        prop_assert_eq!(&read, &Value::from(other_read.clone()));
        prop_assert_eq!(serde_json::Value::from(read), other_read);
        // By way of serde there and back: owned, lent, and of the other kind.
        prop_assert_eq!(&to_value(&value).expect("fits"), &value);
        prop_assert_eq!(&from_value::<Value>(value.clone()).expect("fits"), &value);
        prop_assert_eq!(&Value::deserialize(&value).expect("fits"), &value);
        prop_assert_eq!(&serde_json::Value::deserialize(&value).expect("fits"), &other);
        prop_assert_eq!(&to_value(&other).expect("fits"), &value);
    }

    #[test]
    fn fields_are_sorted_and_the_last_of_a_name_counts(fields in prop::collection::vec(("[a-e]{1,3}", any::<i64>()), 0..200)) {
        let expect: BTreeMap<&str, i64> = fields.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let made: Map = fields.iter().map(|(name, value)| (name.as_str(), (*value).into())).collect();
        let text = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect::<Vec<_>>().join(",");
        let read: Map = serde_json::from_str(&format!("{{{text}}}")).expect("JSON");
        prop_assert_eq!(&made, &read);
        let seen: Vec<_> = made.iter().map(|(name, value)| (name.as_str(), value.as_i64().expect("a number"))).collect();
        prop_assert_eq!(seen, expect.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn a_map_is_what_a_tree_would_be(steps in prop::collection::vec(step(), 0..200)) {
        let (mut map, mut tree) = (Map::new(), BTreeMap::<String, i64>::new());
        for step in steps {
            match step {
                Step::Insert(name, value) => {
                    let before = map.insert(name.as_str().into(), value.into());
                    prop_assert_eq!(before, tree.insert(name, value).map(Value::from));
                }
                Step::Remove(name) => prop_assert_eq!(map.remove(&name), tree.remove(&name).map(Value::from)),
                Step::Entry(name, value) => {
                    let seen = map.entry(name.as_str()).or_insert(value.into());
                    prop_assert_eq!(seen, &*tree.entry(name).or_insert(value));
                }
                Step::Keep(above) => {
                    map.retain(|_, value| value.as_i64() > Some(above));
                    tree.retain(|_, value| *value > above);
                }
                Step::Extend(more) => {
                    map.extend(more.iter().map(|(name, value)| (name.as_str(), (*value).into())));
                    tree.extend(more);
                }
            }
            prop_assert_eq!(map.len(), tree.len());
            prop_assert!(map.keys().map(Key::as_str).eq(tree.keys().map(String::as_str)));
            prop_assert!(map.iter().rev().map(|(_, value)| value).eq(tree.values().rev()));
            for (name, value) in &tree {
                prop_assert_eq!(map.get(name), Some(&Value::from(*value)));
            }
            prop_assert_eq!(map.get("dddd"), None);
        }
    }
}

/// One of each sort of type.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sorts {
    unit: (),
    flag: bool,
    small: i8,
    large: u64,
    real: f64,
    letter: char,
    text: String,
    pair: (u8, String),
    some: Option<Box<Sorts>>,
    none: Option<u8>,
    list: Vec<Sort>,
    by_number: BTreeMap<u16, bool>,
    wrapped: Wrapped,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Wrapped(Vec<u8>);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Sort {
    Plain,
    Wrapping(String),
    Pair(u8, u8),
    Named { field: i64 },
}

fn sorts(some: Option<Box<Sorts>>) -> Sorts {
    Sorts {
        unit: (),
        flag: true,
        small: -1,
        large: u64::MAX,
        real: 0.5,
        letter: 'ß',
        text: "a text that is longer than what stands within".into(),
        pair: (1, "b".into()),
        some,
        none: None,
        list: vec![
            Sort::Plain,
            Sort::Wrapping("w".into()),
            Sort::Pair(1, 2),
            Sort::Named { field: i64::MIN },
        ],
        by_number: BTreeMap::from([(7, true)]),
        wrapped: Wrapped(vec![0, 255]),
    }
}

#[test]
fn types_become_values_and_values_types() {
    let all = sorts(Some(Box::new(sorts(None))));
    let expect = serde_json::to_value(&all).expect("fits");
    let value = to_value(&all).expect("fits");
    assert_eq!(value, Value::from(expect));
    let mut without_numbers = value.clone();
    // What a number names is read from text only.
    for place in ["", "/some"] {
        without_numbers.pointer_mut(place).expect("is there")["byNumber"] = json!({});
    }
    let mut all = all;
    all.by_number.clear();
    all.some.as_mut().expect("is there").by_number.clear();
    assert_eq!(from_value::<Sorts>(without_numbers.clone()).expect("fits"), all);
    assert_eq!(Sorts::deserialize(&without_numbers).expect("fits"), all);
}

#[test]
fn what_does_not_fit_is_said_as_serde_json_says_it() {
    for (field, wrong) in [
        ("flag", json!("yes")),
        ("small", json!(300)),
        ("large", json!(-1)),
        ("text", json!(5)),
        ("pair", json!([1])),
        ("pair", json!([1, "b", 2])),
        ("list", json!(["Missing"])),
        ("list", json!([{"Plain": null, "Wrapping": "w"}])),
        ("list", json!([5])),
        ("wrapped", json!(null)),
    ] {
        let mut value = to_value(sorts(None)).expect("fits");
        value["byNumber"] = json!({});
        value[field] = wrong;
        let other = serde_json::from_value::<Sorts>(value.clone().into()).expect_err(field).to_string();
        assert_eq!(Sorts::deserialize(&value).expect_err(field).to_string(), other, "{field}");
        assert_eq!(from_value::<Sorts>(value).expect_err(field).to_string(), other, "{field}");
    }
    assert!(to_value(BTreeMap::from([(vec![1], 1)])).is_err());
    let raw = RawValue::from_string(r#"{"a":[1]}"#.into()).expect("JSON");
    assert_eq!(to_value([&raw]).expect("fits"), json!([{"a": [1]}]));
}

#[test]
fn what_is_written_as_json() {
    let (name, none): (&str, Option<u8>) = ("n", None);
    let value = json!({
        "null": null, (name): [true, null, {"deep": [[], {}]}, 1 + 1], "text": name, "none": none,
        "list": vec![1, 2], "tree": {name.to_uppercase(): i64::MAX,}, "last": -0.5,
    });
    let expect = r#"{"last":-0.5,"list":[1,2],"n":[true,null,{"deep":[[],{}]},2],"none":null,"null":null,"text":"n","tree":{"N":9223372036854775807}}"#;
    assert_eq!(value.to_string(), expect);
    assert_eq!(json!([1, [2], {"a": 3},]).to_string(), r#"[1,[2],{"a":3}]"#);
    assert_eq!((json!(null), json!("x")), (Value::Null, Value::from("x")));
}

#[test]
fn ways_into_a_value() {
    let mut value = json!({"a": [{"b/~": 1}, 2]});
    assert_eq!(
        (&value["a"][1], &value["a"][5]["x"], &value["a"]["x"]),
        (&json!(2), &Value::Null, &Value::Null)
    );
    for (pointer, found) in [
        ("/a/0/b~1~0", Some(json!(1))),
        ("/a/1", Some(json!(2))),
        ("", Some(value.clone())),
        ("/a/01", None),
        ("/a/+1", None),
        ("/a/-", None),
        ("a", None),
        ("/a/1/x", None),
    ] {
        assert_eq!(value.pointer(pointer).cloned(), found, "{pointer}");
        assert_eq!(value.pointer_mut(pointer).cloned(), found, "{pointer}");
    }
    value["c"]["d"]["e"] = 3.into();
    *value.get_mut("a").and_then(|list| list.get_mut(1)).expect("is there") = "x".into();
    assert_eq!(value, json!({"a": [{"b/~": 1}, "x"], "c": {"d": {"e": 3}}}));
    assert_eq!(value["a"].take(), json!([{"b/~": 1}, "x"]));
    assert_eq!(value["a"], Value::Null);
}

#[test]
fn a_value_is_small() {
    assert_eq!((size_of::<Value>(), size_of::<(Key, Value)>()), (32, 56));
}
