//! How much a server takes on, and how long it waits.

use std::time::Duration;

/// The limits of a server.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long a client may take for the TLS handshake, and then for its first request's header.
    pub handshake: Duration,
    /// How long a connection may be without a whole request's header.
    pub idle: Duration,
    /// How long a request may take that is not a watch or another stream. Clients may ask for less.
    pub request: Duration,
    /// How many requests that only read are carried out at once.
    pub reads: usize,
    /// How many requests that write are carried out at once.
    pub writes: usize,
    /// Whether priority levels share the turns of both kinds, as `flowcontrol.apiserver.k8s.io` says.
    pub fairness: bool,
    /// How many requests of each of both kinds may wait for their turn.
    pub waiting: usize,
    /// How long a request waits for its turn.
    pub wait: Duration,
    /// How long open requests may take to end once the server stops.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(15),
            idle: Duration::from_secs(90),
            request: Duration::from_secs(60),
            reads: 400,
            writes: 200,
            fairness: true,
            waiting: 5000,
            wait: Duration::from_secs(15),
            drain: Duration::from_secs(5),
        }
    }
}
