//! Questions that are not the cluster's, asked of other name servers.
//!
//! Guarantees: a question that is being asked is not asked a second time but joins the first, so
//! that a loop through some other server dies at its first turn; addresses known to lead back here
//! are never asked; memory and the number of questions under way are bounded.

mod cache;
mod exchange;
mod resolv_conf;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{LowerName, Name, RecordType};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::Upstreams;
use cache::Cache;
use exchange::exchange;
use resolv_conf::ResolvConf;

/// How long one server may take. A stub resolver waits five seconds by default: two servers can be
/// tried within that.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a question is sent before it is given up, over all servers.
const TRIES: usize = 2;
/// Questions under way at once.
const CONCURRENT: usize = 1000;

/// Asks upstream servers and remembers for a while what they said.
pub(crate) struct Forwarder {
    source: Source,
    own: Vec<SocketAddr>,
    last_good: AtomicUsize,
    slots: Arc<Semaphore>,
    state: Mutex<State>,
}

enum Source {
    File(ResolvConf),
    Servers(Vec<SocketAddr>),
}

struct State {
    cache: Cache,
    asking: HashMap<Question, Shared<BoxFuture<'static, Outcome>>>,
}

type Outcome = Result<Arc<Message>, ForwardError>;

/// What is asked, and whether signatures are wanted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    name: LowerName,
    record_type: RecordType,
    dnssec: bool,
}

impl Question {
    pub(crate) fn new(name: &Name, record_type: RecordType, dnssec: bool) -> Self {
        let mut name = name.to_lowercase();
        name.set_fqdn(true);
        Self { name: LowerName::new(&name), record_type, dnssec }
    }
}

/// A question stayed without an answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ForwardError {
    #[error("no name server to forward to")]
    NoServers,
    #[error("too many questions are being forwarded")]
    Busy,
    #[error("no name server answered: {0}")]
    Silent(String),
}

impl Forwarder {
    /// A forwarder that never asks at the sockets `bound` or, on the DNS port, at `own`.
    pub(crate) fn new(upstreams: Upstreams, bound: &[SocketAddr], own: &[IpAddr]) -> Arc<Self> {
        let mut own: Vec<SocketAddr> = own.iter().map(|address| SocketAddr::new(*address, 53)).collect();
        for address in bound {
            own.push(*address);
            if address.ip().is_unspecified() {
                own.push(SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), address.port()));
                own.push(SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), address.port()));
            }
        }
        let source = match upstreams {
            Upstreams::ResolvConf(path) => Source::File(ResolvConf::new(path)),
            Upstreams::Servers(servers) => Source::Servers(servers),
        };
        Arc::new(Self {
            source,
            own,
            last_good: AtomicUsize::new(0),
            slots: Arc::new(Semaphore::new(CONCURRENT)),
            state: Mutex::new(State { cache: Cache::new(), asking: HashMap::new() }),
        })
    }

    /// The answer to a question, with what is left of its records' lives.
    pub(crate) async fn resolve(self: &Arc<Self>, question: Question) -> Outcome {
        let asked = {
            let mut state = self.state.lock();
            if let Some(known) = state.cache.get(&question) {
                return Ok(known);
            }
            match state.asking.get(&question) {
                Some(asked) => asked.clone(),
                None => {
                    let Ok(slot) = self.slots.clone().try_acquire_owned() else {
                        return Err(ForwardError::Busy);
                    };
                    let (forwarder, key) = (self.clone(), question.clone());
                    // A task of its own: others may wait for it when this asker has gone.
                    let task = tokio::spawn(async move {
                        let outcome = forwarder.ask(&key).await;
                        let mut state = forwarder.state.lock();
                        state.asking.remove(&key);
                        if let Ok(message) = &outcome {
                            state.cache.put(key, message.clone());
                        }
                        drop(slot);
                        outcome
                    });
                    let ended = |joined: Result<Outcome, tokio::task::JoinError>| {
                        joined.unwrap_or_else(|error| Err(ForwardError::Silent(error.to_string())))
                    };
                    let asked = task.map(ended).boxed().shared();
                    state.asking.insert(question, asked.clone());
                    asked
                }
            }
        };
        asked.await
    }

    /// Asks one server after the other, beginning with the one that answered last.
    async fn ask(&self, question: &Question) -> Outcome {
        let servers = self.servers();
        if servers.is_empty() {
            return Err(ForwardError::NoServers);
        }
        let first = self.last_good.load(Ordering::Relaxed) % servers.len();
        let (mut failure, mut refusal) = (String::new(), None);
        for attempt in 0..TRIES.max(servers.len()) {
            let position = (first + attempt) % servers.len();
            let server = servers[position];
            match tokio::time::timeout(PATIENCE, exchange(server, question)).await {
                Ok(Ok(message)) => match message.metadata.response_code {
                    ResponseCode::NoError | ResponseCode::NXDomain => {
                        self.last_good.store(position, Ordering::Relaxed);
                        return Ok(Arc::new(message));
                    }
                    _ => refusal = Some(message),
                },
                Ok(Err(error)) => failure = format!("{server}: {error}"),
                Err(_) => failure = format!("{server}: no answer within {} s", PATIENCE.as_secs()),
            }
            tracing::debug!(%server, name = %question.name, "name server did not answer");
        }
        refusal.map(Arc::new).ok_or(ForwardError::Silent(failure))
    }

    fn servers(&self) -> Vec<SocketAddr> {
        let mut servers = match &self.source {
            Source::File(file) => file.servers(),
            Source::Servers(servers) => servers.clone(),
        };
        servers.retain(|server| !self.own.contains(server));
        servers
    }
}
