//! Answers of other servers, kept for a while.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, Record};
use tokio::time::Instant;

use super::Question;

/// Answers kept at most; the oldest goes first.
const CAPACITY: usize = 5000;
/// No answer is kept longer, whatever its records say.
const LONGEST: Duration = Duration::from_secs(30);

/// A bounded memory of answers.
pub(super) struct Cache {
    answers: HashMap<Question, Kept>,
    order: VecDeque<(Question, Instant)>,
}

struct Kept {
    message: Arc<Message>,
    since: Instant,
    until: Instant,
}

impl Cache {
    pub(super) fn new() -> Self {
        Self { answers: HashMap::new(), order: VecDeque::new() }
    }

    /// What is known now, its records' lives shortened by the time it has been here.
    pub(super) fn get(&mut self, question: &Question) -> Option<Arc<Message>> {
        let (kept, now) = (self.answers.get(question)?, Instant::now());
        if kept.until <= now {
            self.answers.remove(question);
            return None;
        }
        let age = u32::try_from((now - kept.since).as_secs()).unwrap_or(u32::MAX);
        if age == 0 {
            return Some(kept.message.clone());
        }
        let mut message = Message::clone(&kept.message);
        let sections = [&mut message.answers, &mut message.authorities, &mut message.additionals];
        for record in sections.into_iter().flatten() {
            record.ttl = record.ttl.saturating_sub(age);
        }
        Some(Arc::new(message))
    }

    pub(super) fn put(&mut self, question: Question, message: Arc<Message>) {
        let Some(life) = life(&message) else { return };
        let since = Instant::now();
        self.order.push_back((question.clone(), since));
        self.answers.insert(question, Kept { message, since, until: since + life.min(LONGEST) });
        while self.order.len() > CAPACITY
            && let Some((oldest, at)) = self.order.pop_front()
        {
            // A question asked again since stands further back in the order, too.
            if self.answers.get(&oldest).is_some_and(|kept| kept.since == at) {
                self.answers.remove(&oldest);
            }
        }
    }
}

/// How long an answer holds: as its shortest record; a denial as its SOA says (RFC 2308, section 5).
fn life(message: &Message) -> Option<Duration> {
    let seconds = match message.metadata.response_code {
        ResponseCode::NoError if !message.answers.is_empty() => {
            message.answers.iter().map(|record| record.ttl).min()?
        }
        ResponseCode::NoError | ResponseCode::NXDomain => message.authorities.iter().find_map(denial)?,
        _ => return None,
    };
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}

fn denial(record: &Record) -> Option<u32> {
    match &record.data {
        RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
        _ => None,
    }
}
