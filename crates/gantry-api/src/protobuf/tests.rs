//! What goes through both directions unchanged, what upstream's client writes, and what cannot
//! be read.

mod reference;

use gantry_json::{Map, Value, json};
use proptest::prelude::*;

use super::layout::{Layout, MessageId, Shape, Slot};
use super::*;
use crate::registry::Registry;
use crate::schema::{DefinitionId, Format, Schemas};

/// Makes objects of a kind from a seed.
struct Generator {
    state: u64,
    layout: &'static Layout,
}

impl Generator {
    fn new(seed: u64) -> Self {
        Self { state: seed | 1, layout: Layout::builtin() }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % limit
    }

    fn message(&mut self, id: MessageId, depth: u32) -> Value {
        let mut object = Map::new();
        if depth > 6 {
            return Value::Object(object);
        }
        for slot in &self.layout.get(id).slots {
            if self.below(4) < 1 + u64::from(depth < 2) {
                object.insert((*slot.name).into(), self.slot(slot, depth));
            }
        }
        Value::Object(object)
    }

    fn slot(&mut self, slot: &Slot, depth: u32) -> Value {
        loop {
            let value = self.value(&slot.shape, depth);
            let zero = [json!(0), json!(""), json!(false), json!({})].contains(&value);
            if !(slot.zero_left_out && zero && !matches!(slot.shape, Shape::Message(_))) {
                return if zero && slot.zero_left_out { json!({"name": "n"}) } else { value };
            }
        }
    }

    fn value(&mut self, shape: &Shape, depth: u32) -> Value {
        match shape {
            Shape::String => ["", "a", "täxt", "\u{1f600} \"x\"\n"][self.below(4) as usize].into(),
            Shape::Bytes => ["", "AA==", "/v8=", "aGVsbG8gd29ybGQh"][self.below(4) as usize].into(),
            Shape::Int32 => [0, 1, -1, i32::MAX, i32::MIN][self.below(5) as usize].into(),
            Shape::Int64 => [0, 1, -1, i64::MAX, i64::MIN][self.below(5) as usize].into(),
            Shape::Double => [json!(0), json!(1), json!(-2.5), json!(1e300)][self.below(4) as usize].clone(),
            Shape::Bool => (self.below(2) == 1).into(),
            Shape::IntOrString => {
                [json!(0), json!(8080), json!("25%"), json!("")][self.below(4) as usize].clone()
            }
            Shape::Quantity => ["0", "100m", "1Gi", "1500", "3e6"][self.below(5) as usize].into(),
            Shape::Time { micros: false } => {
                ["2024-01-02T03:04:05Z", "1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z"]
                    [self.below(3) as usize]
                    .into()
            }
            Shape::Time { micros: true } => {
                ["2024-01-02T03:04:05.678901Z", "1969-12-31T23:59:58.500000Z"][self.below(2) as usize].into()
            }
            Shape::Raw => [json!({"f:a": {".": {}}}), json!("x"), json!([1, null]), json!(2.5)]
                [self.below(4) as usize]
                .clone(),
            Shape::Wrapped => json!(["a", ""]),
            Shape::Message(id) => self.message(*id, depth + 1),
            Shape::Schemas if self.below(2) == 0 => json!([self.schema(depth), self.schema(depth)]),
            Shape::SchemaOrBool if self.below(2) == 0 => (self.below(2) == 1).into(),
            Shape::SchemaOrStrings if self.below(2) == 0 => json!(["a", "b"]),
            Shape::Schemas | Shape::SchemaOrBool | Shape::SchemaOrStrings => self.schema(depth),
            Shape::List(item) => {
                let length = 1 + self.below(2);
                (0..length).map(|_| self.value(item, depth)).collect()
            }
            Shape::Map(item) => {
                let length = 1 + self.below(2);
                let entries = (0..length).map(|at| (format!("key/{at}"), self.value(item, depth)));
                Value::Object(entries.collect())
            }
        }
    }

    fn schema(&mut self, depth: u32) -> Value {
        if depth > 3 { json!({"type": "string"}) } else { self.message(self.layout.schema, depth + 1) }
    }

    fn object(&mut self, api_version: &str, kind: &str) -> Value {
        let id = self.layout.by_kind(api_version, kind).expect("the kind has a message");
        let mut object = self.message(id, 0);
        object["apiVersion"] = api_version.into();
        object["kind"] = kind.into();
        object
    }
}

fn check(api_version: &str, kind: &str, seed: u64) {
    let object = Generator::new(seed).object(api_version, kind);
    let document = value(&object).expect("encodes");
    let back = decode(&document, None).expect("decodes");
    assert_eq!(back, object, "{api_version} {kind}");
}

/// The encoder writes what the one by serde's data model does, or both refuse.
fn compare(id: DefinitionId, json: &str) {
    match (encode::message(id, json.as_bytes()), reference::message(id, json.as_bytes())) {
        (Ok(made), Ok(expected)) => assert_eq!(made, expected, "{json}"),
        (made, expected) => assert!(made.is_err() && expected.is_err(), "{json}: {made:?} {expected:?}"),
    }
}

#[test]
fn every_definition_that_is_a_kind_goes_both_ways() {
    let schemas = Schemas::builtin();
    let mut kinds = 0;
    for (id, definition) in schemas.iter() {
        if Layout::builtin().of(id).is_none() {
            continue;
        }
        for [group, version, kind] in definition.kinds.iter().take(1) {
            let api_version =
                if group.is_empty() { version.to_string() } else { format!("{group}/{version}") };
            (1..8).for_each(|seed| check(&api_version, kind, 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed)));
            kinds += 1;
        }
    }
    assert!(kinds > 150, "{kinds}");
    check("meta.k8s.io/v1", "PartialObjectMetadataList", 5);
}

#[test]
fn every_field_of_a_served_kind_has_a_number() {
    let layout = Layout::builtin();
    for (id, definition) in Schemas::builtin().iter() {
        let Some(message) = layout.of(id) else { continue };
        let message = layout.get(message);
        for field in &definition.fields {
            let of_type = matches!(&*field.name, "kind" | "apiVersion");
            assert!(
                of_type || message.slot(field.name.as_bytes()).is_some(),
                "{} {}",
                definition.name,
                field.name
            );
        }
    }
    for kind in Registry::known().iter() {
        assert!(layout.of(kind.schema).is_some(), "{}", kind.kind);
        if kind.verbs.contains(&"list") {
            layout.by_kind(&kind.api_version(), &kind.list_kind).expect("a list");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn served_kinds_go_both_ways(seed: u64) {
        for kind in Registry::known().iter() {
            check(&kind.api_version(), &kind.kind, seed);
        }
    }

    #[test]
    fn every_kind_is_written_as_the_reference_does(seed: u64, wrong: prop::sample::Index) {
        let strange = ["null", "[null]", "{}", "[]", "\"\"", "0", "-7", "1.5", "true", "\"a\\n\\u00e4\"", "[{}]"];
        for kind in Registry::known().iter() {
            let object = Generator::new(seed).object(&kind.api_version(), &kind.kind).to_string();
            compare(kind.schema, &object);
            // With another value in the place of one.
            let places: Vec<usize> = object.match_indices("\":").map(|(at, _)| at + 2).collect();
            let at = places[wrong.index(places.len())];
            let mut rest = gantry_json::Deserializer::from_str(&object[at..]).into_iter::<Value>();
            rest.next().expect("a value").expect("well-formed");
            let end = at + rest.byte_offset();
            let other = strange[wrong.index(strange.len())];
            compare(kind.schema, &format!("{}{other}{}", &object[..at], &object[end..]));
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let mut document = MAGIC.to_vec();
        document.extend(&bytes);
        let _ = decode(&document, None);
        let pod = Schemas::builtin().by_kind("", "v1", "Pod");
        // An envelope without a kind: the bytes are the pod.
        let mut document = MAGIC.to_vec();
        wire::put_bytes(&mut document, 2, &bytes);
        let _ = decode(&document, pod);
        let _ = decode(&bytes, pod);
    }

    #[test]
    fn damaged_documents_are_read_or_refused(
        seed: u64,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        end: Option<prop::sample::Index>,
    ) {
        for (api_version, kind) in [("v1", "Pod"), ("apiextensions.k8s.io/v1", "CustomResourceDefinition"), ("v1", "Event")] {
            let mut document = value(&Generator::new(seed).object(api_version, kind)).expect("encodes");
            for (at, byte) in &changes {
                let at = at.index(document.len());
                document[at] = *byte;
            }
            if let Some(end) = end {
                document.truncate(end.index(document.len()));
            }
            let _ = decode(&document, None);
        }
    }
}

#[test]
fn stored_bytes_and_values_are_written_the_same() {
    let object = Generator::new(77).object("apps/v1", "Deployment");
    let id = Schemas::builtin().by_kind("apps", "v1", "Deployment").expect("there");
    let bytes = encode::message(id, object.to_string().as_bytes()).expect("encodes");
    assert_eq!(document("apps/v1", "Deployment", &bytes), value(&object).expect("encodes"));
    let pretty = format!("{object:#}\n");
    assert_eq!(encode::message(id, pretty.as_bytes()).expect("encodes"), bytes);
}

#[test]
fn a_list_is_its_head_and_its_items() {
    let id = Schemas::builtin().by_kind("", "v1", "ConfigMap").expect("there");
    let list = List::of("v1", "ConfigMapList").expect("known");
    let mut items = Vec::new();
    for name in ["a", "b"] {
        let object = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name}});
        list.item(&mut items, &encode::message(id, object.to_string().as_bytes()).expect("encodes"));
    }
    let metadata = json!({"resourceVersion": "7", "remainingItemCount": 3});
    let mut document = list.head(&metadata, items.len()).expect("encodes");
    document.extend(items);
    assert_eq!(
        decode(&document, None).expect("decodes"),
        json!({
            "kind": "ConfigMapList", "apiVersion": "v1", "metadata": metadata,
            "items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}],
        })
    );
}

#[test]
fn lists_of_metadata_have_other_numbers_in_the_older_version() {
    let metadata = json!({"resourceVersion": "7"});
    for (api_version, number) in [("meta.k8s.io/v1", 2), ("meta.k8s.io/v1beta1", 1)] {
        let list = List::of(api_version, "PartialObjectMetadataList").expect("known");
        let mut items = Vec::new();
        list.item(&mut items, b"");
        assert_eq!(items, [number << 3 | 2, 0]);
        let mut document = list.head(&metadata, items.len()).expect("encodes");
        document.extend(items);
        let decoded = decode(&document, None).expect("decodes");
        assert_eq!((&decoded["metadata"], &decoded["items"]), (&metadata, &json!([{}])));
    }
}

/// A message of fields: numbers and what they hold.
fn message(fields: &[(u32, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    fields.iter().for_each(|(number, bytes)| wire::put_bytes(&mut out, *number, bytes));
    out
}

fn pod(raw: &[u8]) -> Result<Value, Error> {
    let meta = message(&[(1, b"v1"), (2, b"Pod")]);
    let mut document = MAGIC.to_vec();
    document.extend(message(&[(1, &meta), (2, raw)]));
    decode(&document, None)
}

/// The body that `kubectl create deployment web --image=nginx:1 --replicas=2 --port=80 -n d` sends.
const DEPLOYMENT: &str = "\
    6b3873000a150a07617070732f7631120a4465706c6f796d656e7412bb010a200a0377656212001a016422002a003200\
    380042005a0a0a0361707012037765621288010802120c0a0a0a0361707012037765621a6e0a1c0a0012001a0022002a\
    003200380042005a0a0a036170701203776562124e12300a056e67696e7812076e67696e783a312a00320a0a00100018\
    5022002a0042006a007200800100880100900100a201001a00320042004a0052005800600068008201008a01009a0100\
    c2010022020a00280038001a0c0800100018002000280038001a002200";

#[test]
fn a_deployment_from_kubectl() {
    let byte = |at| u8::from_str_radix(&DEPLOYMENT[at..at + 2], 16).expect("hexadecimal");
    let document: Vec<u8> = (0..DEPLOYMENT.len()).step_by(2).map(byte).collect();
    assert_eq!(
        decode(&document, None).expect("decodes"),
        json!({
            "kind": "Deployment", "apiVersion": "apps/v1",
            "metadata": {"name": "web", "namespace": "d", "labels": {"app": "web"}},
            "spec": {
                "replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "strategy": {},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{
                        "name": "nginx", "image": "nginx:1", "ports": [{"containerPort": 80}], "resources": {},
                    }]},
                },
            },
            "status": {},
        })
    );
}

#[test]
fn zeros_that_go_leaves_out_are_left_out() {
    // nodeName is a text, terminationGracePeriodSeconds and priority are pointers to numbers.
    let mut spec = message(&[(10, b"")]);
    wire::put_number(&mut spec, 4, 0);
    wire::put_number(&mut spec, 25, 0);
    // hostNetwork is a truth value, hostUsers a pointer to one.
    wire::put_number(&mut spec, 11, 0);
    wire::put_number(&mut spec, 37, 0);
    // creationTimestamp is a time without bytes, status a struct without fields.
    let read =
        pod(&message(&[(1, &message(&[(1, b"p"), (8, b"")])), (2, &spec), (3, b"")])).expect("decodes");
    assert_eq!(
        read,
        json!({
            "kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p"}, "status": {},
            "spec": {"terminationGracePeriodSeconds": 0, "priority": 0, "hostUsers": false},
        })
    );
}

#[test]
fn fields_that_come_again_are_merged() {
    let read = pod(&message(&[
        (1, &message(&[(1, b"p"), (3, b"n")])),
        (99, b"not known"),
        (1, &message(&[(1, b"q")])),
    ]));
    assert_eq!(read.expect("decodes")["metadata"], json!({"name": "q", "namespace": "n"}));
}

#[test]
fn what_cannot_be_read_is_named() {
    assert_eq!(decode(b"{}", None), Err(Error::NotProtobuf));
    assert_eq!(pod(&[0x0a, 5, 1]), Err(Error::Truncated));
    assert_eq!(pod(&[0x08, 5]), Err(Error::WireType { field: "metadata".into(), wire: 0 }));
    assert_eq!(pod(&[0x00, 5]), Err(Error::Tag { number: 0, wire: 0 }));
    assert!(matches!(pod(&message(&[(1, &message(&[(1, &[0xff])]))])), Err(Error::Value { .. })));
    let unknown = message(&[(1, &message(&[(1, b"example.com/v1"), (2, b"Thing")]))]);
    let unknown = decode(&[&MAGIC[..], &unknown].concat(), None).expect_err("is refused");
    assert_eq!(unknown.to_string(), "no kind \"Thing\" is registered for version \"example.com/v1\"");
}

#[test]
fn nesting_is_bounded() {
    // allOf within allOf: lengths grow inside out.
    let mut schema = Vec::new();
    for _ in 0..100_000 / 4 {
        schema = message(&[(25, &schema)]);
        if schema.len() > 60_000 {
            break;
        }
    }
    let version = message(&[(4, &message(&[(1, &schema)]))]);
    let spec = message(&[(7, &version)]);
    let meta = message(&[(1, b"apiextensions.k8s.io/v1"), (2, b"CustomResourceDefinition")]);
    let document = [&MAGIC[..], &message(&[(1, &meta), (2, &message(&[(2, &spec)]))])].concat();
    assert_eq!(decode(&document, None), Err(Error::TooDeep));
    // Groups, which nothing here writes.
    assert_eq!(pod(&[0xfb; 4096]), Err(Error::Overflow));
    assert_eq!(pod(&[0x7b; 4096]), Err(Error::TooDeep));
}

#[test]
fn frames_tell_their_length() {
    let mut frame = Vec::new();
    event(&mut frame, "ADDED", b"k8s\0");
    assert_eq!(frame[..4], [0, 0, 0, frame.len() as u8 - 4]);
    assert_eq!(frame[4..], message(&[(1, b"ADDED"), (2, &message(&[(1, b"k8s\0")]))]));
}

#[test]
fn zero_values_are_settled_as_those_of_json_are() {
    let schemas = Schemas::builtin();
    let id = schemas.by_kind("apps", "v1", "Deployment").expect("known");
    let sent = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "labels": {}, "generation": 0},
        "spec": {
            "replicas": 0, "paused": false, "minReadySeconds": 0, "selector": {"matchLabels": {}}, "strategy": {},
            "template": {"metadata": {}, "spec": {"nodeName": "", "hostNetwork": false, "volumes": [],
                "containers": [{"name": "c", "image": "", "args": [], "env": [{"name": "a", "value": ""}],
                    "ports": [{"containerPort": 80, "hostPort": 0}]}]}},
        },
    });
    let sent = sent.to_string();
    let expected = decode_as(id, sent.as_bytes(), Format::Json);
    let bytes = encode::message(id, sent.as_bytes()).expect("encodes");
    let bytes = document("apps/v1", "Deployment", &bytes);
    assert_eq!(decode_as(id, &bytes, Format::Protobuf), expected);
    assert_eq!(expected["spec"]["replicas"], 0);
    assert_eq!(expected["spec"]["paused"], Value::Null);
    // What is of another kind stays what it is.
    let map = schemas.by_kind("", "v1", "ConfigMap").expect("known");
    assert_eq!(decode_as(map, &bytes, Format::Protobuf), expected);
}

fn decode_as(id: DefinitionId, bytes: &[u8], format: Format) -> Value {
    crate::schema::decode(Schemas::builtin(), id, bytes, format).expect("decodes").value
}

#[test]
fn an_object_of_metadata_alone() {
    let object = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"name": "a", "labels": {"x": "y"}, "creationTimestamp": "2024-01-02T03:04:05Z"}});
    let message = partial(object["metadata"].to_string().as_bytes()).expect("encodes");
    let document = document("meta.k8s.io/v1", "PartialObjectMetadata", &message);
    assert_eq!(document, value(&object).expect("encodes"));
    assert_eq!(decode(&document, None).expect("decodes"), object);
}

#[test]
fn lengths_of_any_size() {
    let id = Schemas::builtin().by_kind("", "v1", "ConfigMap").expect("there");
    for size in [
        0, 100, 110, 116, 117, 118, 119, 120, 121, 122, 125, 126, 127, 128, 16_370, 16_383, 16_384, 3_000_000,
    ] {
        let text = "x".repeat(size);
        compare(id, &json!({"data": {"key": text}, "metadata": {"name": text}}).to_string());
    }
}
