//! Whether the values of an object that is applied are of their fields' types, and the items of its lists
//! can be told apart: what is not is told in the words of upstream's merge library, each with its place.

mod items;

use gantry_json::Value;

use self::items::{Identity, Seen};
use super::layout::{builtin_key, sorted};
use crate::custom::node::{Kind, Node};
use crate::field::quoted;
use crate::go::type_name;
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
        Value::String(text) => quoted(text),
        Value::Null => "interface {}(nil)".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => {
            format!("[]interface {{}}{{{}}}", items.iter().map(source).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{}:{}", quoted(name), source(value)));
            format!("map[string]interface {{}}{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
    }
}

impl<'a> Wanted<'a> {
    /// What stands for a key that a list's item does not have.
    fn key(self, key: &str) -> Option<&'a Value> {
        match self {
            Wanted::Type(kind, ..) => builtin_key(kind, key),
            Wanted::Node(node) | Wanted::Resource(node) => node.property(key)?.default.as_deref(),
        }
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
        let sorted = sorted(keys);
        let identity = match list {
            ListType::Map if !keys.is_empty() => Identity::Keys(&sorted, wanted),
            ListType::Set => Identity::Value,
            _ => Identity::Place,
        };
        let mut seen = Seen::new(identity, items);
        for (at, item) in items.iter().enumerate() {
            if let Err(why) = identity.check(item, keys) {
                // Nothing behind an item that is not known either.
                return self.tell(&format!("element {at}: {why}"));
            }
            let length = self.path.len();
            identity.show(at, item, &mut self.path);
            if seen.has(at) {
                let step = self.path.split_off(length);
                self.tell(&format!("duplicate entries for key {step}"));
                self.path.push_str(&step);
            }
            self.value(wanted, item);
            self.path.truncate(length);
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
                ".spec.containers[name=\"c\"].ports[containerPort=\"x\",protocol=\"TCP\"].containerPort: expected numeric (int or float), got string",
                ".spec.containers[name=\"c\"].resources.limits.memory: expected any scalar, got &{[a]}",
                ".spec.hostNetwork: expected boolean, got &{yes}",
                ".spec.nodeSelector: expected map, got &{[]}",
                ".spec.terminationGracePeriodSeconds: expected numeric (int or float), got string",
                ".spec.tolerations: expected list, got &{map[key:a]}",
            ]
        );
    }

    #[test]
    fn built_in_lists_have_each_item_once() {
        let schemas = Schemas::builtin();
        let check = |group: &str, kind: &str, object: Value, expect: &[&str]| {
            let id = schemas.by_kind(group, "v1", kind).expect("known");
            assert_eq!(of_builtin(&Type::Object(id), &object), expect, "{object}");
        };
        let pod = |spec: Value| json!({"spec": {"template": {"spec": spec}}});
        check(
            "apps",
            "Deployment",
            pod(
                json!({"containers": [{"name": "c", "env": [{"name": "X"}, {"name": "Y"}, {"name": "X"}, {"name": "X"}],
                    "ports": [{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}, {"containerPort": 80, "protocol": "TCP"}],
                }]}),
            ),
            &[
                ".spec.template.spec.containers[name=\"c\"].env: duplicate entries for key [name=\"X\"]",
                ".spec.template.spec.containers[name=\"c\"].env: duplicate entries for key [name=\"X\"]",
                ".spec.template.spec.containers[name=\"c\"].ports: duplicate entries for key [containerPort=80,protocol=\"TCP\"]",
            ],
        );
        // What every item has has a default; validation is going to refuse it.
        check("apps", "Deployment", pod(json!({"containers": [{"image": "a"}, {"name": "c"}]})), &[]);
        check("apps", "Deployment", pod(json!({"imagePullSecrets": [{}, {"name": "a"}]})), &[]);
        check(
            "apps",
            "Deployment",
            pod(json!({"imagePullSecrets": [{}, {"name": ""}], "containers": [{"name": "c"}, null]})),
            &[
                ".spec.template.spec.containers: element 1: associative list with keys may not have a null element",
                ".spec.template.spec.imagePullSecrets: duplicate entries for key [name=\"\"]",
            ],
        );
        check(
            "",
            "ConfigMap",
            json!({"metadata": {"finalizers": ["a", "b", "a"]}}),
            &[".metadata.finalizers: duplicate entries for key [=\"a\"]"],
        );
        // Not every key must be there.
        let device = json!({"driver": "d", "device": "e", "pool": "p"});
        let mut shared = device.clone();
        shared["shareID"] = "s".into();
        check(
            "resource.k8s.io",
            "ResourceClaim",
            json!({"status": {"devices": [device, shared, device]}}),
            &[".status.devices: duplicate entries for key [device=\"e\",driver=\"d\",pool=\"p\"]"],
        );
    }

    #[test]
    fn custom_lists_have_each_item_once() {
        let list = |keys: &[&str], fields: Value| {
            json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys,
                "items": {"type": "object", "properties": fields}})
        };
        let text = || json!({"type": "string"});
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {}},
            "map": list(&["k"], json!({"k": text()})),
            "pair": list(&["z", "k"], json!({"k": text(), "z": {"type": "integer", "default": 3}})),
            "both": list(&["z", "k"], json!({"k": text(), "z": text()})),
        }}}});
        let node = Node::read(&schema, true, None);
        let check = |spec: Value, expect: &[&str]| {
            assert_eq!(of_custom(&node, &json!({"spec": spec})), expect, "{spec}");
        };
        check(json!({"set": ["a", 1, "b", "1"], "map": [{"k": "a"}, {"k": "b"}]}), &[]);
        check(
            json!({"set": ["a", 1, "a", 1]}),
            &[".spec.set: duplicate entries for key [=\"a\"]", ".spec.set: duplicate entries for key [=1]"],
        );
        check(
            json!({"set": ["a", {}, "a"]}),
            &[".spec.set: element 1: associative list without keys has an element that's a map type"],
        );
        check(
            json!({"set": [[]]}),
            &[".spec.set: element 0: not supported: associative list with lists as elements"],
        );
        check(
            json!({"map": [{"k": "a"}, {"k": 1}, {"v": 1}, {"k": "a"}]}),
            &[
                ".spec.map[k=1].k: expected string, got &value.valueUnstructured{Value:1}",
                ".spec.map: element 2: associative list with keys has an element that omits all key fields [\"k\"] \
             (and doesn't have default values for any key fields)",
            ],
        );
        check(
            json!({"both": [{"k": "a"}, {"z": "a"}, {"k": "a"}, {}]}),
            &[
                ".spec.both: duplicate entries for key [k=\"a\"]",
                ".spec.both: element 3: associative list with keys has an element that omits all key fields [\"z\" \"k\"] \
             (and doesn't have default values for any key fields)",
            ],
        );
        check(
            json!({"pair": [{"k": "a"}, {"k": "a", "z": 4}, {"k": "a", "z": 3}, "x"]}),
            &[
                ".spec.pair: duplicate entries for key [k=\"a\",z=3]",
                ".spec.pair: element 3: associative list with keys may not have non-map elements",
            ],
        );
        // Long lists are looked at in another way.
        let mut many: Vec<Value> = (0..100).map(|at| json!({"k": at.to_string()})).collect();
        check(json!({"map": many}), &[]);
        many.push(json!({"k": "7"}));
        check(json!({"map": many}), &[".spec.map: duplicate entries for key [k=\"7\"]"]);
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
