//! HTTP as a client outside of the cluster's pods speaks it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::cluster::Cluster;

/// Longer than any answer takes: a client that waits so long has lost its request.
const ANSWER: Duration = Duration::from_secs(10);

/// Clients that send at the same time.
const CLIENTS: usize = 4;

/// The status line and the body of an answer to `GET path`, on a connection of its own.
pub fn get(address: &str, path: &str) -> std::io::Result<(String, String)> {
    request(address, &format!("GET {path} HTTP/1.1\r\nHost: guestbook\r\nConnection: close\r\n\r\n"))
}

/// The same for a JSON body that is posted.
pub fn post(address: &str, path: &str, body: &str) -> std::io::Result<(String, String)> {
    let length = body.len();
    request(
        address,
        &format!(
            "POST {path} HTTP/1.1\r\nHost: guestbook\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        ),
    )
}

fn request(address: &str, text: &str) -> std::io::Result<(String, String)> {
    let to = address.parse().map_err(std::io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&to, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.write_all(text.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    Ok((head.lines().next().unwrap_or_default().to_owned(), body.to_owned()))
}

/// Constant load on an address, from a few clients at once.
pub struct Load<'a> {
    cluster: &'a Cluster,
    address: &'a str,
    path: &'a str,
}

impl<'a> Load<'a> {
    /// Load on `path` of `address`.
    pub fn on(cluster: &'a Cluster, address: &'a str, path: &'a str) -> Self {
        Self { cluster, address, path }
    }

    /// Runs `work` under load; returns how many requests were answered, and what went wrong with others.
    pub fn during(&self, work: impl FnOnce()) -> Report {
        let stop = AtomicBool::new(false);
        self.run(
            |_| !stop.load(Ordering::Relaxed),
            || {
                // The clients end also when the work fails.
                let _stop = StopOnDrop(&stop);
                work();
            },
        )
    }

    /// Sends `count` requests.
    pub fn requests(&self, count: usize) -> Report {
        self.run(|sent| sent < count, || ())
    }

    fn run(&self, go_on: impl Fn(usize) -> bool + Sync, work: impl FnOnce()) -> Report {
        let (sent, answered) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let failed = Mutex::new(BTreeMap::new());
        let fail = |why: String| *failed.lock().expect("no panic").entry(why).or_insert(0) += 1;
        let client = || {
            while go_on(sent.fetch_add(1, Ordering::Relaxed)) {
                match get(self.address, self.path) {
                    Ok((status, _)) if status.contains(" 200 ") => {
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok((status, _)) => fail(status),
                    Err(error) => fail(error.to_string()),
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| self.cluster.within(client));
            }
            work();
        });
        Report { answered: answered.into_inner(), failed: failed.into_inner().expect("no panic") }
    }
}

/// What became of the requests.
pub struct Report {
    answered: usize,
    /// How often what went wrong.
    failed: BTreeMap<String, usize>,
}

impl Report {
    /// Fails unless every request was answered, and at least `least` were.
    pub fn lost_none_of(&self, least: usize) {
        let Self { answered, failed } = self;
        assert!(failed.is_empty(), "{answered} requests were answered, others not: {failed:?}");
        assert!(*answered >= least, "only {answered} requests were sent");
    }
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
