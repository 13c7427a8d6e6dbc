//! The columns of a custom kind's tables.

use gantry_json::{Value, json};
use jiff::Timestamp;

use crate::custom::path::JsonPath;
use crate::table::{CREATION, NAMED, age};

/// One column.
#[derive(Debug)]
pub struct Column {
    name: String,
    kind: String,
    format: String,
    description: String,
    priority: i64,
    path: Option<JsonPath>,
}

/// The columns that a version has beside the name; the age where it names none.
pub(super) fn read(version: &Value) -> Vec<Column> {
    let text = |column: &Value, field: &str| column[field].as_str().unwrap_or_default().to_owned();
    let columns = version["additionalPrinterColumns"].as_array().filter(|columns| !columns.is_empty());
    let age = json!([{
        "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": CREATION.text(),
    }]);
    let columns = columns.or(age.as_array()).into_iter().flatten();
    let read = |column: &Value| {
        let path = text(column, "jsonPath");
        let description = match text(column, "description") {
            said if said.is_empty() => {
                format!("Custom resource definition column (in JSONPath format): {path}")
            }
            said => said,
        };
        Column {
            name: text(column, "name"),
            kind: text(column, "type"),
            format: text(column, "format"),
            description,
            priority: column["priority"].as_i64().unwrap_or(0),
            path: JsonPath::parse(&path).ok(),
        }
    };
    columns.map(read).collect()
}

/// The definitions of the columns with the name in front.
pub(crate) fn definitions(columns: &[Column]) -> Vec<Value> {
    let name = json!({"name": "Name", "type": "string", "format": "name", "description": NAMED.text(), "priority": 0});
    let others = columns.iter().map(|column| {
        json!({
            "name": column.name, "type": column.kind, "format": column.format,
            "description": column.description, "priority": column.priority,
        })
    });
    std::iter::once(name).chain(others).collect()
}

/// The cells of a row.
pub(crate) fn cells(columns: &[Column], object: &Value, now: Timestamp) -> Vec<Value> {
    let name = object["metadata"]["name"].clone();
    let others = columns.iter().map(|column| {
        let value = column.path.as_ref().and_then(|path| path.first(object));
        value.map_or(Value::Null, |value| cell(&column.kind, value, now))
    });
    std::iter::once(name).chain(others).collect()
}

fn cell(kind: &str, value: &Value, now: Timestamp) -> Value {
    match (kind, value) {
        (_, Value::Null) => Value::Null,
        ("integer", Value::Number(number)) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => json!(number.as_f64().map(|number| number as i64)),
        },
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value.clone(),
        ("string", Value::String(_)) => value.clone(),
        ("string", other) => other.to_string().into(),
        ("date", Value::String(text)) => match text.parse::<Timestamp>() {
            Ok(_) => age(value, now).into(),
            Err(_) if text.is_empty() => "<unknown>".into(),
            Err(_) => "<invalid>".into(),
        },
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_have_the_columns_type() {
        let column =
            |name: &str, kind: &str, path: &str| json!({"name": name, "type": kind, "jsonPath": path});
        let version = json!({"additionalPrinterColumns": [
            column("Replicas", "integer", ".spec.replicas"),
            column("Ratio", "number", ".spec.ratio"),
            column("Ready", "string", ".status.conditions[?(@.type==\"Ready\")].status"),
            column("Labels", "string", ".spec.labels"),
            column("On", "boolean", ".spec.on"),
            column("Last", "date", ".status.last"),
            column("Odd", "date", ".status.odd"),
            column("None", "string", ".spec.none"),
            column("Mismatch", "integer", ".metadata.name"),
        ]});
        let object = json!({
            "metadata": {"name": "a"},
            "spec": {"replicas": 3, "ratio": 0.5, "labels": {"a": "b"}, "on": true},
            "status": {"conditions": [{"type": "Ready", "status": "True"}], "last": "2026-01-01T00:00:00Z", "odd": "x"},
        });
        let columns = read(&version);
        let now = "2026-01-01T00:01:00Z".parse().expect("a time");
        assert_eq!(
            Value::from(cells(&columns, &object, now)),
            json!(["a", 3, 0.5, "True", "{\"a\":\"b\"}", true, "60s", "<invalid>", null, null])
        );
        let definitions = definitions(&columns);
        assert_eq!(definitions[0]["format"], "name");
        assert_eq!(
            definitions[3]["description"],
            "Custom resource definition column (in JSONPath format): .status.conditions[?(@.type==\"Ready\")].status"
        );
        assert_eq!(read(&json!({}))[0].name, "Age");
    }
}
