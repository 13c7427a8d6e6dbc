//! What holds for every kind.

use gantry_json::{Value, json};
use jiff::Timestamp;

use super::fixtures::{created, faults, kind_of, minimal, name_of};
use crate::registry::{Kind, Registry};
use crate::schema::{Schemas, decode_value};
use crate::table::{IncludeObject, table};
use crate::{protobuf, table::partial};

/// Each kind that is kept, with a minimal object of it.
fn each() -> impl Iterator<Item = (&'static Kind, Value)> {
    let kept = Registry::known().iter().filter(|kind| kind.verbs.contains(&"delete"));
    kept.map(|kind| (&**kind, minimal(&name_of(kind))))
}

#[test]
fn a_minimal_object_is_valid_and_stays_so() {
    for (kind, object) in each() {
        let decoded = decode_value(Schemas::builtin(), kind.schema, object.clone()).expect(&kind.kind);
        assert_eq!(decoded.strict, Vec::<String>::new(), "{}", kind.kind);
        let made = created(decoded.value);
        assert_eq!(faults(&made), Vec::<String>::new(), "{}", kind.kind);
        let decoded = decode_value(Schemas::builtin(), kind.schema, made.clone()).expect(&kind.kind);
        assert_eq!(decoded.strict, Vec::<String>::new(), "{} with defaults", kind.kind);
        assert_eq!(decoded.value, made, "{}", kind.kind);
        let mut same = made.clone();
        kind.default(&mut same);
        kind.prepare_update(&mut same, &made);
        assert_eq!(same, made, "{}: an update that changes nothing", kind.kind);
        assert_eq!(kind.validate_update(&same, &made), [], "{}", kind.kind);
    }
}

/// Times that there are not have no bytes.
fn without_nulls(object: &mut Value) {
    match object {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

#[test]
fn a_created_object_is_the_same_in_protobuf() {
    for (kind, object) in each() {
        let mut made = created(object);
        without_nulls(&mut made);
        let document = protobuf::value(&made).expect(&kind.kind);
        assert_eq!(protobuf::decode(&document, Some(kind.schema)).expect(&kind.kind), made, "{}", kind.kind);
    }
}

#[test]
fn status_and_the_rest_do_not_leak_into_each_other() {
    for (kind, object) in each().filter(|(kind, _)| kind.has_status) {
        let old = created(object.clone());
        let mut sent = object;
        sent["status"] = json!({"conditions": [{"type": "Mine", "status": "True"}]});
        let made = created(sent.clone());
        // A node registers with its status.
        if kind.kind != "Node" {
            assert_eq!(made["status"], old["status"], "{}: a create takes no status", kind.kind);
        }
        kind.prepare_update(&mut sent, &old);
        assert_eq!(sent["status"], old["status"], "{}: an update takes no status", kind.kind);
        let mut reported = old.clone();
        reported["status"] = json!({"conditions": []});
        kind.prepare_status(&mut reported, &old, "status");
        assert_eq!(reported["spec"], old["spec"], "{}: a status changes nothing else", kind.kind);
    }
}

#[test]
fn forms_that_are_not_kept_come_back_from_those_that_are() {
    for (kind, object) in each() {
        let Some(stored) = kind.stored else { continue };
        let made = created(object);
        let mut kept = made.clone();
        (stored.pack)(&mut kept);
        assert_eq!(kind_of(&kept).plural, stored.plural);
        let mut back = kept;
        (stored.unpack)(&mut back);
        for (field, value) in made["spec"].as_object().into_iter().flatten() {
            assert_eq!(back["spec"][field], *value, "{} {field}", kind.kind);
        }
    }
}

#[test]
fn every_table_has_a_cell_for_each_column() {
    let now: Timestamp = "2026-01-01T01:00:00Z".parse().expect("a time");
    for (kind, object) in each() {
        let shown = table(kind, &[created(object.clone())], json!({}), IncludeObject::None, "v1", now);
        let columns = shown["columnDefinitions"].as_array().expect("columns");
        let cells = shown["rows"][0]["cells"].as_array().expect("cells");
        assert_eq!(columns.len(), cells.len());
        for (column, cell) in columns.iter().zip(cells) {
            assert!(!cell.is_null(), "{}: {}", kind.kind, column["name"]);
        }
        assert_eq!(partial(&object, "v1")["metadata"], object["metadata"]);
    }
}
