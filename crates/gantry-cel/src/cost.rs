//! What calls cost at run time. The numbers are upstream's, since rules are written against its limits.

use crate::value::Value;

/// Making a list.
pub(crate) const LIST: u64 = 10;
/// Making a map.
pub(crate) const MAP: u64 = 30;
/// Making an object.
pub(crate) const OBJECT: u64 = 40;
/// Steps for each pair of items of lists that are sorted or compared with themselves.
pub(crate) const COMPARED: f64 = 2.0;
/// Reading a character.
pub(crate) const CHARACTER: f64 = 0.1;
/// A character of a regular expression.
pub(crate) const PATTERN: f64 = 0.25;
/// One authorization check: two fit into one expression.
pub(crate) const CHECK: u64 = 350_000;
/// Copies and comparisons of more items than this cost more than upstream says, whose lists share
/// their parts.
const ITEMS: u64 = 64;

pub(crate) fn scaled(size: u64, factor: f64) -> u64 {
    (size as f64 * factor).ceil() as u64
}

/// What a call costs, known before it is made.
pub(crate) fn before(name: &str, args: &[Value<'_>]) -> u64 {
    let size = |at: usize| args.get(at).map_or(1, Value::cost_size);
    let read = |at: usize| scaled(size(at), CHARACTER);
    let is_text = |at: usize| matches!(args.get(at), Some(Value::String(_) | Value::Bytes(_)));
    match name {
        "check" => CHECK,
        "fieldSelector" | "labelSelector" => {
            LIST + read(1) + scaled(scaled(size(1), 0.5), (LIST + OBJECT) as f64)
        }
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => args.first().map_or(0, traversal),
        "url" | "lowerAscii" | "upperAscii" | "substring" | "trim" | "isIP" | "isCIDR" | "cidr"
        | "quantity" | "isQuantity" | "semver" | "isSemver" => read(0),
        "ip" if is_text(0) => read(0),
        "replace" | "split" => scaled(size(0), 2.0 * CHARACTER),
        "ip.isCanonical" => scaled(size(0), 2.0 * CHARACTER),
        "find" | "findAll" | "matches" => scaled(size(0) + 1, CHARACTER) * scaled(size(1), PATTERN),
        "validate" => match args.first() {
            Some(Value::Format(format)) => {
                let text = scaled(size(1).saturating_add(1), CHARACTER);
                text.saturating_mul(scaled(format.pattern_size, PATTERN))
            }
            _ => 1,
        },
        "containsIP" => scaled(2 * size(0), CHARACTER) + if is_text(1) { read(1) } else { 0 },
        "containsCIDR" => scaled(2 * size(0), CHARACTER) + read(0) + 1 + if is_text(1) { read(1) } else { 0 },
        "startsWith" | "endsWith" | "jsonpatch.escapeKey" => read(0),
        "bytes" | "string" if is_text(0) => read(0),
        "format" | "strings.quote" => read(0),
        "@in" if args.get(1).is_some_and(|list| list.list_len().is_some()) => size(1) + extra(args),
        "_==_" if matches!(args.first(), Some(value) if value.is_opaque()) => 1,
        "_==_" | "_!=_" => scaled(size(0).min(size(1)), CHARACTER) + extra(args),
        "_<_" | "_<=_" | "_>_" | "_>=_" if is_text(0) => scaled(size(0).min(size(1)), CHARACTER),
        "_+_" if is_text(0) => scaled(size(0) + size(1), CHARACTER),
        "_+_" => 1 + (size(0) + size(1)) / ITEMS,
        "contains" => read(0) * read(1),
        "sets.contains" | "sets.intersects" => 1 + size(0).saturating_mul(size(1)),
        "sets.equivalent" => 1 + 2 * size(0).saturating_mul(size(1)),
        "join" => 0,
        "flatten" => {
            let depth = match args.get(1) {
                Some(Value::Int(depth)) => u64::try_from(*depth).unwrap_or_default(),
                _ => 1,
            };
            list(depth as f64, size(0)) + args.first().map_or(0, made) / ITEMS
        }
        "distinct" | "sort" => list(compared(args.first()), size(0).saturating_mul(size(0))),
        "@sortByAssociatedKeys" => list(compared(args.get(1)), size(1).saturating_mul(size(1))),
        "reverse" => list(1.0, size(0)),
        "slice" => match args {
            [_, Value::Int(start), Value::Int(end)] => {
                list(1.0, u64::try_from(end.saturating_sub(*start)).unwrap_or_default())
            }
            _ => list(1.0, 0),
        },
        "lists.range" => match args {
            [Value::Int(end)] => list(1.0, u64::try_from(*end).unwrap_or_default()),
            _ => list(1.0, 0),
        },
        _ => 1,
    }
}

/// What a call costs that makes a list, in so many steps for each of these items.
fn list(steps: f64, items: u64) -> u64 {
    ((items as f64 * steps) as u64).saturating_add(1 + LIST)
}

/// Steps for each pair of a list's items.
fn compared(list: Option<&Value<'_>>) -> f64 {
    let first = list.and_then(|list| list.item(0));
    let texts = matches!(first, Some(Ok(Value::String(_) | Value::Bytes(_))));
    COMPARED + if texts { CHARACTER } else { 0.0 }
}

/// What a call costs by what it returns.
pub(crate) fn after(name: &str, result: &Value<'_>) -> u64 {
    match name {
        "join" => scaled(result.cost_size(), 2.0 * CHARACTER),
        "replace" => result.cost_size() / 1_000,
        _ => 0,
    }
}

/// What comparing large structures costs beyond upstream's count of their first level.
fn extra(args: &[Value<'_>]) -> u64 {
    let nested = |value: &Value<'_>| match value {
        Value::JsonList(items, _) => items.iter().map(weight).sum(),
        Value::JsonMap(fields, _) => fields.values().map(weight).sum(),
        Value::List(_) | Value::Map(_) | Value::Made(_) => made(value),
        _ => 0u64,
    };
    args.iter().map(nested).min().unwrap_or_default() / ITEMS
}

fn weight(json: &gantry_json::Value) -> u64 {
    match json {
        gantry_json::Value::Array(items) => 1 + items.iter().map(weight).sum::<u64>(),
        gantry_json::Value::Object(fields) => 1 + fields.values().map(weight).sum::<u64>(),
        gantry_json::Value::String(text) => 1 + text.len() as u64 / 64,
        _ => 1,
    }
}

fn made(value: &Value<'_>) -> u64 {
    match value {
        Value::List(items) => 1 + items.iter().map(made).sum::<u64>(),
        Value::Map(entries) => 1 + entries.entries.iter().map(|entry| made(&entry.1)).sum::<u64>(),
        Value::JsonList(items, _) => items.iter().map(weight).sum(),
        Value::JsonMap(fields, _) => fields.values().map(weight).sum(),
        Value::Optional(Some(inner)) => made(inner),
        Value::Made(object) => 1 + object.fields().map(|(_, value)| made(value)).sum::<u64>(),
        _ => 1,
    }
}

/// What walking a value costs.
fn traversal(value: &Value<'_>) -> u64 {
    match value {
        Value::String(text) => (text.as_str().len() as f64 * CHARACTER) as u64,
        Value::Bytes(bytes) => (bytes.len() as f64 * CHARACTER) as u64,
        Value::JsonList(items, _) => items.iter().map(json_traversal).sum(),
        Value::JsonMap(fields, _) => fields
            .iter()
            .map(|(key, value)| (key.len() as f64 * CHARACTER) as u64 + json_traversal(value))
            .sum(),
        Value::List(items) => items.iter().map(traversal).sum(),
        Value::Map(entries) => {
            entries.entries.iter().map(|(key, value)| traversal(key) + traversal(value)).sum()
        }
        _ => 1,
    }
}

fn json_traversal(json: &gantry_json::Value) -> u64 {
    match json {
        gantry_json::Value::String(text) => (text.len() as f64 * CHARACTER) as u64,
        gantry_json::Value::Array(items) => items.iter().map(json_traversal).sum(),
        gantry_json::Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| (key.len() as f64 * CHARACTER) as u64 + json_traversal(value))
            .sum(),
        _ => 1,
    }
}
