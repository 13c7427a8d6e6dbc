//! The loop that carries work out.

use std::error::Error;
use std::fmt::Display;
use std::future::Future;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::WorkQueue;

/// Why work on a key failed.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Runs `reconcile` for every key of `queue`, `workers` of them at once, until `shutdown`. An error is
/// logged and the key comes again after a growing delay; `Ok(Some(delay))` makes it come again after
/// `delay`, `Ok(None)` when it is added.
pub async fn run_workers<K, F, Fut>(
    name: &'static str,
    queue: WorkQueue<K>,
    workers: usize,
    reconcile: F,
    shutdown: CancellationToken,
) where
    K: Clone + Eq + Hash + Display,
    F: Fn(K) -> Fut,
    Fut: Future<Output = Result<Option<Duration>, Failure>>,
{
    let worker = || async {
        while let Some(key) = queue.next().await {
            // A panic is a fault of one object's handling; the others go on. On the heap, so that a worker
            // without work takes next to nothing.
            let outcome = AssertUnwindSafe(Box::pin(reconcile(key.clone()))).catch_unwind().await;
            match outcome {
                Ok(Ok(again)) => {
                    queue.forget(&key);
                    if let Some(delay) = again {
                        queue.add_after(key.clone(), delay);
                    }
                }
                Ok(Err(error)) => {
                    if queue.failures(&key) < 3 {
                        tracing::debug!(controller = name, %key, %error, "will be tried again");
                    } else {
                        tracing::warn!(controller = name, %key, %error, "fails; it is tried again");
                    }
                    queue.add_rate_limited(key.clone());
                }
                Err(_) => {
                    tracing::error!(controller = name, %key, "internal fault; it is tried again");
                    queue.add_rate_limited(key.clone());
                }
            }
            queue.done(&key);
        }
    };
    let all = join_all((0..workers).map(|_| worker()));
    tokio::select! {
        _ = all => {}
        () = shutdown.cancelled() => {}
    }
    queue.shut_down();
}
