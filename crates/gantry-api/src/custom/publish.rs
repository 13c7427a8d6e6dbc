//! A version's schema as OpenAPI documents show it.
//!
//! Version 3 says all that a schema says. Version 2 cannot say what may be null, what alternatives
//! there are, and which fields may be unknown: clients check by it, so what it could only say
//! wrongly is left out, and such places are shown as anything.

mod words;

use gantry_json::{Map, Value, json};

use super::node::is_true;
use crate::rules::common::{list, text};

/// How a kind is called.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// The API group.
    pub group: &'a str,
    /// The API version.
    pub version: &'a str,
    /// The kind.
    pub kind: &'a str,
    /// The kind of its lists.
    pub list_kind: &'a str,
    /// The resource.
    pub plural: &'a str,
}

/// The version of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// OpenAPI 2.
    V2,
    /// OpenAPI 3.
    V3,
}

/// The name of a definition: the group backwards, the version and the kind.
pub fn definition_name(group: &str, version: &str, kind: &str) -> String {
    let mut parts: Vec<&str> = group.split('.').rev().collect();
    parts.extend([version, kind]);
    parts.join(".")
}

/// The definitions of a kind and of its lists, by name. `schema` is the version's `openAPIV3Schema`.
pub fn definitions(names: Names<'_>, schema: &Value, style: Style) -> [(String, Value); 2] {
    let kind = |kind: &str| json!([{"group": names.group, "version": names.version, "kind": kind}]);
    let opaque = style == Style::V2 && is_true(schema, PRESERVES);
    let mut object = match schema.is_object() && !opaque {
        true => {
            let mut shown = shape(schema, style);
            resource(&mut shown, style);
            shown
        }
        false => json!({"type": "object"}),
    };
    object["x-kubernetes-group-version-kind"] = kind(names.kind);
    let name = definition_name(names.group, names.version, names.kind);
    let mut lists = json!({
        "type": "object",
        "description": format!("{} is a list of {}", names.list_kind, names.kind),
        "required": ["items"],
        "properties": {
            "items": {
                "type": "array", "description": format!("List of {}.", names.plural),
                "items": reference(&name, style),
            },
        },
        "x-kubernetes-group-version-kind": kind(names.list_kind),
    });
    let about = words::words();
    lists["properties"]["apiVersion"] = json!({"type": "string", "description": about.api_version});
    lists["properties"]["kind"] = json!({"type": "string", "description": about.kind});
    lists["properties"]["metadata"] = described("ListMeta", &about.list_metadata, style);
    [(name, object), (definition_name(names.group, names.version, names.list_kind), lists)]
}

const PRESERVES: &str = "x-kubernetes-preserve-unknown-fields";
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";

fn reference(name: &str, style: Style) -> Value {
    match style {
        Style::V2 => json!({"$ref": format!("#/definitions/{name}")}),
        // Nothing may stand beside a reference.
        Style::V3 => json!({"allOf": [{"$ref": format!("#/components/schemas/{name}")}]}),
    }
}

fn described(kind: &str, about: &str, style: Style) -> Value {
    let mut shown = reference(&format!("{META}{kind}"), style);
    shown["description"] = about.into();
    shown
}

/// Adds what every resource has.
fn resource(shown: &mut Value, style: Style) {
    let about = words::words();
    let properties = &mut shown["properties"];
    properties["apiVersion"] = json!({"type": "string", "description": about.api_version});
    properties["kind"] = json!({"type": "string", "description": about.kind});
    properties["metadata"] = described("ObjectMeta", &about.metadata, style);
}

/// What is shown of a schema as it is.
const COPIED: &[&str] = &[
    "default",
    "description",
    "enum",
    "externalDocs",
    "format",
    "maximum",
    "maxItems",
    "maxLength",
    "maxProperties",
    "minimum",
    "minItems",
    "minLength",
    "minProperties",
    "multipleOf",
    "pattern",
    "required",
    "title",
    "type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    "x-kubernetes-validations",
];

/// What is shown of a schema where it is true.
const FLAGS: &[&str] = &[
    "exclusiveMaximum",
    "exclusiveMinimum",
    "nullable",
    "uniqueItems",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
    PRESERVES,
];

/// A place of a schema, with what is below.
fn shape(schema: &Value, style: Style) -> Value {
    let mut shown = Map::new();
    for key in COPIED {
        let value = &schema[*key];
        let empty = match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            _ => false,
        };
        if !empty || (*key == "default" && !value.is_null()) {
            shown.insert((*key).into(), value.clone());
        }
    }
    for key in FLAGS.iter().filter(|key| is_true(schema, key)) {
        shown.insert((*key).into(), true.into());
    }
    if let Value::Object(properties) = &schema["properties"]
        && !properties.is_empty()
    {
        let each = properties.iter().map(|(name, schema)| (name.clone(), shape(schema, style)));
        shown.insert("properties".into(), Value::Object(each.collect()));
    }
    match &schema["additionalProperties"] {
        additional @ Value::Object(_) => {
            shown.insert("additionalProperties".into(), shape(additional, style));
        }
        Value::Bool(allowed) => drop(shown.insert("additionalProperties".into(), (*allowed).into())),
        _ => {}
    }
    if let items @ Value::Object(_) = &schema["items"] {
        shown.insert("items".into(), shape(items, style));
    }
    match style {
        Style::V2 => flatten(&mut shown, schema),
        Style::V3 => alternatives(&mut shown, schema),
    }
    let mut shown = Value::Object(shown);
    if is_true(schema, "x-kubernetes-embedded-resource")
        && !(style == Style::V2 && is_true(schema, PRESERVES))
    {
        if !shown["properties"].is_object() {
            shown["properties"] = json!({});
        }
        resource(&mut shown, style);
        let mut required: Vec<Value> = list(schema, "required").to_vec();
        for key in ["kind", "apiVersion"] {
            if !required.iter().any(|each| each == key) {
                required.push(key.into());
            }
        }
        shown["required"] = required.into();
    }
    shown
}

/// Adds the junctors.
fn alternatives(shown: &mut Map, schema: &Value) {
    for key in ["allOf", "anyOf", "oneOf"] {
        let parts = list(schema, key);
        if !parts.is_empty() {
            shown.insert(key.into(), parts.iter().map(|part| shape(part, Style::V3)).collect());
        }
    }
    if let not @ Value::Object(_) = &schema["not"] {
        shown.insert("not".into(), shape(not, Style::V3));
    }
    if is_true(schema, "x-kubernetes-int-or-string") {
        let both = json!([{"type": "integer"}, {"type": "string"}]);
        let says_so = |schema: &Value| schema["anyOf"] == both;
        if says_so(schema) || list(schema, "allOf").first().is_some_and(says_so) {
            return;
        }
        if !shown.contains_key("anyOf") {
            shown.insert("anyOf".into(), both);
        } else {
            let mut parts = vec![json!({"anyOf": both})];
            parts.extend(list(schema, "allOf").iter().map(|part| shape(part, Style::V3)));
            shown.insert("allOf".into(), parts.into());
        }
    }
}

/// Leaves out what version 2 cannot say.
fn flatten(shown: &mut Map, schema: &Value) {
    let (nullable, preserves) = (is_true(schema, "nullable"), is_true(schema, PRESERVES));
    shown.remove("nullable");
    if nullable || preserves {
        shown.remove("items");
        shown.remove("properties");
    }
    let kind = text(schema, "type");
    if nullable || (kind == "array" && !shown.contains_key("items")) || (preserves && kind == "object") {
        shown.remove("type");
    }
    let may_be_null = |name: &Value| {
        let name = name.as_str().unwrap_or_default();
        is_true(&schema["properties"][name], "nullable") && !nullable && !preserves
    };
    let Some(Value::Array(required)) = shown.get_mut("required") else { return };
    required.retain(|name| !may_be_null(name));
    if required.is_empty() || is_true(&schema["additionalProperties"], "nullable") {
        shown.remove("required");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names<'_> = Names {
        group: "a.example.com",
        version: "v1",
        kind: "Thing",
        list_kind: "ThingList",
        plural: "things",
    };

    fn spec(schema: Value, style: Style) -> Value {
        let schema = json!({"type": "object", "properties": {"spec": schema}});
        let [(name, shown), _] = definitions(NAMES, &schema, style);
        assert_eq!(name, "com.example.a.v1.Thing");
        shown["properties"]["spec"].clone()
    }

    #[test]
    fn every_resource_has_metadata() {
        let [(_, object), (name, lists)] = definitions(NAMES, &json!({"type": "object"}), Style::V3);
        assert_eq!(name, "com.example.a.v1.ThingList");
        let reference = &object["properties"]["metadata"]["allOf"][0]["$ref"];
        assert_eq!(reference, "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
        assert_eq!(
            object["x-kubernetes-group-version-kind"],
            json!([{"group": "a.example.com", "version": "v1", "kind": "Thing"}])
        );
        for key in ["apiVersion", "kind", "metadata"] {
            assert!(object["properties"][key]["description"].is_string(), "{key}");
            assert!(lists["properties"][key]["description"].is_string(), "{key}");
        }
        let items = &lists["properties"]["items"]["items"]["allOf"][0]["$ref"];
        assert_eq!(items, "#/components/schemas/com.example.a.v1.Thing");
    }

    #[test]
    fn version_2_says_less() {
        let schema = json!({"type": "object", "required": ["a", "b"], "oneOf": [{"required": ["a"]}], "properties": {
            "a": {"type": "string", "nullable": true}, "b": {"type": "integer", "minimum": 1},
            "c": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"d": {"type": "string"}}},
            "e": {"type": "array", "nullable": true, "items": {"type": "string"}},
            "f": {"x-kubernetes-int-or-string": true},
        }});
        assert_eq!(
            spec(schema.clone(), Style::V2),
            json!({"type": "object", "required": ["b"], "properties": {
                "a": {}, "b": {"type": "integer", "minimum": 1},
                "c": {"x-kubernetes-preserve-unknown-fields": true}, "e": {},
                "f": {"x-kubernetes-int-or-string": true}}})
        );
        let mut all = schema;
        all["properties"]["f"]["anyOf"] = json!([{"type": "integer"}, {"type": "string"}]);
        assert_eq!(spec(all.clone(), Style::V3), all);
        all["x-kubernetes-preserve-unknown-fields"] = true.into();
        let [(_, opaque), _] = definitions(NAMES, &all, Style::V2);
        assert_eq!((&opaque["type"], &opaque["properties"]), (&json!("object"), &Value::Null));
    }

    #[test]
    fn resources_within() {
        let embedded = json!({"type": "object", "x-kubernetes-embedded-resource": true,
            "x-kubernetes-preserve-unknown-fields": true});
        let shown = spec(embedded.clone(), Style::V3);
        assert_eq!(shown["required"], json!(["kind", "apiVersion"]));
        assert!(shown["properties"]["metadata"]["allOf"].is_array());
        assert_eq!(spec(embedded, Style::V2)["properties"], Value::Null);
    }
}
