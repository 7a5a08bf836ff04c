//! The injected clock, and ages of what a process remembers.

use std::fmt::Debug;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where the time comes from.
pub trait Clock: Debug + Send + Sync {
    /// Wall clock, microseconds since 1970.
    fn now_micros(&self) -> i64;

    /// A clock that never goes back, from an arbitrary start.
    fn monotonic(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self {
            start: Instant::now(),
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
