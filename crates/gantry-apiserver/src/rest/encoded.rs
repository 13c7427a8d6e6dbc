//! What was made of objects that were listed or watched lately, once for all who ask for it: their messages
//! in protobuf, and where their metadata are.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use gantry_api::protobuf;
use gantry_api::registry::Kind;
use gantry_store::Entry;
use parking_lot::Mutex;

use crate::storage::Metadata;

/// How many bytes are kept.
const KEPT: usize = 8 << 20;
/// Who asks for objects of different revisions does not wait for each other.
const PARTS: usize = 16;
/// Of how many of the last changes it is known where their metadata are. Watchers are a few pieces apart.
const PLACES: usize = 256;
/// What one message costs besides its bytes, about.
const OVERHEAD: usize = 96;

/// The messages of stored objects, by the revision that wrote them: no two changes share one. What was kept
/// longest goes first.
pub(crate) struct Encoded {
    parts: [Mutex<Part>; PARTS],
    places: [Mutex<(u64, Option<Metadata>)>; PLACES],
}

impl Default for Encoded {
    fn default() -> Self {
        Self { parts: Default::default(), places: [const { Mutex::new((0, None)) }; PLACES] }
    }
}

#[derive(Default)]
struct Part {
    messages: HashMap<u64, Bytes>,
    oldest: VecDeque<u64>,
    size: usize,
}

impl Encoded {
    /// The message of a stored object, which is kept.
    pub fn message(&self, kind: &Kind, entry: &Entry) -> Result<Bytes, protobuf::Error> {
        if let Some(message) = self.find(entry) {
            return Ok(message);
        }
        let mut message = protobuf::message(kind.schema, &entry.value)?;
        message.shrink_to_fit();
        let message = Bytes::from(message);
        self.part(entry).lock().keep(entry.mod_revision, message.clone());
        Ok(message)
    }

    /// The message of a stored object that is one of many: too many to keep.
    pub fn message_of_many(&self, kind: &Kind, entry: &Entry) -> Result<Bytes, protobuf::Error> {
        match self.find(entry) {
            Some(message) => Ok(message),
            None => protobuf::message(kind.schema, &entry.value).map(Bytes::from),
        }
    }

    /// Where the metadata of an object are, in the bytes that were stored.
    pub fn metadata(&self, entry: &Entry) -> Option<Metadata> {
        let mut place = self.places[entry.mod_revision as usize % PLACES].lock();
        if place.0 != entry.mod_revision {
            *place = (entry.mod_revision, Metadata::find(&entry.value));
        }
        place.1.clone()
    }

    fn find(&self, entry: &Entry) -> Option<Bytes> {
        self.part(entry).lock().messages.get(&entry.mod_revision).cloned()
    }

    fn part(&self, entry: &Entry) -> &Mutex<Part> {
        &self.parts[entry.mod_revision as usize % PARTS]
    }
}

impl Part {
    fn keep(&mut self, revision: u64, message: Bytes) {
        let size = message.len() + OVERHEAD;
        // One that would be most of what is kept is not, and somebody else may have been faster.
        if size > KEPT / PARTS / 4 || self.messages.contains_key(&revision) {
            return;
        }
        self.size += size;
        self.messages.insert(revision, message);
        self.oldest.push_back(revision);
        while self.size > KEPT / PARTS
            && let Some(revision) = self.oldest.pop_front()
        {
            let gone = self.messages.remove(&revision);
            self.size -= gone.map_or(0, |message| message.len() + OVERHEAD);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded() {
        let mut part = Part::default();
        let size =
            |part: &Part| part.messages.values().map(|message| message.len() + OVERHEAD).sum::<usize>();
        for revision in 0..10_000 {
            part.keep(revision, vec![0; 1000 + revision as usize % 7].into());
            part.keep(revision, vec![0; 1000].into());
            assert_eq!(part.size, size(&part));
            assert_eq!(part.oldest.len(), part.messages.len());
            assert!(part.size <= KEPT / PARTS);
        }
        assert!(part.size > KEPT / PARTS / 2);
        assert!(part.messages.contains_key(&9_999) && !part.messages.contains_key(&0));
        part.keep(10_000, vec![0; KEPT / PARTS].into());
        assert!(!part.messages.contains_key(&10_000) && part.messages.contains_key(&9_999));
    }
}
