//! Leader election by a Lease: one of several processes acts, the others wait.

use std::time::Duration;

use futures::{Future, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long a Lease holds without renewal. Upstream takes 15 s and renews every 2 s; a renewal is a
/// durable write, so this renews every [`RENEW`] and tolerates as many lost ones.
const DURATION: Duration = Duration::from_secs(30);

/// Time between renewals.
const RENEW: Duration = Duration::from_secs(10);

/// A leader that could not renew for so long stops leading, before others may take over.
const DEADLINE: Duration = Duration::from_secs(20);

/// A candidate for one Lease.
pub struct LeaderElector {
    leases: Api<Lease>,
    name: String,
    identity: String,
}

/// What a candidate knows of the Lease: its holder's last sign of life, and when it was seen by this
/// process's clock.
struct Observed {
    renewal: Option<MicroTime>,
    holder: Option<String>,
    at: Instant,
}

impl LeaderElector {
    /// A candidate `identity` for the Lease `name`. A process that restarts under the same identity
    /// goes on at once; two processes never share one.
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str) -> Self {
        Self { leases: Api::namespaced(client, namespace), name: name.into(), identity: identity.into() }
    }

    /// Leads whenever it can until `shutdown`: calls `lead` with a token that is cancelled when the
    /// lead is lost or the process ends, and gives the Lease up afterwards.
    pub async fn run<F, Fut>(self, shutdown: CancellationToken, lead: F)
    where
        F: Fn(CancellationToken) -> Fut,
        Fut: Future<Output = ()>,
    {
        while !shutdown.is_cancelled() {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.acquire() => {}
            }
            tracing::debug!(lease = self.name, "leading");
            let token = shutdown.child_token();
            let renewed = async {
                self.renew(&token).await;
                token.cancel();
            };
            tokio::join!(renewed, lead(token.clone()));
            self.release().await;
        }
    }

    /// Returns once the Lease is held.
    async fn acquire(&self) {
        let selector = format!("metadata.name={}", self.name);
        let config = watcher::Config::default().fields(&selector);
        let mut changes = watcher(self.leases.clone(), config).default_backoff().boxed();
        let mut observed: Option<Observed> = None;
        let mut failures = 0;
        loop {
            let wait = match self.try_acquire(&mut observed).await {
                Ok(None) => return,
                Ok(Some(expiry)) => {
                    failures = 0;
                    expiry
                }
                Err(error) => {
                    tracing::debug!(lease = self.name, %error, "not acquired");
                    failures += 1;
                    // The API is not answering or another candidate was faster.
                    Instant::now() + Duration::from_millis(100 << failures.min(6))
                }
            };
            tokio::select! {
                _ = changes.next() => {}
                () = tokio::time::sleep_until(wait) => {}
            }
        }
    }

    /// Takes the Lease if it is free or expired; otherwise tells when it expires.
    async fn try_acquire(&self, observed: &mut Option<Observed>) -> kube::Result<Option<Instant>> {
        let Some(mut lease) = self.leases.get_opt(&self.name).await? else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(self.name.clone()), ..Default::default() },
                spec: Some(self.spec(0, Timestamp::now(), Timestamp::now())),
            };
            self.leases.create(&PostParams::default(), &lease).await?;
            return Ok(None);
        };
        let spec = lease.spec.take().unwrap_or_default();
        let holder = spec.holder_identity.clone().filter(|holder| !holder.is_empty());
        let mine = holder.as_ref() == Some(&self.identity);
        if !mine && holder.is_some() {
            let known = observed.as_ref().filter(|o| o.renewal == spec.renew_time && o.holder == holder);
            let seen = known.map_or_else(Instant::now, |o| o.at);
            *observed = Some(Observed { renewal: spec.renew_time.clone(), holder, at: seen });
            let held = spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok());
            let expiry = seen + held.map_or(DURATION, Duration::from_secs);
            if Instant::now() < expiry {
                return Ok(Some(expiry));
            }
        }
        let now = Timestamp::now();
        let transitions = spec.lease_transitions.unwrap_or(0) + i32::from(!mine);
        let acquired = spec.acquire_time.filter(|_| mine).map_or(now, |time| time.0);
        lease.spec = Some(self.spec(transitions, acquired, now));
        self.leases.replace(&self.name, &PostParams::default(), &lease).await?;
        Ok(None)
    }

    /// Keeps the Lease; returns when it is lost or `token` is cancelled.
    async fn renew(&self, token: &CancellationToken) {
        let mut renewed = Instant::now();
        let mut pause = RENEW;
        loop {
            tokio::select! {
                () = token.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            match tokio::time::timeout(DEADLINE - RENEW, self.renew_once()).await {
                Ok(Ok(true)) => {
                    renewed = Instant::now();
                    pause = RENEW;
                }
                Ok(Ok(false)) => {
                    tracing::warn!(lease = self.name, "another process leads now");
                    return;
                }
                // Only while the API fails: soon again, until the deadline.
                Ok(Err(_)) | Err(_) => pause = Duration::from_secs(1),
            }
            if renewed.elapsed() > DEADLINE {
                tracing::warn!(lease = self.name, "not renewed in time; no longer leading");
                return;
            }
        }
    }

    /// Renews once; false if someone else holds the Lease.
    async fn renew_once(&self) -> kube::Result<bool> {
        let Some(mut lease) = self.leases.get_opt(&self.name).await? else { return Ok(false) };
        let Some(spec) = lease.spec.as_mut() else { return Ok(false) };
        if spec.holder_identity.as_ref() != Some(&self.identity) {
            return Ok(false);
        }
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        self.leases.replace(&self.name, &PostParams::default(), &lease).await?;
        Ok(true)
    }

    /// Gives the Lease up, so that another candidate need not wait for it to expire.
    async fn release(&self) {
        let give_up = async {
            let Some(mut lease) = self.leases.get_opt(&self.name).await? else { return Ok(()) };
            let Some(spec) = lease.spec.as_mut() else { return Ok(()) };
            if spec.holder_identity.as_ref() != Some(&self.identity) {
                return Ok(());
            }
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(MicroTime(Timestamp::now()));
            self.leases.replace(&self.name, &PostParams::default(), &lease).await.map(|_| ())
        };
        // The process may be ending and its server gone: the Lease then expires.
        if let Ok(Err(error)) = tokio::time::timeout(Duration::from_secs(1), give_up).await {
            let error: kube::Error = error;
            tracing::debug!(lease = self.name, %error, "not released");
        }
    }

    fn spec(&self, transitions: i32, acquired: Timestamp, renewed: Timestamp) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(DURATION.as_secs() as i32),
            lease_transitions: Some(transitions),
            acquire_time: Some(MicroTime(acquired)),
            renew_time: Some(MicroTime(renewed)),
            ..Default::default()
        }
    }
}
