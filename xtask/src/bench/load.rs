//! Loads: a request over and over on many connections, or one after the other on one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::future::try_join_all;

use super::call::Call;
use super::http::{Client, Connection};

/// How much is asked at once, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Connections, each with one request at a time.
    pub connections: usize,
    /// Time before anything counts.
    pub warm_up: Duration,
    /// Time in which answers count.
    pub window: Duration,
    /// The first request's number.
    pub first: usize,
}

/// A rate.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// Answers per second, of those that count.
    pub per_second: f64,
    /// All answers.
    pub answers: usize,
}

/// Latencies.
#[derive(Debug, Clone, Copy)]
pub struct Latency {
    /// Median.
    pub p50: Duration,
    /// 99th percentile.
    pub p99: Duration,
}

impl Latency {
    /// Those of `seen`.
    pub fn of(mut seen: Vec<Duration>) -> Result<Self> {
        ensure!(!seen.is_empty(), "nothing was measured");
        seen.sort();
        Ok(Self { p50: seen[seen.len() / 2], p99: seen[seen.len() * 99 / 100] })
    }
}

/// Which requests are sent.
enum Until {
    /// Those with numbers below this.
    Sent(usize),
    /// Those that begin before the time.
    Time(Instant),
}

impl Load {
    /// The same with numbers from `first`.
    pub fn from(self, first: usize) -> Self {
        Self { first, ..self }
    }

    /// Sends requests until the window ends.
    pub async fn rate(&self, client: &Client, call: &Call) -> Result<Rate> {
        let connections = self.connect(client).await?;
        let begin = Instant::now() + self.warm_up;
        let end = begin + self.window;
        let answers = send(connections, call, self.first, Until::Time(end)).await?;
        let counted = answers.iter().filter(|(_, at)| (begin..end).contains(at)).count();
        ensure!(counted > 0, "no answer came within {:?}", self.window);
        Ok(Rate { per_second: counted as f64 / self.window.as_secs_f64(), answers: answers.len() })
    }

    /// Sends so many requests.
    pub async fn all(&self, client: &Client, call: &Call, count: usize) -> Result<Rate> {
        let connections = self.connect(client).await?;
        let started = Instant::now();
        send(connections, call, self.first, Until::Sent(self.first + count)).await?;
        Ok(Rate { per_second: count as f64 / started.elapsed().as_secs_f64(), answers: count })
    }

    /// The latencies of one request at a time, within the window.
    pub async fn latency(&self, client: &Client, call: &Call) -> Result<Latency> {
        let connection = client.connect().await?;
        let begin = Instant::now() + self.warm_up;
        let answers = send(vec![connection], call, self.first, Until::Time(begin + self.window)).await?;
        Latency::of(answers.into_iter().filter(|(_, at)| *at >= begin).map(|(took, _)| took).collect())
    }

    async fn connect(&self, client: &Client) -> Result<Vec<Connection>> {
        try_join_all((0..self.connections).map(|_| client.connect())).await
    }
}

/// The median time of so many answers, one after the other.
pub async fn median(client: &Client, call: &Call, times: usize) -> Result<Duration> {
    let connection = client.connect().await?;
    let answers = send(vec![connection], call, 0, Until::Sent(times)).await?;
    Ok(Latency::of(answers.into_iter().map(|(took, _)| took).collect())?.p50)
}

/// Sends requests with numbers from `first`, each connection the next one when its last is answered. Gives what
/// each answer took and when it was there.
async fn send(
    connections: Vec<Connection>,
    call: &Call,
    first: usize,
    until: Until,
) -> Result<Vec<(Duration, Instant)>> {
    let (call, until) = (Arc::new(call.clone()), Arc::new(until));
    let next = Arc::new(AtomicUsize::new(first));
    let sending = connections.into_iter().map(|mut connection| {
        let (call, until, next) = (call.clone(), until.clone(), next.clone());
        tokio::spawn(async move {
            let mut answers = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let begin = Instant::now();
                let over = match *until {
                    Until::Sent(count) => number >= count,
                    Until::Time(end) => begin >= end,
                };
                if over {
                    return anyhow::Ok(answers);
                }
                connection.exchange(&call.request(number)).await?;
                let at = Instant::now();
                answers.push((at - begin, at));
            }
        })
    });
    let mut all = Vec::new();
    for answers in try_join_all(sending).await? {
        all.extend(answers?);
    }
    Ok(all)
}
