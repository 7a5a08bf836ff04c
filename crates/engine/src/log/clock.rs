//! Ages of what a process remembers.

use std::time::Duration;

use crate::store::Clock;

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
