//! Which message field a JSON field is, and how it is written. Reads the generated facts; their
//! form is described at the generator, `xtask protobuf`.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::Error;
use crate::schema::{DefinitionId, Schemas, Type};

/// How a value is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    String,
    Bytes,
    Int32,
    Int64,
    Double,
    Bool,
    /// A message of a type, an integer and a text.
    IntOrString,
    /// A message of a text.
    Quantity,
    /// A message of seconds and nanoseconds.
    Time {
        micros: bool,
    },
    /// A message of JSON bytes.
    Raw,
    /// A message of a schema or a list of schemas, a truth value, a list of texts.
    Schemas,
    SchemaOrBool,
    SchemaOrStrings,
    /// A message of texts.
    Wrapped,
    Message(MessageId),
    List(Box<Shape>),
    Map(Box<Shape>),
}

/// A message's place in the layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MessageId(usize);

/// A field that JSON shows.
#[derive(Debug)]
pub(super) struct Slot {
    pub name: Box<str>,
    /// Its number, after those of the messages that it stands in but JSON does not show.
    pub path: Vec<u32>,
    pub shape: Shape,
    /// Whether JSON leaves its zero out.
    pub zero_left_out: bool,
}

/// What a number stands for: a place in [`Message::slots`], or a message whose fields JSON shows
/// in place.
#[derive(Debug)]
pub(super) enum Target {
    Slot(usize),
    Inline(Numbers),
}

/// Targets, ordered by number.
#[derive(Debug, Default)]
pub(super) struct Numbers(Vec<(u32, Target)>);

impl Numbers {
    pub fn find(&self, number: u32) -> Option<&Target> {
        let at = self.0.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(&self.0[at].1)
    }

    fn insert(&mut self, path: &[u32], slot: usize) {
        let Some((first, rest)) = path.split_first() else { return };
        let at = self.0.binary_search_by_key(first, |(number, _)| *number);
        if rest.is_empty() {
            if let Err(at) = at {
                self.0.insert(at, (*first, Target::Slot(slot)));
            }
            return;
        }
        let at = at.unwrap_or_else(|at| {
            self.0.insert(at, (*first, Target::Inline(Self::default())));
            at
        });
        if let Target::Inline(inner) = &mut self.0[at].1 {
            inner.insert(rest, slot);
        }
    }
}

/// The fields of a message.
#[derive(Debug, Default)]
pub(super) struct Message {
    /// Ordered by name.
    pub slots: Vec<Slot>,
    pub numbers: Numbers,
    names: Names,
}

/// Places of names in [`Message::slots`], each in a bucket that is told by few of its bytes or in one of the
/// next ones: every field of every object in a list is looked up here.
#[derive(Debug, Default)]
struct Names(Box<[Option<u16>]>);

impl Names {
    fn new(slots: &[Slot]) -> Self {
        // There is always an empty bucket to end at.
        let mut names = Self(vec![None; (2 * slots.len() + 1).next_power_of_two()].into());
        for (at, slot) in slots.iter().enumerate() {
            let free = names.buckets(slot.name.as_bytes()).find(|bucket| names.0[*bucket].is_none());
            if let (Some(free), Ok(at)) = (free, u16::try_from(at)) {
                names.0[free] = Some(at);
            }
        }
        names
    }

    /// The buckets that `name` may be in, in order.
    fn buckets(&self, name: &[u8]) -> impl Iterator<Item = usize> + use<> {
        let byte = |at: usize| name.get(at).map_or(0, |byte| usize::from(*byte));
        let told =
            name.len() + byte(0) * 7 + byte(name.len() / 2) * 31 + byte(name.len().wrapping_sub(1)) * 127;
        let mask = self.0.len().wrapping_sub(1);
        (0..self.0.len()).map(move |next| (told + next) & mask)
    }

    fn find<'s>(&self, slots: &'s [Slot], name: &[u8]) -> Option<&'s Slot> {
        let places = self.buckets(name).map_while(|bucket| self.0[bucket]);
        places.map(|at| &slots[usize::from(at)]).find(|slot| slot.name.as_bytes() == name)
    }
}

impl Message {
    fn new(mut slots: Vec<Slot>) -> Self {
        slots.sort_by(|a, b| a.name.cmp(&b.name));
        let mut numbers = Numbers::default();
        for (at, slot) in slots.iter().enumerate() {
            numbers.insert(&slot.path, at);
        }
        Self { names: Names::new(&slots), slots, numbers }
    }

    /// The field `name`.
    pub fn slot(&self, name: &[u8]) -> Option<&Slot> {
        self.names.find(&self.slots, name)
    }
}

/// The messages of all definitions.
#[derive(Debug)]
pub(super) struct Layout {
    /// One for each definition in its place, then the three of partial metadata.
    messages: Vec<Message>,
    /// `JSONSchemaProps`.
    pub schema: MessageId,
}

impl Layout {
    /// The built-in kinds'.
    pub fn builtin() -> &'static Self {
        static BUILTIN: LazyLock<Layout> =
            LazyLock::new(|| parse(Schemas::builtin(), include_str!("../schema/protobuf.txt")));
        &BUILTIN
    }

    pub fn get(&self, id: MessageId) -> &Message {
        &self.messages[id.0]
    }

    /// The message of a definition; `None` where it has no protobuf form.
    pub fn of(&self, id: DefinitionId) -> Option<MessageId> {
        let id = MessageId(id.index());
        (!self.get(id).slots.is_empty()).then_some(id)
    }

    /// The message of partial metadata.
    pub fn partial(&self) -> MessageId {
        MessageId(self.messages.len() - 3)
    }

    /// The message of a kind.
    pub fn by_kind(&self, api_version: &str, kind: &str) -> Result<MessageId, Error> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let found = match (group, kind) {
            ("meta.k8s.io", "PartialObjectMetadata") => Some(self.partial()),
            ("meta.k8s.io", "PartialObjectMetadataList") => {
                Some(MessageId(self.partial().0 + if version == "v1beta1" { 2 } else { 1 }))
            }
            _ => Schemas::builtin().by_kind(group, version, kind).and_then(|id| self.of(id)),
        };
        found.ok_or_else(|| Error::Kind { api_version: api_version.into(), kind: kind.into() })
    }
}

/// The definition that the built-in schemas have under a name of upstream's machinery.
fn machinery(schemas: &Schemas, name: &str) -> MessageId {
    let id = schemas.by_name(&format!("io.k8s.{name}"));
    MessageId(id.map_or(0, DefinitionId::index))
}

fn parse(schemas: &Schemas, text: &str) -> Layout {
    let lines: HashMap<&str, &str> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    let mut messages: Vec<Message> = Vec::new();
    for (_, definition) in schemas.iter() {
        let facts = lines.get(&*definition.name).copied().unwrap_or_default();
        let slots = facts.split(' ').filter_map(|fact| {
            let (name, rest) = fact.split_once('=')?;
            let (rest, form) = rest.split_once(':').unwrap_or((rest, ""));
            let zero_left_out = rest.ends_with('?');
            let path = rest
                .trim_end_matches(['?', '!', '~'])
                .split('.')
                .map(str::parse)
                .collect::<Result<_, _>>()
                .ok()?;
            let shape = shape(&definition.field(name)?.kind, form);
            Some(Slot { name: name.into(), path, shape, zero_left_out })
        });
        messages.push(Message::new(slots.collect()));
    }
    let partial = MessageId(messages.len());
    // The older list got its metadata after its items.
    for (meta, number, items) in [("ObjectMeta", 1, None), ("ListMeta", 1, Some(2)), ("ListMeta", 2, Some(1))]
    {
        let meta = Shape::Message(machinery(schemas, &format!("apimachinery.pkg.apis.meta.v1.{meta}")));
        let slot = |name: &str, number, shape| Slot {
            name: name.into(),
            path: vec![number],
            shape,
            zero_left_out: false,
        };
        let mut slots = vec![slot("metadata", number, meta)];
        let listed = || Shape::List(Box::new(Shape::Message(partial)));
        slots.extend(items.map(|number| slot("items", number, listed())));
        messages.push(Message::new(slots));
    }
    let schema = machinery(schemas, "apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps");
    Layout { messages, schema }
}

fn shape(kind: &Type, form: &str) -> Shape {
    match (kind, form) {
        (Type::List(_), "wrapped") => Shape::Wrapped,
        (Type::List(item), _) => Shape::List(Box::new(shape(item, form))),
        // A map's values are fields, which cannot repeat: a list stands in a message.
        (Type::Map(item), _) if matches!(**item, Type::List(_)) => Shape::Map(Box::new(Shape::Wrapped)),
        (Type::Map(item), _) => Shape::Map(Box::new(shape(item, form))),
        (Type::Any, "schemas") => Shape::Schemas,
        (Type::Any, "bool") => Shape::SchemaOrBool,
        (Type::Any, "strings") => Shape::SchemaOrStrings,
        (Type::Any, _) => Shape::Raw,
        (Type::String, _) => Shape::String,
        (Type::Bytes, _) => Shape::Bytes,
        (Type::Int32, _) => Shape::Int32,
        (Type::Int64, _) => Shape::Int64,
        (Type::Float64, _) => Shape::Double,
        (Type::Bool, _) => Shape::Bool,
        (Type::IntOrString, _) => Shape::IntOrString,
        (Type::Quantity, _) => Shape::Quantity,
        (Type::Time, _) => Shape::Time { micros: false },
        (Type::MicroTime, _) => Shape::Time { micros: true },
        (Type::Object(id), _) => Shape::Message(MessageId(id.index())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_found_by_its_name() {
        for message in &Layout::builtin().messages {
            for slot in &message.slots {
                assert!(
                    std::ptr::eq(message.slot(slot.name.as_bytes()).expect("a field"), slot),
                    "{}",
                    slot.name
                );
            }
            for other in ["", "none", "metadat", "specs"] {
                assert!(message.slot(other.as_bytes()).is_none_or(|slot| *slot.name == *other));
            }
        }
    }
}
