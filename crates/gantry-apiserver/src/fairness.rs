//! API priority and fairness: every request belongs to a flow, every flow to a priority level. A level
//! has its share of the requests that are carried out at once; what there is no room for waits in
//! queues, so that one flow does not crowd out the others, or is sent away.
//!
//! Levels lend what they do not use: a level with nothing left may start more as long as every other
//! one keeps what it does not lend. Watches and other streams take no part.

pub(crate) mod dangling;
mod dump;
mod level;
mod schema;
mod seats;

use std::sync::Arc;
use std::time::Duration;

use gantry_api::status::ApiError;
use gantry_json::Value;
use gantry_store::Store;
use hashbrown::HashMap;
use http::HeaderValue;

use crate::authz::feed::{Feed, Index};
use crate::metrics::Meters;
use crate::{Attributes, Limits, bootstrap};

use level::Level;
use schema::Schema;
use seats::{Asked, Refused, Seats};
pub(crate) use seats::{Count, Seat};

const SCHEMAS: &str = "/registry/flowcontrol.apiserver.k8s.io/flowschemas/";
const LEVELS: &str = "/registry/flowcontrol.apiserver.k8s.io/prioritylevelconfigurations/";
const EXEMPT: &str = "exempt";
const CATCH_ALL: &str = "catch-all";

/// Flow schemas and priority levels; the default ones where the store has none of their name.
struct Flows {
    schemas: Vec<Arc<Schema>>,
    levels: HashMap<String, Arc<Level>>,
    /// Counts changes of the levels.
    generation: u64,
}

impl Default for Flows {
    fn default() -> Self {
        let mut flows = Self { schemas: Vec::new(), levels: HashMap::new(), generation: 1 };
        bootstrap::flow_schemas().iter().for_each(|object| flows.set_schema(object));
        bootstrap::priority_levels().iter().for_each(|object| flows.set_level(object));
        flows
    }
}

impl Flows {
    fn set_schema(&mut self, object: &Value) {
        let schema = Schema::read(object);
        self.schemas.retain(|each| each.name != schema.name);
        self.schemas.push(Arc::new(schema));
        self.schemas.sort_by(|a, b| (a.precedence, &a.name).cmp(&(b.precedence, &b.name)));
    }

    fn set_level(&mut self, object: &Value) {
        let level = Level::read(object);
        self.levels.insert(level.name.clone(), Arc::new(level));
        self.generation += 1;
    }
}

impl Index for Flows {
    const PREFIXES: &'static [&'static str] = &[SCHEMAS, LEVELS];

    fn apply(&mut self, key: &str, value: Option<&[u8]>) {
        let object: Option<Value> = value.and_then(|value| gantry_json::from_slice(value).ok());
        match (key.strip_prefix(SCHEMAS), key.strip_prefix(LEVELS), object) {
            (Some(_), _, Some(object)) => self.set_schema(&object),
            (_, Some(_), Some(object)) => self.set_level(&object),
            // The two that everything else rests on come back by themselves.
            (Some(name), _, None) if name != EXEMPT && name != CATCH_ALL => {
                self.schemas.retain(|each| each.name != name);
            }
            (_, Some(name), None) if name != EXEMPT && name != CATCH_ALL => {
                self.levels.remove(name);
                self.generation += 1;
            }
            _ => {}
        }
    }
}

/// Where a request belongs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flow {
    schema: Option<Arc<Schema>>,
    level: Arc<Level>,
    /// Tells the flows of a level apart.
    hash: u64,
}

impl Flow {
    /// The names of flow schema and priority level.
    pub fn names(&self) -> (&str, &str) {
        (self.schema.as_ref().map_or("", |schema| &schema.name), &self.level.name)
    }

    /// What is counted of the flow's requests, found by `find` the first time.
    pub fn meters(&self, find: impl FnOnce() -> Arc<Meters>) -> Arc<Meters> {
        match &self.schema {
            Some(schema) => schema.meters.get_or_init(find).clone(),
            None => find(),
        }
    }

    /// The uids of flow schema and priority level, as headers show them.
    pub fn uids(&self) -> [Option<&HeaderValue>; 2] {
        [self.schema.as_ref().and_then(|schema| schema.uid.as_ref()), self.level.uid.as_ref()]
    }
}

/// Why a request has no seat, and how long it waited for one, if it did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SentAway {
    /// The word for it in metrics.
    pub reason: &'static str,
    pub waited: Option<Duration>,
}

impl SentAway {
    /// The 429 that the client gets.
    pub fn error(self) -> ApiError {
        ApiError::too_many_requests("Too many requests, please try again later.", 1)
    }
}

/// The fairness of a server.
pub(crate) struct Fairness {
    flows: Feed<Flows>,
    seats: Arc<Seats>,
    wait: Duration,
}

impl Fairness {
    pub fn new(store: &Store, limits: &Limits) -> Self {
        let seats = Seats::new(limits.reads + limits.writes, limits.waiting);
        Self { flows: Feed::new(store), seats: Arc::new(seats), wait: limits.wait }
    }

    /// The flow of the request with `attributes`.
    pub fn flow(&self, attributes: &Attributes) -> Flow {
        self.flows.read(|flows| {
            self.seats.configure(flows.generation, &flows.levels);
            // A schema whose level there is not says nothing.
            let matching = flows.schemas.iter().filter(|schema| schema.matches(attributes));
            let (schema, level) = matching
                .filter_map(|schema| Some((schema.clone(), flows.levels.get(&schema.level)?.clone())))
                .next()
                .unzip();
            let level = level.or_else(|| flows.levels.get(CATCH_ALL).cloned()).unwrap_or_default();
            let hash = schema.as_ref().map_or(0, |schema| schema.hash(attributes));
            Flow { schema, level, hash }
        })
    }

    /// A seat for a request of `flow`, given back when it is dropped; `None`: it needs none. Otherwise why
    /// there is none: no room to wait, or it waited too long.
    pub async fn seat(
        &self,
        flow: &Flow,
        attributes: &Attributes,
        meters: &Meters,
    ) -> Result<Option<Seat>, SentAway> {
        if flow.level.exempt {
            return Ok(None);
        }
        let asked = || Asked {
            schema: flow.names().0.to_owned(),
            distinguisher: flow
                .schema
                .as_ref()
                .map_or("", |schema| schema.distinguisher(attributes))
                .to_owned(),
            arrived: jiff::Timestamp::now(),
            attributes: attributes.clone(),
        };
        let sent_away = |why: Refused, waited| SentAway { reason: why.word(), waited };
        let taken = Seats::take(&self.seats, &flow.level.name, flow.hash, asked);
        match taken.map_err(|why| sent_away(why, None))? {
            seats::Taken::Now(seat) => {
                // Where there are queues every request goes through one.
                if flow.level.queues > 0 {
                    meters.waited(Duration::ZERO);
                }
                Ok(Some(seat))
            }
            seats::Taken::Later(turn) => {
                let queued = meters.queue();
                match tokio::time::timeout(self.wait, turn).await {
                    Ok(Ok(seat)) => {
                        meters.waited(queued.elapsed());
                        Ok(Some(seat))
                    }
                    _ => {
                        self.seats.timed_out(&flow.level.name);
                        Err(sent_away(Refused::TimeOut, Some(queued.elapsed())))
                    }
                }
            }
        }
    }

    /// The levels as a table.
    pub fn dump_levels(&self) -> String {
        let exempt = self.flows.read(|flows| {
            self.seats.configure(flows.generation, &flows.levels);
            let exempt = flows.levels.values().filter(|level| level.exempt);
            exempt.map(|level| level.name.clone()).collect::<Vec<_>>()
        });
        dump::levels(&self.seats.counts(), &exempt)
    }

    /// The levels' queues as a table.
    pub fn dump_queues(&self) -> String {
        dump::queues(&self.seats.counts())
    }

    /// The requests that wait as a table, with what they ask for where `details` are wanted.
    pub fn dump_requests(&self, details: bool) -> String {
        dump::requests(&self.seats.waiting(), details)
    }

    /// What every level is doing.
    pub fn counts(&self) -> Vec<Count> {
        self.seats.counts()
    }
}
