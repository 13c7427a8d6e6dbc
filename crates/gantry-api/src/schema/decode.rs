//! Reading an object by its structure, in one pass over the bytes: unknown and duplicate fields
//! are collected with their paths, a wrongly typed value ends it, nulls are left out, quantities
//! and times take their canonical form, zero values are left out or stand as upstream's types write them.

use std::fmt;

use gantry_json::{Key, Map, Number, Value};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Definition, DefinitionId, Schemas, Type, syntax, yaml};
use crate::quantity::Quantity;

/// Strict findings that are kept, at most.
const MOST_FINDINGS: usize = 100;

/// How a request's body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Kubernetes protobuf, of a built-in kind.
    Protobuf,
}

/// What was read.
#[derive(Debug, Default, PartialEq)]
pub struct Decoded {
    /// The object, with known fields only.
    pub value: Value,
    /// Strict findings in upstream's words: `unknown field "spec.x"`, `duplicate field "a"`.
    pub strict: Vec<String>,
}

/// Why bytes could not be read, in upstream's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They are not written as they should be: nothing of them is known.
    #[error("{0}")]
    Syntax(String),
    /// A value is of a type that its field cannot have.
    #[error("{0}")]
    Type(String),
}

/// Reads `bytes` as the definition `id`.
pub fn decode(
    schemas: &Schemas,
    id: DefinitionId,
    bytes: &[u8],
    format: Format,
) -> Result<Decoded, DecodeError> {
    match format {
        Format::Json => json(schemas, &Type::Object(id), bytes),
        Format::Yaml => {
            let (value, duplicates) = yaml::read(bytes).map_err(DecodeError::Syntax)?;
            let mut decoded = decode_value(schemas, id, value)?;
            decoded.strict.splice(0..0, duplicates);
            Ok(decoded)
        }
        Format::Protobuf => {
            let value = crate::protobuf::decode(bytes, Some(id))
                .map_err(|error| DecodeError::Syntax(error.to_string()))?;
            let id = sent(schemas, &value, id);
            Ok(Decoded { strict: Vec::new(), ..decode_value(schemas, id, value)? })
        }
    }
}

/// The definition of the kind that an object says it is; `wanted` where it says nothing. What is of
/// another kind is refused as that later, and not for its fields.
fn sent(schemas: &Schemas, object: &Value, wanted: DefinitionId) -> DefinitionId {
    let text = |name: &str| object[name].as_str().unwrap_or_default();
    let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
    let sent = [group, version, text("kind")];
    let mut own = schemas.get(wanted).kinds.iter();
    if own.any(|kind| kind.iter().map(|part| &**part).eq(sent)) {
        return wanted;
    }
    schemas.by_kind(sent[0], sent[1], sent[2]).unwrap_or(wanted)
}

/// Reads an object that is already a value, such as the outcome of a patch.
pub fn decode_value(schemas: &Schemas, id: DefinitionId, value: Value) -> Result<Decoded, DecodeError> {
    run(schemas, &Type::Object(id), &value, true)
}

/// Reads an object of which only what was given counts, such as one to be applied: zero values stay,
/// and none are added.
pub fn decode_given(schemas: &Schemas, id: DefinitionId, value: Value) -> Result<Decoded, DecodeError> {
    run(schemas, &Type::Object(id), &value, false)
}

/// Reads `bytes` in JSON or YAML without a structure; fields that come twice are found.
pub fn decode_free(bytes: &[u8], format: Format) -> Result<Decoded, DecodeError> {
    if format == Format::Yaml {
        let (value, duplicates) = yaml::read(bytes).map_err(DecodeError::Syntax)?;
        return Ok(Decoded { value, strict: duplicates.into_iter().collect() });
    }
    json(Schemas::builtin(), &Type::Any, bytes)
}

fn json(schemas: &Schemas, kind: &Type, bytes: &[u8]) -> Result<Decoded, DecodeError> {
    let mut deserializer = gantry_json::Deserializer::from_slice(bytes);
    let decoded = run(schemas, kind, &mut deserializer, true).and_then(|decoded| match deserializer.end() {
        Ok(()) => Ok(decoded),
        Err(error) => Err(DecodeError::Syntax(format!("invalid JSON: {error}"))),
    });
    // What is no JSON is said before what is of a wrong type.
    decoded.map_err(|error| syntax::check(bytes).err().map_or(error, DecodeError::Syntax))
}

fn run<'de, D>(schemas: &Schemas, kind: &Type, from: D, settles: bool) -> Result<Decoded, DecodeError>
where
    D: Deserializer<'de, Error = gantry_json::Error>,
{
    let mut state = State { schemas, settles, strict: Vec::new(), failure: None };
    match (Seed { state: &mut state, kind, within: None, place: None }).deserialize(from) {
        Ok(value) => {
            Ok(Decoded { value: value.unwrap_or_else(|| Value::Object(Map::new())), strict: state.strict })
        }
        Err(error) => Err(match state.failure.take() {
            Some(failure) => DecodeError::Type(failure),
            None => DecodeError::Syntax(format!("invalid JSON: {error}")),
        }),
    }
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Field(&'a str),
    /// An entry of a map from text.
    Key(&'a str),
    Index(usize),
}

/// Where a value stands that is being read: its step from what holds it. It is written out only where there is
/// something to say of it.
struct Place<'a> {
    above: Option<&'a Place<'a>>,
    step: Step<'a>,
}

impl<'a> Place<'a> {
    /// The steps to a place, from the first.
    fn steps(place: Option<&'a Self>) -> Vec<Step<'a>> {
        let mut steps: Vec<_> =
            std::iter::successors(place, |place| place.above).map(|place| place.step).collect();
        steps.reverse();
        steps
    }

    /// The path to `field` there, with list indices: how strict findings name it.
    fn path_to(place: Option<&'a Self>, field: &str) -> String {
        let mut text = String::new();
        for step in Self::steps(place) {
            match step {
                Step::Field(name) | Step::Key(name) if text.is_empty() => text.push_str(name),
                Step::Field(name) | Step::Key(name) => text.extend([".", name]),
                Step::Index(at) => text.push_str(&format!("[{at}]")),
            }
        }
        if text.is_empty() { field.to_owned() } else { format!("{text}.{field}") }
    }

    /// The path there without list indices and map keys: how type errors name it.
    fn plain_path(place: Option<&'a Self>) -> String {
        let names = Self::steps(place).into_iter().filter_map(|step| match step {
            Step::Field(name) => Some(name),
            Step::Key(_) | Step::Index(_) => None,
        });
        names.collect::<Vec<_>>().join(".")
    }
}

struct State<'s> {
    schemas: &'s Schemas,
    /// Whether zero values are left out or written as the fields say.
    settles: bool,
    strict: Vec<String>,
    failure: Option<String>,
}

impl State<'_> {
    /// Records something that strict reading refuses.
    fn find(&mut self, what: &str, place: Option<&Place<'_>>, field: &str) {
        if self.strict.len() >= MOST_FINDINGS {
            return;
        }
        let finding = format!("{what} field {:?}", Place::path_to(place, field));
        if !self.strict.contains(&finding) {
            self.strict.push(finding);
        }
    }

    /// Records what is wrong; the first finding stands.
    fn fail(&mut self, text: String) -> gantry_json::Error {
        self.failure.get_or_insert(text);
        gantry_json::Error::custom("wrong type")
    }
}

struct Seed<'a, 's> {
    state: &'a mut State<'s>,
    kind: &'a Type,
    /// What the object is that holds the value.
    within: Option<&'a Definition>,
    /// Where the value stands; nowhere, if it is the whole.
    place: Option<&'a Place<'a>>,
}

impl<'de> DeserializeSeed<'de> for Seed<'_, '_> {
    /// `None` for null.
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl Seed<'_, '_> {
    fn mismatch<E: serde::de::Error>(self, found: &str) -> E {
        let wanted = go_type(self.state.schemas, self.kind);
        let path = Place::plain_path(self.place);
        let text = if path.is_empty() {
            format!("json: cannot unmarshal {found} into Go value of type {wanted}")
        } else {
            format!(
                "json: cannot unmarshal {found} into Go struct field {}.{path} of type {wanted}",
                self.within.map_or("", Definition::short_name)
            )
        };
        E::custom(self.state.fail(text))
    }

    fn text<E: serde::de::Error>(self, text: &str) -> Result<Option<Value>, E> {
        match self.kind {
            Type::String | Type::IntOrString | Type::Any => Ok(Some(text.into())),
            Type::Quantity => match text.trim().parse::<Quantity>() {
                Ok(quantity) => Ok(Some(quantity.to_string().into())),
                Err(error) => Err(E::custom(self.state.fail(error.to_string()))),
            },
            Type::Bytes => match check_base64(text) {
                None => Ok(Some(text.into())),
                Some(at) => {
                    Err(E::custom(self.state.fail(format!("illegal base64 data at input byte {at}"))))
                }
            },
            Type::Time | Type::MicroTime => match time(text, *self.kind == Type::MicroTime) {
                Some(canonical) => Ok(Some(canonical.into())),
                None => {
                    let layout = if *self.kind == Type::MicroTime {
                        "2006-01-02T15:04:05.000000Z07:00"
                    } else {
                        "2006-01-02T15:04:05Z07:00"
                    };
                    let text =
                        format!("parsing time {text:?} as {layout:?}: cannot parse {text:?} as \"2006\"");
                    Err(E::custom(self.state.fail(text)))
                }
            },
            _ => Err(self.mismatch("string")),
        }
    }

    fn number<E: serde::de::Error>(self, number: Number) -> Result<Option<Value>, E> {
        let whole = number.as_i64();
        match self.kind {
            Type::Float64 | Type::Any => Ok(Some(number.into())),
            Type::Int64 if whole.is_some() => Ok(Some(number.into())),
            Type::Int32 | Type::IntOrString if whole.is_some_and(|n| i32::try_from(n).is_ok()) => {
                Ok(Some(number.into()))
            }
            Type::Quantity => self.text(&number.to_string()),
            Type::Int32 | Type::Int64 | Type::IntOrString => {
                let found = format!("number {number}");
                Err(self.mismatch(&found))
            }
            _ => Err(self.mismatch("number")),
        }
    }
}

impl<'de> Visitor<'de> for Seed<'_, '_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Self::Value, E> {
        match self.kind {
            Type::Bool | Type::Any => Ok(Some(value.into())),
            _ => Err(self.mismatch("bool")),
        }
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Self::Value, E> {
        self.number(value.into())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Self::Value, E> {
        self.number(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Self::Value, E> {
        match Number::from_f64(value) {
            Some(number) => self.number(number),
            None => Err(self.mismatch("number")),
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        self.text(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let item = match self.kind {
            Type::List(item) => &**item,
            Type::Any => &Type::Any,
            _ => return Err(self.mismatch("array")),
        };
        let mut list = Vec::with_capacity(items.size_hint().unwrap_or_default().min(1024));
        loop {
            let place = Place { above: self.place, step: Step::Index(list.len()) };
            let (state, within, place) = (&mut *self.state, self.within, Some(&place));
            match items.next_element_seed(Seed { state, kind: item, within, place })? {
                Some(value) => list.push(value.unwrap_or_else(|| zero(item))),
                None => return Ok(Some(Value::Array(list))),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut map = Map::new();
        let definition = match self.kind {
            Type::Object(id) => Some(self.state.schemas.get(*id)),
            Type::Map(_) | Type::Any => None,
            _ => return Err(self.mismatch("object")),
        };
        let mut nulls: Vec<Key> = Vec::new();
        while let Some(key) = entries.next_key::<Key>()? {
            let mut zero_kept = true;
            let (kind, within) = match (self.kind, definition) {
                (_, Some(definition)) => match definition.field(&key) {
                    Some(field) => {
                        zero_kept = !self.state.settles || !field.drops_zero();
                        (&field.kind, Some(definition))
                    }
                    None => {
                        entries.next_value::<IgnoredAny>()?;
                        self.state.find("unknown", self.place, &key);
                        continue;
                    }
                },
                (Type::Map(item), _) => (&**item, self.within),
                _ => (&Type::Any, self.within),
            };
            if map.contains_key(&key) || nulls.contains(&key) {
                self.state.find("duplicate", self.place, &key);
            }
            let step = if definition.is_some() { Step::Field } else { Step::Key };
            let place = Place { above: self.place, step: step(&key) };
            let seed = Seed { state: &mut *self.state, kind, within, place: Some(&place) };
            let value = entries.next_value_seed(seed)?;
            match (value.filter(|value| zero_kept || !is_zero(value)), self.kind) {
                (Some(value), _) => drop(map.insert(key, value)),
                (None, Type::Any) => drop(map.insert(key, Value::Null)),
                (None, Type::Map(item)) => drop(map.insert(key, zero(item))),
                (None, _) => {
                    map.remove(&key);
                    nulls.push(key);
                }
            }
        }
        if let Some(definition) = definition.filter(|_| self.state.settles) {
            definition.write_zeros(&mut map);
        }
        Ok(Some(Value::Object(map)))
    }
}

/// Whether `value` is the zero of its type.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// What upstream's decoder leaves in a list or map for a null.
fn zero(kind: &Type) -> Value {
    match kind {
        Type::String | Type::Bytes => "".into(),
        Type::Quantity => "0".into(),
        Type::Int32 | Type::Int64 | Type::IntOrString => 0.into(),
        Type::Float64 => 0.0.into(),
        Type::Bool => false.into(),
        Type::Object(_) => Value::Object(Map::new()),
        Type::Time | Type::MicroTime | Type::Any | Type::List(_) | Type::Map(_) => Value::Null,
    }
}

/// What upstream's error texts call a type.
fn go_type(schemas: &Schemas, kind: &Type) -> String {
    match kind {
        Type::String | Type::Time | Type::MicroTime | Type::Quantity => "string".into(),
        Type::Bytes => "[]uint8".into(),
        Type::Int32 | Type::IntOrString => "int32".into(),
        Type::Int64 => "int64".into(),
        Type::Float64 => "float64".into(),
        Type::Bool => "bool".into(),
        Type::Any => "interface {}".into(),
        Type::Object(id) => {
            let mut parts = schemas.get(*id).name.rsplit('.');
            let name = parts.next().unwrap_or_default();
            format!("{}.{name}", parts.next().unwrap_or_default())
        }
        Type::List(item) => format!("[]{}", go_type(schemas, item)),
        Type::Map(item) => format!("map[string]{}", go_type(schemas, item)),
    }
}

/// Where `text` stops being padded standard base64; newlines are skipped.
fn check_base64(text: &str) -> Option<usize> {
    let mut digits = 0;
    let mut padding = 0;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'\r' | b'\n' => {}
            b'=' if digits % 4 >= 2 && padding < 4 - digits % 4 => padding += 1,
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' if padding == 0 => digits += 1,
            _ => return Some(at),
        }
    }
    ((digits + padding) % 4 != 0).then_some(text.len())
}

fn time(text: &str, micros: bool) -> Option<String> {
    // Nearly every time is already canonical; reading it back would cost more than this look.
    let time: jiff::Timestamp = text.parse().ok()?;
    let precision = if micros { 6 } else { 0 };
    let whole = if micros { time } else { jiff::Timestamp::from_second(time.as_second()).ok()? };
    Some(format!("{whole:.precision$}"))
}

#[cfg(test)]
mod tests {
    use gantry_json::json;
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Decoded, DecodeError> {
        let schemas = Schemas::builtin();
        decode(schemas, schemas.by_kind("", "v1", "Pod").expect("Pod"), text.as_bytes(), Format::Json)
    }

    #[test]
    fn canonical_values() {
        let decoded = read(
            r#"{"kind":"Pod","metadata":{"name":"a","creationTimestamp":null,"deletionTimestamp":"2024-01-02T03:04:05.678+01:00",
                "labels":{"x":null}},"spec":{"overhead":{"cpu":0.5,"memory":"1024Ki"},"priority":7,"volumes":null}}"#,
        )
        .expect("decodes");
        assert_eq!(
            decoded.value,
            json!({"kind": "Pod", "metadata": {"name": "a", "deletionTimestamp": "2024-01-02T02:04:05Z",
                "labels": {"x": ""}}, "spec": {"containers": null, "overhead": {"cpu": "500m", "memory": "1Mi"}, "priority": 7},
                "status": {}})
        );
        assert!(decoded.strict.is_empty());
    }

    #[test]
    fn zero_values_stand_where_upstream_writes_them() {
        let pod = json!({"kind": "Pod", "metadata": {"labels": {}, "annotations": {"a": ""}}, "spec": {
            "hostNetwork": false, "nodeName": "", "tolerations": [], "nodeSelector": {}, "securityContext": {},
            "terminationGracePeriodSeconds": 0, "volumes": [{"name": "v", "emptyDir": {}}],
            "containers": [{"name": "c", "args": [], "ports": [{"containerPort": 80, "hostPort": 0}],
                "env": [{"name": "E", "value": "", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}]}],
            "affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []}},
        }});
        let expect = json!({"kind": "Pod", "metadata": {"annotations": {"a": ""}}, "spec": {
            "securityContext": {}, "terminationGracePeriodSeconds": 0, "volumes": [{"name": "v", "emptyDir": {}}],
            "containers": [{"name": "c", "ports": [{"containerPort": 80}], "resources": {},
                "env": [{"name": "E", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "0"}}}]}],
            "affinity": {"podAffinity": {}},
        }, "status": {}});
        let schemas = Schemas::builtin();
        let id = schemas.by_kind("", "v1", "Pod").expect("Pod");
        let settled = decode_value(schemas, id, pod.clone()).expect("decodes").value;
        assert_eq!(settled, expect);
        assert_eq!(decode_value(schemas, id, settled.clone()).expect("decodes").value, settled);
        assert_eq!(decode_given(schemas, id, pod.clone()).expect("decodes").value, pod);
    }

    #[test]
    fn strict_findings() {
        let decoded = read(
            r#"{"specc":1,"spec":{"containers":[{"name":"a","imag":"x","name":"b"}],"nodeName":"n","nodeName":"m"}}"#,
        )
        .expect("decodes");
        assert_eq!(
            decoded.strict,
            [
                "unknown field \"specc\"",
                "unknown field \"spec.containers[0].imag\"",
                "duplicate field \"spec.containers[0].name\"",
                "duplicate field \"spec.nodeName\"",
            ]
        );
        assert_eq!(decoded.value["spec"]["nodeName"], "m");
    }

    #[test]
    fn type_errors() {
        for (text, expected) in [
            ("[]", "json: cannot unmarshal array into Go value of type v1.Pod"),
            (
                r#"{"spec":{"containers":[{"image":5}]}}"#,
                "json: cannot unmarshal number into Go struct field Container.spec.containers.image of type string",
            ),
            (
                r#"{"spec":{"priority":5000000000}}"#,
                "json: cannot unmarshal number 5000000000 into Go struct field PodSpec.spec.priority of type int32",
            ),
            (
                r#"{"spec":{"containers":{}}}"#,
                "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
            ),
            (
                r#"{"metadata":{"labels":{"a":true}}}"#,
                "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string",
            ),
        ] {
            assert_eq!(read(text), Err(DecodeError::Type(expected.to_owned())));
        }
        let eof = DecodeError::Syntax("unexpected end of JSON input".into());
        assert_eq!(read("{"), Err(eof.clone()));
        assert_eq!(read("{\"spec\":[],"), Err(eof));
        assert!(read("{} x").is_err());
        assert!(
            read(r#"{"spec":{"overhead":{"cpu":"x"}}}"#)
                .expect_err("quantity")
                .to_string()
                .starts_with("quantities must match")
        );
    }

    #[test]
    fn fields_that_come_twice_are_found_without_a_structure() {
        let decoded = decode_free(br#"{"a":{"b":1,"b":[{"c":1,"c":null}]},"x":null}"#, Format::Json);
        let decoded = decoded.expect("decodes");
        assert_eq!(decoded.strict, ["duplicate field \"a.b\"", "duplicate field \"a.b[0].c\""]);
        assert_eq!(decoded.value, json!({"a": {"b": [{"c": null}]}, "x": null}));
        let many: String = (0..200).map(|at| format!("\"f{at}\":1,")).collect();
        assert_eq!(read(&format!("{{{many}\"f0\":2}}")).expect("decodes").strict.len(), 100);
    }

    #[test]
    fn base64_is_checked() {
        for (text, expected) in
            [("", None), ("YQ==", None), ("YWI=", None), ("YWJj", None), ("YQ=", Some(3)), ("Y*==", Some(1))]
        {
            assert_eq!(check_base64(text), expected, "{text}");
        }
    }

    #[test]
    fn yaml_reads_alike() {
        let schemas = Schemas::builtin();
        let pod = schemas.by_kind("", "v1", "Pod").expect("Pod");
        let text = b"metadata:\n  name: a\nspec:\n  x: 1\n";
        let decoded = decode(schemas, pod, text, Format::Yaml).expect("decodes");
        assert_eq!((decoded.value["metadata"]["name"].as_str(), decoded.strict.len()), (Some("a"), 1));
        assert!(decode(schemas, pod, b"a: [", Format::Yaml).is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC{0,80}") {
            let _ = read(&text);
        }
    }
}
