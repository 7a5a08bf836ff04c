//! The injected clock, and ages of what a process remembers.

use std::fmt::Debug;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use tokio::time::Instant;
use ulid::Ulid;

/// Where the time comes from, and with it the pauses and the ids that are never used twice. What a
/// simulation of several processes runs has them from here alone.
pub trait Clock: Debug + Send + Sync {
    /// Wall clock, microseconds since 1970.
    fn now_micros(&self) -> i64;

    /// A clock that never goes back, from an arbitrary start.
    fn monotonic(&self) -> Duration;

    /// The moment now, as waits are bounded by it.
    fn instant(&self) -> Instant {
        Instant::now()
    }

    /// Ends when `at` has come.
    fn sleep_until(&self, at: Instant) -> BoxFuture<'static, ()> {
        Box::pin(tokio::task::unconstrained(tokio::time::sleep_until(at)))
    }

    /// An id that was never used: of the time, and of randomness.
    fn fresh_id(&self) -> Ulid {
        Ulid::new()
    }
}

/// The time was over before the future ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the time is over")]
pub struct Elapsed;

/// Longer than any process lives; what is later cannot be told from it.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

impl dyn Clock + '_ {
    /// The moment after a time.
    pub fn after(&self, time: Duration) -> Instant {
        self.instant() + time.min(FAR)
    }

    /// Ends after a time.
    pub fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        self.sleep_until(self.after(time))
    }

    /// Bounds a future by a moment.
    pub async fn timeout_at<F: Future>(
        &self,
        at: Instant,
        future: F,
    ) -> Result<F::Output, Elapsed> {
        let mut over = self.sleep_until(at);
        let mut future = pin!(future);
        poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => over.as_mut().poll(context).map(|()| Err(Elapsed)),
        })
        .await
    }

    /// Bounds a future by a time from now.
    pub async fn timeout<F: Future>(
        &self,
        time: Duration,
        future: F,
    ) -> Result<F::Output, Elapsed> {
        self.timeout_at(self.after(time), future).await
    }
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self {
            start: std::time::Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that is handed in"
    )]
    fn now_micros(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A point in time on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    wall: i64,
    monotonic: Duration,
}

impl Moment {
    pub(super) fn of(clock: &dyn Clock) -> Self {
        Self {
            wall: clock.now_micros(),
            monotonic: clock.monotonic(),
        }
    }

    /// The larger of what the two clocks say: the monotonic one may stand still while the machine
    /// sleeps, the wall clock may be set back. Too long an age only costs a request.
    pub(super) fn since(self, earlier: Moment) -> Duration {
        let wall = u64::try_from(self.wall.saturating_sub(earlier.wall)).unwrap_or(0);
        let monotonic = self.monotonic.saturating_sub(earlier.monotonic);
        monotonic.max(Duration::from_micros(wall))
    }
}
