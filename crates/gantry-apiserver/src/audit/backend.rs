//! A backend: a place that events go to, and what waits to get there.

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::delivery::{Delivery, Mode};
use super::event::Event;
use super::file::File;
use super::lines::Lines;
use super::throttle::Throttle;
use super::webhook::{Sender, Webhook};
use super::{Format, Log, Stage, legacy};
use crate::Error;

/// Told how many events were lost, and by which part.
pub(super) type Lost<'a> = &'a (dyn Fn(&'static str, u64) + Send + Sync);

/// Events that a place did not take.
#[derive(Debug)]
pub(super) struct Failure {
    pub events: usize,
    pub why: String,
}

/// A backend with its buffer.
pub(super) struct Backend {
    place: Place,
    delivery: Delivery,
    waiting: mpsc::Sender<Bytes>,
    arriving: tokio::sync::Mutex<mpsc::Receiver<Bytes>>,
}

enum Place {
    Log(Box<Lines>, Format),
    Webhook(Box<Sender>),
}

impl Backend {
    pub fn log(log: &Log) -> Result<Self, Error> {
        let file = File::open(&log.file)
            .map_err(|cause| Error::config("audit log", format!("{}: {cause}", log.file.path.display())))?;
        Ok(Self::new(Place::Log(Box::new(Lines::new(file)), log.format), log.delivery))
    }

    pub fn webhook(webhook: &Webhook) -> Result<Self, Error> {
        Ok(Self::new(Place::Webhook(Box::new(Sender::new(webhook)?)), webhook.delivery))
    }

    fn new(place: Place, delivery: Delivery) -> Self {
        let (waiting, arriving) = mpsc::channel(delivery.batching.buffer.max(1));
        Self { place, delivery, waiting, arriving: tokio::sync::Mutex::new(arriving) }
    }

    /// What metrics call it.
    fn name(&self) -> &'static str {
        match self.place {
            Place::Log(..) => "log",
            Place::Webhook(_) => "webhook",
        }
    }

    /// Takes an event; whether the request may go on.
    pub async fn take(&self, event: &Event<'_>, lost: Lost<'_>) -> bool {
        let strict = self.delivery.mode == Mode::BlockingStrict;
        let Some(text) = self.delivery.fit(event) else {
            lost("truncate", 1);
            tracing::error!(backend = self.name(), "an audit event is too large even after truncating");
            return !strict;
        };
        let text = match self.place {
            Place::Log(_, Format::Legacy) => legacy::line(&text),
            _ => text,
        };
        if self.delivery.mode == Mode::Batch {
            if self.waiting.try_send(text.into()).is_err() {
                lost("buffered", 1);
                tracing::error!(backend = self.name(), "audit buffer queue blocked");
            }
            return true;
        }
        match &self.place {
            // The request is over.
            Place::Log(lines, _) if event.stage == Stage::ResponseComplete && lines.later(&text) => true,
            _ => self.hand_on(&[text.into()], &CancellationToken::new(), lost).await || !strict,
        }
    }

    /// Hands on what waits until `stopping`, and then the rest of it.
    pub async fn run(&self, stopping: &CancellationToken, lost: Lost<'_>) {
        match &self.place {
            Place::Log(lines, _) if self.delivery.mode != Mode::Batch => {
                lines.follow(stopping, |written| _ = self.handed(written, lost)).await;
            }
            _ => self.run_batches(stopping, lost).await,
        }
    }

    async fn run_batches(&self, stopping: &CancellationToken, lost: Lost<'_>) {
        let batching = &self.delivery.batching;
        let mut throttle = batching.throttling.as_ref().map(Throttle::new);
        let mut arriving = self.arriving.lock().await;
        loop {
            let mut batch = Vec::new();
            let first = tokio::select! {
                first = arriving.recv() => first,
                () = stopping.cancelled() => arriving.try_recv().ok(),
            };
            let Some(first) = first else { return };
            batch.push(first);
            let full = async {
                while batch.len() < batching.size {
                    match arriving.recv().await {
                        Some(event) => batch.push(event),
                        None => return,
                    }
                }
            };
            tokio::select! {
                () = full => {}
                () = tokio::time::sleep(batching.wait) => {}
                () = stopping.cancelled() => {}
            }
            while batch.len() < batching.size
                && let Ok(event) = arriving.try_recv()
            {
                batch.push(event);
            }
            for part in self.delivery.split(&batch) {
                if let Some(throttle) = &mut throttle {
                    throttle.take().await;
                }
                self.hand_on(part, stopping, lost).await;
            }
        }
    }

    async fn hand_on(&self, batch: &[Bytes], stopping: &CancellationToken, lost: Lost<'_>) -> bool {
        let handed = match &self.place {
            Place::Log(lines, _) => lines.write(batch),
            Place::Webhook(sender) => {
                let sent = Box::pin(sender.send(batch, stopping)).await;
                sent.map_err(|why| Failure { events: batch.len(), why })
            }
        };
        self.handed(handed, lost)
    }

    /// Whether events were handed on; tells of those that were not.
    fn handed(&self, handed: Result<(), Failure>, lost: Lost<'_>) -> bool {
        let Err(Failure { events, why }) = handed else { return true };
        lost(self.name(), events as u64);
        tracing::error!(error = why, backend = self.name(), events, "audit events could not be handed on");
        false
    }
}
