//! What the schema of a custom kind says to expressions: types, and how large values may be in a
//! request of the largest size.

use std::sync::Arc;

use gantry_api::schema::Schemas;
use gantry_json::Value as Json;

use super::text;
use crate::declared::{Declared, Field, Form, ListForm, ObjectType};

/// The largest request, in bytes.
const REQUEST: u64 = 3 << 20;
/// The sizes of the shortest and longest values in JSON.
const SHORTEST_TEXT: u64 = 2;
const SHORTEST_DURATION: u64 = 3;
const LONGEST_DURATION: u64 = 32;
const DATE: u64 = 12;
const SHORTEST_TIME: u64 = 21;
const LONGEST_TIME: u64 = 32;
const SHORTEST_BOOL: u64 = 4;

/// What a schema says, and how short its values may be in JSON.
pub(super) struct Sized {
    pub declared: Declared,
    pub shortest: u64,
}

/// What a schema says of values; none if expressions cannot look at them. `resource` says whether
/// what stands there is a whole resource.
pub fn declared(schema: &Json, resource: bool) -> Option<Declared> {
    sized(schema, resource).map(|sized| sized.declared)
}

/// What a schema says of whole objects of its kind, as clients see them: with all of their metadata.
pub fn declared_object(schema: &Json) -> Declared {
    let properties = schema["properties"].as_object().into_iter().flatten();
    let of = |name: &str, declared: Declared| Field {
        json: name.to_owned(),
        declared,
        required: false,
        has_default: false,
    };
    let named = properties.filter(|(name, _)| !matches!(name.as_str(), "apiVersion" | "kind" | "metadata"));
    let mut fields: Vec<Field> = named
        .filter_map(|(name, property)| Some(of(name, declared(property, is_resource(property))?)))
        .collect();
    for name in ["apiVersion", "kind"] {
        fields.push(of(name, Declared::new(Form::String)));
    }
    let metadata = Schemas::builtin().by_name("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
    let metadata = metadata.map(|id| Form::Object(Arc::new(ObjectType::builtin(id)))).unwrap_or(Form::Dyn);
    fields.push(of("metadata", Declared::new(metadata)));
    Declared::new(Form::Object(Arc::new(ObjectType::new("object", fields))))
}

pub(super) fn sized(schema: &Json, resource: bool) -> Option<Sized> {
    let limit = |key: &str| schema[key].as_i64().map(|limit| limit.max(0) as u64);
    let of = |form: Form, max: u64, shortest: u64| Some(Sized { declared: Declared { form, max }, shortest });
    if schema["x-kubernetes-int-or-string"] == true {
        return of(
            Form::IntOrString,
            limit("maxLength").map_or(REQUEST - 2, |most| most.saturating_mul(4)),
            1,
        );
    }
    match text(schema, "type") {
        "array" => {
            let items = &schema["items"];
            let item = sized(items, is_resource(items)).filter(|_| items.is_object())?;
            let max = limit("maxItems").unwrap_or((REQUEST - 2) / (item.shortest + 1));
            let form = match text(schema, "x-kubernetes-list-type") {
                "set" => ListForm::Set,
                "map" => ListForm::Map(names(&schema["x-kubernetes-list-map-keys"])),
                _ => ListForm::Atomic,
            };
            of(Form::List(Box::new(item.declared), form), max, SHORTEST_TEXT)
        }
        "object" => {
            let additional = &schema["additionalProperties"];
            if additional.is_object() && !resource {
                let value = sized(additional, is_resource(additional))?;
                let max = limit("maxProperties").unwrap_or((REQUEST - 2) / (value.shortest + 6));
                return of(Form::Map(Box::new(value.declared)), max, SHORTEST_TEXT);
            }
            object(schema, resource)
        }
        "string" => match text(schema, "format") {
            "byte" => of(Form::Bytes, limit("maxLength").unwrap_or(REQUEST - 2), SHORTEST_TEXT),
            "duration" => of(Form::Duration, LONGEST_DURATION, SHORTEST_DURATION),
            "date" => of(Form::Date, DATE, DATE),
            "date-time" => of(Form::Timestamp, LONGEST_TIME, SHORTEST_TIME),
            _ => {
                let longest = || {
                    let values = schema["enum"].as_array()?.iter();
                    values.map(|value| value.as_str().map_or(0, str::len) as u64).max()
                };
                let max = match limit("maxLength") {
                    Some(most) => most.saturating_mul(4),
                    None => longest().unwrap_or(REQUEST - 2),
                };
                of(Form::String, max, SHORTEST_TEXT)
            }
        },
        "boolean" => of(Form::Bool, 0, SHORTEST_BOOL),
        "number" => of(Form::Double, 0, 1),
        "integer" => of(Form::Int, 0, 1),
        _ => None,
    }
}

fn is_resource(schema: &Json) -> bool {
    schema["x-kubernetes-embedded-resource"] == true
}

fn names(value: &Json) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|name| Some(name.as_str()?.to_owned())).collect()
}

fn object(schema: &Json, resource: bool) -> Option<Sized> {
    let required = names(&schema["required"]);
    let mut fields = Vec::new();
    let mut shortest = 2;
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let Some(sized) = sized(property, is_resource(property)) else { continue };
        let has_default = !property["default"].is_null();
        let is_required = required.iter().any(|each| name == each);
        if is_required && !has_default {
            shortest += name.len() as u64 + sized.shortest + 4;
        }
        fields.push(Field {
            json: name.to_string(),
            declared: sized.declared,
            required: is_required,
            has_default,
        });
    }
    if resource {
        add_metadata(&mut fields);
    }
    let object = ObjectType::new("object", fields);
    Some(Sized { declared: Declared { form: Form::Object(Arc::new(object)), max: 0 }, shortest })
}

/// What every resource has and rules may look at.
fn add_metadata(fields: &mut Vec<Field>) {
    fields.retain(|field| !matches!(&*field.json, "apiVersion" | "kind" | "metadata"));
    let of = |name: &str, form: Form, max: u64| Field {
        json: name.to_owned(),
        declared: Declared { form, max },
        required: false,
        has_default: false,
    };
    let word = |name: &str| of(name, Form::String, REQUEST - 2);
    let metadata = ObjectType::new("object", [word("name"), word("generateName")]);
    fields.extend([word("apiVersion"), word("kind"), of("metadata", Form::Object(Arc::new(metadata)), 0)]);
}
