//! What each operator of a running query did.

use std::time::{Duration, Instant};

/// The number of an operator in its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct OpId(pub usize);

/// Rows and time by operator.
#[derive(Debug, Default)]
pub(crate) struct Profile {
    actual: Vec<Actual>,
}

/// Sums over all runs of an operator: inside of a block it may run several times.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Actual {
    /// Rows that it gave.
    pub rows: u64,
    pub time: Duration,
}

impl Profile {
    pub(crate) fn add(&mut self, op: OpId, rows: usize, since: Instant) {
        if self.actual.len() <= op.0 {
            self.actual.resize(op.0 + 1, Actual::default());
        }
        let actual = &mut self.actual[op.0];
        actual.rows += rows as u64;
        actual.time += since.elapsed();
    }

    /// An operator that never ran gave no rows.
    pub(crate) fn of(&self, op: OpId) -> Actual {
        self.actual.get(op.0).copied().unwrap_or_default()
    }
}
