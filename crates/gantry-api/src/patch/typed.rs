//! Whether the values of an object that is applied are of their fields' types: what is not is told in
//! the words of upstream's merge library, each with its place.

use gantry_json::Value;

use crate::custom::node::{Kind, Node};
use crate::schema::{Field, ListType, Schemas, Type};

/// Findings that are told, at most.
const MOST: usize = 100;

/// What a place wants.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    /// A value of this type, in a list with these keys.
    Type(&'a Type, ListType, &'a [Box<str>]),
    /// What a custom kind's schema says.
    Node(&'a Node),
    /// A whole resource: metadata, and what the schema says.
    Resource(&'a Node),
}

/// What is of a wrong type in an object of the custom kind whose schema begins at `root`.
pub(super) fn of_custom(root: &Node, object: &Value) -> Vec<String> {
    run(Wanted::Resource(root), object)
}

/// What is of a wrong type in an object of a built-in kind.
pub(super) fn of_builtin(kind: &Type, object: &Value) -> Vec<String> {
    run(Wanted::Type(kind, ListType::Atomic, &[]), object)
}

fn run(wanted: Wanted<'_>, object: &Value) -> Vec<String> {
    let mut walk = Walk { path: String::new(), found: Vec::new() };
    walk.value(wanted, object);
    walk.found
}

struct Walk {
    path: String,
    found: Vec<String>,
}

/// A value as Go writes it within another one.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.to_string(),
        Value::Null => "<nil>".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(" "))
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{name}:{}", plain(value)));
            format!("map[{}]", fields.collect::<Vec<_>>().join(" "))
        }
    }
}

/// A value as Go source writes it.
fn source(value: &Value) -> String {
    match value {
        Value::String(_) => value.to_string(),
        Value::Null => "interface {}(nil)".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => {
            format!("[]interface {{}}{{{}}}", items.iter().map(source).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{name:?}:{}", source(value)));
            format!("map[string]interface {{}}{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
    }
}

/// The type that a value has in Go.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "string",
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

impl Walk {
    fn tell(&mut self, what: &str) {
        if self.found.len() < MOST {
            self.found.push(format!("{}: {what}", self.path));
        }
    }

    fn below(&mut self, step: &str, wanted: Wanted<'_>, value: &Value) {
        let length = self.path.len();
        self.path.push_str(step);
        self.value(wanted, value);
        self.path.truncate(length);
    }

    fn value(&mut self, wanted: Wanted<'_>, value: &Value) {
        if value.is_null() || self.found.len() >= MOST {
            return;
        }
        match wanted {
            Wanted::Type(kind, list, keys) => self.typed(kind, list, keys, value),
            Wanted::Node(node) | Wanted::Resource(node) => {
                self.node(node, matches!(wanted, Wanted::Resource(_)) || node.embedded, value);
            }
        }
    }

    fn text(&mut self, value: &Value) {
        if !value.is_string() {
            self.tell(&format!("expected string, got &value.valueUnstructured{{Value:{}}}", source(value)));
        }
    }

    fn number(&mut self, value: &Value) {
        if !value.is_number() {
            self.tell(&format!("expected numeric (int or float), got {}", type_name(value)));
        }
    }

    fn flag(&mut self, value: &Value) {
        if !value.is_boolean() {
            self.tell(&format!("expected boolean, got &{{{}}}", plain(value)));
        }
    }

    fn scalar(&mut self, value: &Value) {
        if value.is_array() || value.is_object() {
            self.tell(&format!("expected any scalar, got &{{{}}}", plain(value)));
        }
    }

    fn typed(&mut self, kind: &Type, list: ListType, keys: &[Box<str>], value: &Value) {
        match (kind, value) {
            (Type::Any, _) => {}
            (Type::String | Type::Bytes, _) => self.text(value),
            (Type::Int32 | Type::Int64 | Type::Float64, _) => self.number(value),
            (Type::Bool, _) => self.flag(value),
            (Type::IntOrString | Type::Quantity | Type::Time | Type::MicroTime, _) => self.scalar(value),
            (Type::Object(id), Value::Object(fields)) => {
                let definition = Schemas::builtin().get(*id);
                for (name, value) in fields {
                    if let Some(Field { kind, list, keys, .. }) = definition.field(name) {
                        self.below(&format!(".{name}"), Wanted::Type(kind, *list, keys), value);
                    }
                }
            }
            (Type::Map(inner), Value::Object(fields)) => {
                for (name, value) in fields {
                    self.below(&format!(".{name}"), Wanted::Type(inner, ListType::Atomic, &[]), value);
                }
            }
            (Type::List(inner), Value::Array(items)) => {
                self.items(list, keys, items, Wanted::Type(inner, ListType::Atomic, &[]));
            }
            (Type::List(_), _) => self.tell(&format!("expected list, got &{{{}}}", plain(value))),
            (Type::Object(_) | Type::Map(_), _) => {
                self.tell(&format!("expected map, got &{{{}}}", plain(value)));
            }
        }
    }

    fn items(&mut self, list: ListType, keys: &[Box<str>], items: &[Value], wanted: Wanted<'_>) {
        for (at, item) in items.iter().enumerate() {
            let step = match list {
                ListType::Map if item.is_object() => {
                    let keyed = keys.iter().filter_map(|key| Some(format!("{key}={}", item.get(&**key)?)));
                    let keyed: Vec<String> = keyed.collect();
                    if keyed.is_empty() { format!("[{at}]") } else { format!("[{}]", keyed.join(",")) }
                }
                ListType::Set => format!("[={item}]"),
                _ => format!("[{at}]"),
            };
            self.below(&step, wanted, item);
        }
    }

    fn node(&mut self, node: &Node, resource: bool, value: &Value) {
        match (node.kind, value) {
            (Kind::Any, _) if !resource => {}
            (Kind::String, _) => self.text(value),
            (Kind::Integer | Kind::Number, _) => self.number(value),
            (Kind::Boolean, _) => self.flag(value),
            (Kind::IntOrString, _) => self.scalar(value),
            (Kind::Array, Value::Array(items)) => {
                if let Some(inner) = &node.items {
                    self.items(node.list, &node.keys, items, Wanted::Node(inner));
                }
            }
            (Kind::Array, _) => self.tell(&format!("expected list, got &{{{}}}", plain(value))),
            (Kind::Object | Kind::Any, Value::Object(fields)) => {
                for (name, value) in fields {
                    let step = format!(".{name}");
                    match name.as_str() {
                        "apiVersion" | "kind" if resource => {
                            self.below(&step, Wanted::Type(&Type::String, ListType::Atomic, &[]), value);
                        }
                        "metadata" if resource => {
                            let meta = Type::Object(Schemas::object_meta());
                            self.below(&step, Wanted::Type(&meta, ListType::Atomic, &[]), value);
                        }
                        name => {
                            if let Some(inner) = node.field(name) {
                                self.below(&step, Wanted::Node(inner), value);
                            }
                        }
                    }
                }
            }
            (Kind::Object | Kind::Any, _) => self.tell(&format!("expected map, got &{{{}}}", plain(value))),
        }
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    #[test]
    fn each_wrong_type_is_told_with_its_place() {
        let schemas = Schemas::builtin();
        let pod = Type::Object(schemas.by_kind("", "v1", "Pod").expect("known"));
        let object = json!({
            "metadata": {"name": 1, "labels": {"a": true}, "finalizers": [2]},
            "spec": {
                "hostNetwork": "yes", "terminationGracePeriodSeconds": "3", "tolerations": {"key": "a"},
                "containers": [{"name": "c", "image": null, "command": "sh", "ports": [{"containerPort": "x"}],
                    "resources": {"limits": {"cpu": 1, "memory": ["a"]}}}],
                "nodeSelector": [],
            },
        });
        assert_eq!(
            of_builtin(&pod, &object),
            [
                ".metadata.finalizers[=2]: expected string, got &value.valueUnstructured{Value:2}",
                ".metadata.labels.a: expected string, got &value.valueUnstructured{Value:true}",
                ".metadata.name: expected string, got &value.valueUnstructured{Value:1}",
                ".spec.containers[name=\"c\"].command: expected list, got &{sh}",
                ".spec.containers[name=\"c\"].ports[containerPort=\"x\"].containerPort: expected numeric (int or float), got string",
                ".spec.containers[name=\"c\"].resources.limits.memory: expected any scalar, got &{[a]}",
                ".spec.hostNetwork: expected boolean, got &{yes}",
                ".spec.nodeSelector: expected map, got &{[]}",
                ".spec.terminationGracePeriodSeconds: expected numeric (int or float), got string",
                ".spec.tolerations: expected list, got &{map[key:a]}",
            ]
        );
    }

    #[test]
    fn custom_kinds_have_types_too() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "a": {"type": "string"}, "b": {"type": "integer"}, "any": {"x-kubernetes-preserve-unknown-fields": true},
            "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "properties": {"name": {"type": "string"}, "port": {"type": "integer"}}}},
        }}}});
        let node = Node::read(&schema, true, None);
        let object = json!({"kind": 1, "metadata": {"labels": "x"}, "spec": {
            "a": 1, "b": "2", "any": [1], "ports": [{"name": "x", "port": {}}]}});
        assert_eq!(
            of_custom(&node, &object),
            [
                ".kind: expected string, got &value.valueUnstructured{Value:1}",
                ".metadata.labels: expected map, got &{x}",
                ".spec.a: expected string, got &value.valueUnstructured{Value:1}",
                ".spec.b: expected numeric (int or float), got string",
                ".spec.ports[name=\"x\"].port: expected numeric (int or float), got map[string]interface {}",
            ]
        );
        assert_eq!(of_custom(&node, &json!({"spec": []})), [".spec: expected map, got &{[]}"]);
    }
}
