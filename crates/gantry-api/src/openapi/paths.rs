//! Paths and operations as the two versions of OpenAPI write them.

use gantry_json::{Key, Map, Value, json};

use super::definitions::{Style, reference};
use super::operations::{Answer, Operation, Parameter, Path};

/// A path's template and its operations.
pub(super) fn write(path: &Path, style: &Style) -> (Key, Value) {
    let mut out = Map::new();
    for each in &path.operations {
        let written = if style.v3 { v3(each, style) } else { v2(each, style) };
        out.insert(each.method.into(), written);
    }
    if !path.parameters.is_empty() {
        let all = path.parameters.iter().map(|each| parameter(each, &path.named, style));
        out.insert("parameters".into(), all.collect());
    }
    (path.template.as_str().into(), out.into())
}

fn parameter(each: &Parameter, named: &str, style: &Style) -> Value {
    let about = match each.name {
        "name" => format!("{} {named}", each.about),
        _ => each.about.to_owned(),
    };
    let mut out = json!({"name": each.name, "in": each.place, "description": about});
    if style.v3 {
        out["schema"] = json!({"type": each.kind, "uniqueItems": true});
    } else {
        out["type"] = each.kind.into();
        out["uniqueItems"] = true.into();
    }
    if each.place == "path" {
        out["required"] = true.into();
    }
    out
}

/// What both versions say.
fn common(operation: &Operation, style: &Style) -> Value {
    let mut out = json!({
        "operationId": operation.id, "description": operation.about, "tags": [operation.tag],
    });
    let mut parameters: Vec<Value> =
        operation.parameters.iter().map(|each| parameter(each, "", style)).collect();
    if !style.v3
        && let Some((definition, required)) = &operation.body
    {
        let mut body = json!({"name": "body", "in": "body", "schema": reference(definition, style)});
        if *required {
            body["required"] = true.into();
        }
        parameters.insert(0, body);
    }
    if !parameters.is_empty() {
        out["parameters"] = parameters.into();
    }
    if !operation.action.is_empty() {
        out["x-kubernetes-action"] = operation.action.into();
    }
    if let Some([group, version, kind]) = &operation.kind {
        out["x-kubernetes-group-version-kind"] = json!({"group": group, "version": version, "kind": kind});
    }
    out
}

fn schema(answer: &Answer, style: &Style) -> Value {
    match answer {
        Answer::Text => json!({"type": "string"}),
        Answer::Definition(name) => plain_reference(name, style),
    }
}

/// A reference that stands alone, which version 3 need not wrap.
fn plain_reference(name: &str, style: &Style) -> Value {
    let mut written = reference(name, style);
    match written.get_mut("allOf").and_then(|all| all.get_mut(0)) {
        Some(alone) => alone.take(),
        None => written,
    }
}

fn reason(code: u16) -> &'static str {
    match code {
        201 => "Created",
        202 => "Accepted",
        _ => "OK",
    }
}

fn responses(operation: &Operation, content: impl Fn() -> (&'static str, Value)) -> Value {
    let mut out = Map::new();
    for code in operation.answers {
        let (key, value) = content();
        out.insert(code.to_string().into(), json!({"description": reason(*code), key: value}));
    }
    out.insert("401".into(), json!({"description": "Unauthorized"}));
    out.into()
}

fn v2(operation: &Operation, style: &Style) -> Value {
    let mut out = common(operation, style);
    if !operation.consumes.is_empty() {
        out["consumes"] = json!(operation.consumes);
    }
    out["produces"] = json!(operation.produces);
    out["schemes"] = json!(["https"]);
    out["responses"] = responses(operation, || ("schema", schema(&operation.answer, style)));
    out
}

fn v3(operation: &Operation, style: &Style) -> Value {
    let mut out = common(operation, style);
    if let Some((definition, required)) = &operation.body {
        let schema = plain_reference(definition, style);
        let content: Map =
            operation.consumes.iter().map(|kind| ((*kind).to_owned(), json!({"schema": schema}))).collect();
        out["requestBody"] = json!({"content": content});
        if *required {
            out["requestBody"]["required"] = true.into();
        }
    }
    out["responses"] = responses(operation, || {
        let schema = schema(&operation.answer, style);
        let each = operation.produces.iter().map(|kind| ((*kind).to_owned(), json!({"schema": schema})));
        ("content", Value::Object(each.collect()))
    });
    out
}
