//! Version 3 documents made from the version 2 documents of servers that have no others.

use gantry_json::{Key, Map, Value, json};

use super::merge;
use super::{Form, entries, member, opened, protobuf};

/// A version 2 document of another server as a version 3 document that says the same.
pub fn v3_of_v2(document: &Value, form: Form) -> Vec<u8> {
    let items = document["paths"].as_object().into_iter().flatten();
    let paths: Vec<(Key, Value)> =
        items.map(|(path, item)| (path.clone(), path_item(document, item))).collect();
    let starts = document["paths"].as_object().into_iter().flatten().map(|(_, item)| item);
    let theirs = &document["definitions"];
    let needed = merge::needed(theirs, starts.chain(document.get("parameters")));
    let schemas = needed.into_iter().map(|name| {
        let shown = schema(&theirs[&name]);
        (Key::from(name), shown)
    });
    let schemes: Map = document["securityDefinitions"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, scheme)| (name.clone(), scheme.clone()))
        .collect();
    let schemes = Value::Object(schemes);
    let head = json!({"openapi": "3.0.0", "info": document["info"]});
    match form {
        Form::Json => {
            let mut out = opened(&head);
            out.extend_from_slice(b",\"paths\":");
            entries(&mut out, paths.into_iter());
            out.extend_from_slice(b",\"components\":{\"schemas\":");
            entries(&mut out, schemas);
            member(&mut out, "securitySchemes", &schemes);
            out.extend_from_slice(b"}}");
            out
        }
        Form::Protobuf => protobuf::v3(&head, paths.into_iter(), schemas, &schemes),
    }
}

/// What a parameter is, where it is written elsewhere in the document.
fn resolved<'a>(document: &'a Value, parameter: &'a Value) -> &'a Value {
    let name = parameter["$ref"].as_str().and_then(|to| to.strip_prefix("#/parameters/"));
    name.map_or(parameter, |name| &document["parameters"][name])
}

fn path_item(document: &Value, item: &Value) -> Value {
    let mut out = Map::new();
    for (key, value) in item.as_object().into_iter().flatten() {
        let shown = match key.as_str() {
            "parameters" => parameters(document, value),
            "get" | "put" | "post" | "delete" | "options" | "head" | "patch" => operation(document, value),
            _ => value.clone(),
        };
        out.insert(key.clone(), shown);
    }
    out.into()
}

/// The parameters that are no bodies.
fn parameters(document: &Value, all: &Value) -> Value {
    let all = all.as_array().into_iter().flatten().map(|each| resolved(document, each));
    all.filter(|each| !is_body(each)).map(parameter).collect()
}

fn is_body(parameter: &Value) -> bool {
    matches!(parameter["in"].as_str(), Some("body" | "formData"))
}

/// A parameter says where it is and what for; the rest is its schema.
fn parameter(all: &Value) -> Value {
    let (mut out, mut shape) = (Map::new(), Map::new());
    for (key, value) in all.as_object().into_iter().flatten() {
        match key.as_str() {
            "name" | "in" | "description" | "required" => drop(out.insert(key.clone(), value.clone())),
            "allowEmptyValue" | "collectionFormat" => {}
            key if key.starts_with("x-") => drop(out.insert(key.into(), value.clone())),
            _ => drop(shape.insert(key.clone(), value.clone())),
        }
    }
    out.insert("schema".into(), Value::Object(shape));
    out.into()
}

/// The media types that an operation or else the whole document names.
fn media_types<'a>(document: &'a Value, operation: &'a Value, key: &str) -> Vec<&'a str> {
    let named = [operation, document].into_iter().filter_map(|each| each[key].as_array());
    let first = named.into_iter().find(|all| !all.is_empty());
    match first {
        Some(all) => all.iter().filter_map(Value::as_str).collect(),
        None => vec!["application/json"],
    }
}

fn content(document: &Value, operation: &Value, key: &str, shape: &Value) -> Value {
    let shown = schema(shape);
    let types = media_types(document, operation, key).into_iter();
    types.map(|name| (name.to_owned(), json!({"schema": shown}))).collect::<Map>().into()
}

fn operation(document: &Value, operation: &Value) -> Value {
    let mut out = Map::new();
    for (key, value) in operation.as_object().into_iter().flatten() {
        match key.as_str() {
            "parameters" => {
                let shown = parameters(document, value);
                if shown != json!([]) {
                    out.insert(key.clone(), shown);
                }
                let all = value.as_array().into_iter().flatten();
                let mut bodies = all.map(|each| resolved(document, each)).filter(|each| each["in"] == "body");
                if let Some(body) = bodies.next() {
                    let mut shown =
                        json!({"content": content(document, operation, "consumes", &body["schema"])});
                    for key in ["description", "required"] {
                        if let Some(value) = body.get(key) {
                            shown[key] = value.clone();
                        }
                    }
                    out.insert("requestBody".into(), shown);
                }
            }
            "responses" => {
                let all = value.as_object().into_iter().flatten();
                let shown = all.map(|(code, response)| {
                    let mut shown = json!({"description": response["description"]});
                    if let Some(shape) = response.get("schema") {
                        shown["content"] = content(document, operation, "produces", shape);
                    }
                    (code.clone(), shown)
                });
                out.insert(key.clone(), Value::Object(shown.collect()));
            }
            "consumes" | "produces" | "schemes" => {}
            _ => drop(out.insert(key.clone(), value.clone())),
        }
    }
    out.into()
}

/// A schema with references as version 3 writes them: nothing stands beside them.
fn schema(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let name = members.get("$ref").and_then(Value::as_str);
            let name = name.and_then(|to| to.strip_prefix(merge::REFERENCE));
            let rest = members.iter().filter(|(key, _)| name.is_none() || *key != "$ref");
            let mut out: Map = rest.map(|(key, each)| (key.clone(), schema(each))).collect();
            if let Some(name) = name {
                let reference = json!({"$ref": format!("#/components/schemas/{name}")});
                if out.is_empty() {
                    return reference;
                }
                out.insert("allOf".into(), json!([reference]));
            }
            out.into()
        }
        Value::Array(items) => items.iter().map(schema).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_version_2_says_is_said_in_version_3() {
        let document = json!({
            "swagger": "2.0", "info": {"title": "Wardle", "version": "1"},
            "securityDefinitions": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}},
            "parameters": {"pretty-1": {"name": "pretty", "in": "query", "type": "string", "uniqueItems": true}},
            "paths": {"/apis/a.example/v1/things/{name}": {
                "put": {
                    "operationId": "replaceThing", "consumes": ["application/json", "application/yaml"],
                    "produces": ["application/json"], "schemes": ["https"],
                    "parameters": [
                        {"name": "body", "in": "body", "required": true, "schema": {"$ref": "#/definitions/a.Thing"}},
                        {"name": "dryRun", "in": "query", "type": "string", "description": "whether"},
                    ],
                    "responses": {"200": {"description": "OK", "schema": {"$ref": "#/definitions/a.Thing"}},
                        "401": {"description": "Unauthorized"}},
                    "x-kubernetes-action": "put",
                },
                "parameters": [{"$ref": "#/parameters/pretty-1"}],
            }},
            "definitions": {
                "a.Thing": {"type": "object", "properties": {
                    "spec": {"$ref": "#/definitions/a.Spec", "description": "what"},
                    "all": {"type": "array", "items": {"$ref": "#/definitions/a.Spec"}}}},
                "a.Spec": {"type": "object"}, "a.Unused": {"type": "object"},
            },
        });
        let made: Value = gantry_json::from_slice(&v3_of_v2(&document, Form::Json)).expect("JSON");
        let thing = json!({"schema": {"$ref": "#/components/schemas/a.Thing"}});
        let spec = json!({"$ref": "#/components/schemas/a.Spec"});
        assert_eq!(
            made,
            json!({
                "openapi": "3.0.0", "info": {"title": "Wardle", "version": "1"},
                "paths": {"/apis/a.example/v1/things/{name}": {
                    "put": {
                        "operationId": "replaceThing", "x-kubernetes-action": "put",
                        "parameters": [{"name": "dryRun", "in": "query", "description": "whether", "schema": {"type": "string"}}],
                        "requestBody": {"required": true, "content": {"application/json": thing, "application/yaml": thing}},
                        "responses": {"200": {"description": "OK", "content": {"application/json": thing}},
                            "401": {"description": "Unauthorized"}},
                    },
                    "parameters": [{"name": "pretty", "in": "query", "schema": {"type": "string", "uniqueItems": true}}],
                }},
                "components": {
                    "schemas": {
                        "a.Thing": {"type": "object", "properties": {
                            "spec": {"allOf": [spec], "description": "what"},
                            "all": {"type": "array", "items": spec}}},
                        "a.Spec": {"type": "object"},
                    },
                    "securitySchemes": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}},
                },
            })
        );
        assert!(!v3_of_v2(&document, Form::Protobuf).is_empty());
    }
}
