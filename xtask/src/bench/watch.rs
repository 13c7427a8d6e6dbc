//! Watches: how soon a change is seen, and how long it takes to be told what exists.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use gantry_json::{Value, json};
use tokio::sync::mpsc;

use super::call::Call;
use super::http::{Body, Client};
use super::load::Latency;

/// Longest wait for an event.
const PATIENCE: Duration = Duration::from_secs(60);
/// Connections that write while others watch.
const WRITERS: u32 = 8;
const CONFIG_MAPS: &str = "/api/v1/namespaces/bench/configmaps";

/// The median time, of `times`, from the request to the end of a watch's first `count` events.
pub async fn start(client: &Client, call: &Call, count: usize, times: usize) -> Result<Duration> {
    let mut took = Vec::new();
    for _ in 0..times {
        let connection = client.connect().await?;
        let before = Instant::now();
        let body = connection.open(&call.request(0)).await?;
        let mut events = Events { typed: call.is_typed(), rest: 0, head: Vec::new(), seen: 0 };
        tokio::time::timeout(PATIENCE, events.read(body, count))
            .await
            .with_context(|| format!("{} of {count} events came within {PATIENCE:?}", events.seen))??;
        took.push(before.elapsed());
    }
    Ok(Latency::of(took)?.p50)
}

/// Counts events without reading them: lines of JSON, or frames behind their lengths.
struct Events {
    typed: bool,
    /// How much of a frame is still to come.
    rest: usize,
    /// What is known of a frame's length.
    head: Vec<u8>,
    seen: usize,
}

impl Events {
    async fn read(&mut self, mut body: Body, count: usize) -> Result<()> {
        while self.seen < count {
            let part = body.next().await?;
            let data = part.with_context(|| format!("the watch ended after {}", self.seen))?;
            match self.typed {
                true => self.frames(data),
                false => self.seen += memchr::memchr_iter(b'\n', data).count(),
            }
        }
        Ok(())
    }

    fn frames(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            if self.rest == 0 {
                self.head.push(data[0]);
                data = &data[1..];
                if let Ok(length) = <[u8; 4]>::try_from(&*self.head) {
                    self.rest = u32::from_be_bytes(length) as usize;
                    self.head.clear();
                }
                continue;
            }
            let part = self.rest.min(data.len());
            data = &data[part..];
            self.rest -= part;
            self.seen += usize::from(self.rest == 0);
        }
    }
}

/// How long after a write's start each of `watchers` sees it, at `per_second` writes: of each of so many windows.
pub async fn delivery(
    client: &Client,
    watchers: usize,
    per_second: u32,
    window: Duration,
    windows: usize,
) -> Result<Vec<Latency>> {
    let origin = Instant::now();
    let (report, mut latencies) = mpsc::unbounded_channel();
    for _ in 0..watchers {
        let connection = client.connect().await?;
        let watch = Call::get(format!("{CONFIG_MAPS}?watch=true&timeoutSeconds=600"));
        let body = connection.open(&watch.request(0)).await?;
        let report = report.clone();
        tokio::spawn(async move {
            lines(body, |line| {
                // The namespace has objects of others, too.
                let Some(sent) = find_number(line, b"\"sent\":\"") else { return Some(()) };
                let now = origin.elapsed().as_micros() as u64;
                report.send(now.saturating_sub(sent)).ok()
            })
            .await
        });
    }
    drop(report);
    let mut all = Vec::with_capacity(windows);
    for number in 0..windows {
        let expected = write(client, number, per_second, window, origin).await? * watchers;
        let mut seen = Vec::with_capacity(expected);
        while seen.len() < expected {
            let next = tokio::time::timeout(PATIENCE, latencies.recv()).await;
            let latency = next.context("watch events are missing")?.context("the watches ended")?;
            seen.push(Duration::from_micros(latency));
        }
        all.push(Latency::of(seen)?);
    }
    Ok(all)
}

/// Writes ConfigMaps that say how long after `origin` they were sent; how many.
async fn write(
    client: &Client,
    number: usize,
    per_second: u32,
    window: Duration,
    origin: Instant,
) -> Result<usize> {
    // The writes are as far from one another as they can be: each writer begins a little after the one before.
    let (apart, begin) = (Duration::from_secs(1) / per_second, tokio::time::Instant::now());
    let writers = (0..WRITERS).map(|writer| async move {
        let mut connection = client.connect().await?;
        let mut tick = tokio::time::interval_at(begin + apart * writer, apart * WRITERS);
        let mut written = 0;
        while begin.elapsed() < window {
            tick.tick().await;
            let body = json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": format!("tick-{number}-{writer}-{written}")},
                "data": {"sent": origin.elapsed().as_micros().to_string()}});
            connection.exchange(&Call::post(CONFIG_MAPS, &body).request(0)).await?;
            written += 1;
        }
        anyhow::Ok(written)
    });
    Ok(try_join_all(writers).await?.iter().sum())
}

/// Reads a watch in JSON until an object is as `wanted`; an error, `late`, where the watch ends before.
pub async fn until(body: Body, late: &str, mut wanted: impl FnMut(&Value) -> bool) -> Result<()> {
    let mut found = false;
    lines(body, |line| {
        let event: Value = gantry_json::from_slice(line).unwrap_or_default();
        found = wanted(&event["object"]);
        (!found).then_some(())
    })
    .await?;
    ensure!(found, "{late}");
    Ok(())
}

/// Hands each line of `body` to `each` until that returns `None` or the body ends.
pub async fn lines(mut body: Body, mut each: impl FnMut(&[u8]) -> Option<()>) -> Result<()> {
    let mut rest = Vec::new();
    while let Some(data) = body.next().await? {
        rest.extend_from_slice(data);
        let mut start = 0;
        while let Some(length) = memchr::memchr(b'\n', &rest[start..]) {
            if each(&rest[start..start + length]).is_none() {
                return Ok(());
            }
            start += length + 1;
        }
        rest.drain(..start);
    }
    Ok(())
}

fn find_number(line: &[u8], key: &[u8]) -> Option<u64> {
    let at = memchr::memmem::find(line, key)? + key.len();
    let digits: Vec<u8> = line[at..].iter().copied().take_while(u8::is_ascii_digit).collect();
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_however_they_are_cut() {
        let bytes = [0, 0, 0, 2, 7, 7, 0, 0, 0, 1, 7];
        for size in 1..=bytes.len() {
            let mut events = Events { typed: true, rest: 0, head: Vec::new(), seen: 0 };
            bytes.chunks(size).for_each(|part| events.frames(part));
            assert_eq!((events.seen, events.rest), (2, 0), "{size}");
        }
    }
}
