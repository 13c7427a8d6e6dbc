//! A bucket of tokens: so many a second, and some at once after a while without any.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Throttling;

/// Lets through so many a second.
#[derive(Debug)]
pub(super) struct Throttle {
    /// Between two of them.
    gap: Duration,
    /// How far ahead of time one may be.
    ahead: Duration,
    /// When the next one is due.
    due: Instant,
}

impl Throttle {
    pub fn new(settings: &Throttling) -> Self {
        let gap = Duration::try_from_secs_f64(1.0 / settings.qps).unwrap_or_default();
        let ahead = gap.saturating_mul(settings.burst.saturating_sub(1));
        Self { gap, ahead, due: Instant::now() }
    }

    /// Waits for a token.
    pub async fn take(&mut self) {
        if let Some(earliest) = self.due.checked_sub(self.ahead) {
            sleep_until(earliest).await;
        }
        self.due = self.due.max(Instant::now()) + self.gap;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn some_at_once_and_then_so_many_a_second() {
        let mut throttle = Throttle::new(&Throttling { qps: 10.0, burst: 3 });
        let start = Instant::now();
        let mut times = Vec::new();
        for _ in 0..5 {
            throttle.take().await;
            times.push(start.elapsed().as_millis());
        }
        assert_eq!(times, [0, 0, 0, 100, 200]);
        tokio::time::advance(Duration::from_secs(60)).await;
        let start = Instant::now();
        for _ in 0..3 {
            throttle.take().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
