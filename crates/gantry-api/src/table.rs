//! Objects as tables for people: the columns of each kind and the metadata behind each row.

mod about;
mod columns;

use gantry_json::{Value, json};
use jiff::Timestamp;

use crate::custom_kind::CustomKind;
use crate::registry::Kind;

pub(crate) use columns::{CREATION, NAMED};

/// What a row carries beside its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// The object's metadata.
    Metadata,
    /// The object.
    Object,
}

/// An object's metadata alone, in this version of `meta.k8s.io`.
pub fn partial(object: &Value, api_version: &str) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": object["metadata"]})
}

/// The Table of `items`, of one kind, with list metadata `meta`, in this version of `meta.k8s.io`.
pub fn table(
    kind: &Kind,
    items: &[Value],
    meta: Value,
    include: IncludeObject,
    api_version: &str,
    now: Timestamp,
) -> Value {
    let custom = kind.as_custom();
    let columns = columns::of(kind);
    let definitions = custom.map_or_else(|| definitions(columns), CustomKind::columns);
    let rows: Vec<Value> = columns::rows(kind, items)
        .into_iter()
        .map(|item| {
            let kept = kind.stored.map(|stored| {
                let mut kept = item.clone();
                (stored.pack)(&mut kept);
                kept
            });
            let shown = kept.as_ref().unwrap_or(item);
            let cells = match custom {
                Some(custom) => custom.cells(shown, now),
                None => columns.iter().map(|column| (column.cell)(shown, now)).collect(),
            };
            let mut row = json!({"cells": cells});
            if let Some(condition) = columns::over(kind, item) {
                row["conditions"] = json!([condition]);
            }
            row["object"] = behind(item, include, api_version);
            row
        })
        .collect();
    whole(definitions, rows, meta, api_version)
}

/// The Table of a Scale, which all kinds share that have one.
pub fn scale(scale: &Value, include: IncludeObject, api_version: &str, now: Timestamp) -> Value {
    let cells: Vec<Value> = columns::SCALE.iter().map(|column| (column.cell)(scale, now)).collect();
    let row = json!({"cells": cells, "object": behind(scale, include, api_version)});
    let meta = json!({"resourceVersion": scale["metadata"]["resourceVersion"]});
    whole(definitions(columns::SCALE), vec![row], meta, api_version)
}

/// What clients are told of columns.
fn definitions(columns: &[columns::Column]) -> Vec<Value> {
    let definition = |column: &columns::Column| {
        json!({
            "name": column.name, "type": column.kind, "format": column.format(),
            "description": column.about.text(), "priority": column.priority,
        })
    };
    columns.iter().map(definition).collect()
}

/// What a row carries of its object.
fn behind(item: &Value, include: IncludeObject, api_version: &str) -> Value {
    match include {
        IncludeObject::None => Value::Null,
        IncludeObject::Metadata => partial(item, api_version),
        IncludeObject::Object => item.clone(),
    }
}

fn whole(definitions: Vec<Value>, rows: Vec<Value>, meta: Value, api_version: &str) -> Value {
    json!({
        "kind": "Table", "apiVersion": api_version, "metadata": meta, "columnDefinitions": definitions,
        "rows": rows,
    })
}

/// How long ago `time` was, in the two largest units that matter.
pub fn age(time: &Value, now: Timestamp) -> String {
    let Some(then) = time.as_str().and_then(|text| text.parse::<Timestamp>().ok()) else {
        return "<unknown>".to_owned();
    };
    let seconds = now.as_second() - then.as_second();
    if seconds < -1 {
        return "<invalid>".to_owned();
    }
    duration(seconds.max(0))
}

/// A number of seconds in the two largest units that matter.
fn duration(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |large: i64, unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{large}{unit}"),
        small => format!("{large}{unit}{small}{small_unit}"),
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, "d", hours % 24, "h"),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => two(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flow_schemas_are_in_order_of_their_turns() {
        let kinds = crate::registry::Registry::builtin();
        let kind = kinds.lookup("flowcontrol.apiserver.k8s.io", "v1", "flowschemas").unwrap();
        let schema =
            |name: &str, turn: i64| json!({"metadata": {"name": name}, "spec": {"matchingPrecedence": turn}});
        let items = [schema("late", 900), schema("b", 5), schema("a", 5), schema("first", 1)];
        let shown = table(kind, &items, json!({}), IncludeObject::None, "meta.k8s.io/v1", Timestamp::now());
        let rows = shown["rows"].as_array().unwrap().iter();
        assert_eq!(rows.map(|row| &row["cells"][0]).collect::<Vec<_>>(), ["first", "a", "b", "late"]);
    }

    #[test]
    fn columns_say_what_they_are_for() {
        let kinds = crate::registry::Registry::known();
        for kind in kinds.iter() {
            // Upstream says nothing of these.
            let silent = |column: &columns::Column| {
                matches!(column.name, "BinaryVersion" | "EmulationVersion") || kind.kind == "RuntimeClass"
            };
            for column in columns::of(kind) {
                let said = column.about.text();
                assert_eq!(
                    said.is_empty(),
                    silent(column) && !["Name", "Age"].contains(&column.name),
                    "{} {}",
                    kind.kind,
                    column.name
                );
            }
        }
        let shown = definitions(columns::SCALE);
        assert!(
            shown[0]["description"].as_str().unwrap().starts_with("Name must be unique within a namespace.")
        );
        assert!(std::ptr::eq(NAMED.text(), NAMED.text()), "taken once");
    }

    #[test]
    fn ages() {
        let check = |seconds: i64, expect: &str| {
            let now = Timestamp::from_second(2_000_000_000).unwrap_or_default();
            let then = Timestamp::from_second(2_000_000_000 - seconds).unwrap_or_default();
            assert_eq!(age(&json!(then.to_string()), now), expect);
        };
        check(5, "5s");
        check(119, "119s");
        check(125, "2m5s");
        check(600, "10m");
        check(3 * 3600, "3h");
        check(3 * 3600 + 120, "3h2m");
        check(50 * 3600, "2d2h");
        check(30 * 86_400, "30d");
    }
}
