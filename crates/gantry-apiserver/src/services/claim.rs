//! What writes under way have taken.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gantry_store::Store;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::allocate;

/// What all claims have, together.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    pub ips: HashSet<IpAddr>,
    pub ports: HashSet<u16>,
}

impl InFlight {
    pub fn add(&mut self, claim: &allocate::Claim) {
        self.ips.extend(&claim.ips);
        self.ports.extend(&claim.ports);
    }

    fn remove(&mut self, claim: &allocate::Claim) {
        for address in &claim.ips {
            self.ips.remove(address);
        }
        for port in &claim.ports {
            self.ports.remove(port);
        }
    }
}

/// Addresses and ports that nobody else gets until this is dropped. Where it is dropped in the middle of the
/// write, they stay taken until the store knows what has become of it.
pub(crate) struct Claim {
    claim: allocate::Claim,
    in_flight: Arc<Mutex<InFlight>>,
    store: Store,
    writing: AtomicBool,
}

impl Claim {
    pub fn new(claim: allocate::Claim, in_flight: Arc<Mutex<InFlight>>, store: Store) -> Self {
        Self { claim, in_flight, store, writing: AtomicBool::new(false) }
    }

    /// Says that the store is being asked, or has answered.
    pub fn set_writing(&self, writing: bool) {
        self.writing.store(writing, Ordering::Relaxed);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let claim = std::mem::take(&mut self.claim);
        if claim == allocate::Claim::default() {
            return;
        }
        match Handle::try_current() {
            Ok(runtime) if self.writing.load(Ordering::Relaxed) => {
                let (in_flight, store) = (self.in_flight.clone(), self.store.clone());
                runtime.spawn(async move {
                    // A store that has closed writes nothing any more.
                    let _ = store.settled().await;
                    in_flight.lock().remove(&claim);
                });
            }
            _ => self.in_flight.lock().remove(&claim),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use gantry_store::Options;
    use gantry_store::engine::MemoryEngine;

    use super::*;

    #[tokio::test]
    async fn what_is_dropped_is_free_when_its_outcome_is_known() {
        let store = Store::with_engine(MemoryEngine::default(), Options::default()).unwrap();
        let in_flight = Arc::<Mutex<InFlight>>::default();
        let claim = |port| {
            let claim = allocate::Claim { ips: Vec::new(), ports: vec![port] };
            in_flight.lock().add(&claim);
            Claim::new(claim, in_flight.clone(), store.clone())
        };
        let (first, second) = (claim(1), claim(2));
        drop(first);
        assert_eq!(in_flight.lock().ports, HashSet::from([2]));
        second.set_writing(true);
        // Asked for, and not waited for.
        let _ = store.create("/a", Vec::new(), None).now_or_never();
        drop(second);
        assert_eq!(in_flight.lock().ports, HashSet::from([2]), "it may be written yet");
        // The task asks when this one waits, and frees when it has its answer.
        while !in_flight.lock().ports.is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(store.snapshot().get("/a").is_some());
    }
}
