//! Endpoints come and go under load, and no connection is lost.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use gantry_json::{Value, json};

use super::{
    cluster::*,
    support::{Namespace, on_host, pod},
};
use crate::Network;

const SERVICE: &str = "10.43.0.5:80";

/// Opens connections one after the other, until told to end.
struct Caller {
    ended: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    thread: std::thread::JoinHandle<()>,
}

impl Caller {
    fn start(namespace: &Namespace, address: &'static str) -> Self {
        let (ended, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (end, count) = (ended.clone(), answered.clone());
        let thread = namespace.start(move || {
            let here = Namespace::current();
            while !end.load(Ordering::Relaxed) {
                let mut connection = here.connect(address).expect("a new connection");
                connection.ask().expect("an answer");
                connection.ask().expect("another answer");
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { ended, answered, thread }
    }

    fn end(self) -> usize {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.join().expect("no connection was lost");
        self.answered.load(Ordering::Relaxed)
    }
}

#[test]
fn rolling_changes_lose_no_connection() {
    on_host(async |host| {
        let outside = host.uplink();
        let network = Network::open(host.config()).unwrap();
        let mut cluster = Cluster::new(&network);
        let client = pod(&network, "client").await;
        let mut servers = Vec::new();
        for name in ["one", "two", "three"] {
            let server = pod(&network, name).await;
            server.namespace.serve(name, server.ip, 8080);
            servers.push(server);
        }
        cluster.service(node_port("10.43.0.5", json!({})));
        cluster.endpoints(&servers.iter().map(|s| ready(s.ip)).collect::<Vec<_>>());
        // As many as make it sure that each endpoint has one.
        let mut kept: Vec<_> = (0..30).map(|_| client.namespace.connect(SERVICE).unwrap()).collect();
        let answers: Vec<_> = kept.iter_mut().map(|c| c.ask().unwrap()).collect();
        let callers = [
            Caller::start(&client.namespace, SERVICE),
            Caller::start(&host.namespace, SERVICE),
            Caller::start(&outside, "192.0.2.1:30080"),
        ];
        for round in 0..60 {
            // One ends as a pod does: it drains, then it is gone; then there is another one.
            let (going, staying) = (round % 3, |i: &usize| *i != round % 3);
            let stay: Vec<Value> = (0..3).filter(staying).map(|i| ready(servers[i].ip)).collect();
            let drains = [&stay[..], &[draining(servers[going].ip)]].concat();
            cluster.endpoints(&drains);
            cluster.endpoints(&stay);
            cluster.endpoints(&[&stay[..], &[ready(servers[going].ip)]].concat());
        }
        for caller in callers {
            assert!(caller.end() > 10);
        }
        for (connection, answer) in kept.iter_mut().zip(answers) {
            assert_eq!(connection.ask().unwrap(), answer, "an open connection stays where it is");
        }
    });
}
