//! The rows of a match while it is computed, and what bounds them.

use std::ops::Range;
use std::time::{Duration, Instant};

use omnigraph_lang::Code;
use omnigraph_lang::Diagnostic;
use omnigraph_lang::query::VarId;
use rustc_hash::FxHashMap;

use super::column::NONE;
use super::result::QueryLimits;
use crate::error::{Error, ErrorKind, Result};

/// How long a query may keep a thread before others get a turn.
const TURN: Duration = Duration::from_millis(2);
/// Groups are found through an array by ordinal where that is not much larger than the rows.
const DENSE_FACTOR: usize = 8;

/// Rows of ordinals: for each bound variable a column; [`NONE`] where an optional block found
/// nothing.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    len: usize,
    columns: Vec<Option<Vec<u32>>>,
    /// Inside a correlated block: the outer row that a row continues.
    origin: Option<Vec<u32>>,
}

impl Rows {
    /// One row that binds nothing.
    pub(crate) fn unit(variables: usize) -> Self {
        Self {
            len: 1,
            columns: vec![None; variables],
            origin: None,
        }
    }

    /// Rows that bind one variable.
    pub(crate) fn of(variables: usize, var: VarId, ordinals: Vec<u32>) -> Self {
        let mut rows = Self::unit(variables);
        rows.len = ordinals.len();
        rows.bind(var, ordinals);
        rows
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_bound(&self, var: VarId) -> bool {
        self.columns[var.0 as usize].is_some()
    }

    /// The ordinals of a bound variable.
    pub(crate) fn column(&self, var: VarId) -> Result<&[u32]> {
        self.columns[var.0 as usize]
            .as_deref()
            .ok_or_else(|| Error::internal("a variable is used before it is bound"))
    }

    pub(crate) fn bind(&mut self, var: VarId, ordinals: Vec<u32>) {
        debug_assert_eq!(ordinals.len(), self.len);
        self.columns[var.0 as usize] = Some(ordinals);
    }

    pub(crate) fn origin(&self) -> &[u32] {
        self.origin.as_deref().unwrap_or_default()
    }

    /// What one row takes.
    pub(crate) fn row_bytes(&self) -> usize {
        4 * (self.columns.iter().flatten().count() + usize::from(self.origin.is_some()))
    }

    /// These rows in this order; one may occur several times.
    pub(crate) fn select(&self, picks: &[u32]) -> Self {
        let pick = |column: &Vec<u32>| picks.iter().map(|&row| column[row as usize]).collect();
        Self {
            len: picks.len(),
            columns: self.columns.iter().map(|c| c.as_ref().map(pick)).collect(),
            origin: self.origin.as_ref().map(pick),
        }
    }

    pub(crate) fn retain(&mut self, keep: &[bool]) {
        let columns = self.columns.iter_mut().flatten().chain(&mut self.origin);
        for column in columns {
            let mut at = 0;
            column.retain(|_| {
                at += 1;
                keep[at - 1]
            });
        }
        self.len = keep.iter().filter(|&&kept| kept).count();
    }

    pub(crate) fn clear(&mut self) {
        self.columns.iter_mut().flatten().for_each(Vec::clear);
        self.origin.iter_mut().for_each(Vec::clear);
        self.len = 0;
    }

    /// The start of a correlated block: the variables of these rows, each row its own origin.
    pub(crate) fn correlated(
        &self,
        variables: &[VarId],
        rows: Range<usize>,
        origins: &[u32],
    ) -> Self {
        let mut columns = vec![None; self.columns.len()];
        for var in variables {
            let column = self.columns[var.0 as usize].as_ref();
            columns[var.0 as usize] = column.map(|c| {
                origins[rows.clone()]
                    .iter()
                    .map(|&row| c[row as usize])
                    .collect()
            });
        }
        Self {
            len: rows.len(),
            columns,
            origin: Some(rows.map(|at| at as u32).collect()),
        }
    }
}

/// Rows with equal values in some columns.
pub(crate) struct Groups {
    /// By row.
    pub of: Vec<u32>,
    /// The first row of each group.
    pub first: Vec<u32>,
}

impl Groups {
    /// `space` is the largest number of ordinals of each column.
    pub(crate) fn new(len: usize, columns: &[(&[u32], usize)]) -> Self {
        let [(first, space), rest @ ..] = columns else {
            return Self {
                of: vec![0; len],
                first: if len > 0 { vec![0] } else { Vec::new() },
            };
        };
        let mut groups = Self::of_column(first, *space);
        for (column, _) in rest {
            groups = groups.split(column);
        }
        groups
    }

    fn of_column(column: &[u32], space: usize) -> Self {
        let mut first = Vec::new();
        let mut add = |row: usize| {
            first.push(row as u32);
            first.len() as u32 - 1
        };
        let of = if space < column.len() * DENSE_FACTOR + 1024 {
            let mut known = vec![NONE; space + 1];
            let number = |(row, &ordinal): (usize, &u32)| {
                let slot = &mut known[(ordinal as usize).min(space)];
                if *slot == NONE {
                    *slot = add(row);
                }
                *slot
            };
            column.iter().enumerate().map(number).collect()
        } else {
            let mut known = FxHashMap::default();
            let number =
                |(row, &ordinal): (usize, &u32)| *known.entry(ordinal).or_insert_with(|| add(row));
            column.iter().enumerate().map(number).collect()
        };
        Self { of, first }
    }

    fn split(&self, column: &[u32]) -> Self {
        let mut known: FxHashMap<u64, u32> = FxHashMap::default();
        let mut first = Vec::new();
        let of = self
            .of
            .iter()
            .zip(column)
            .enumerate()
            .map(|(row, (&group, &ordinal))| {
                let key = (u64::from(group) << 32) | u64::from(ordinal);
                *known.entry(key).or_insert_with(|| {
                    first.push(row as u32);
                    first.len() as u32 - 1
                })
            })
            .collect();
        Self { of, first }
    }
}

/// Enforces a query's limits and lets other work have its turn.
pub(crate) struct Guard {
    now: Box<dyn FnMut() -> Instant + Send + Sync>,
    deadline: Option<Instant>,
    memory: u64,
    max_rows: Option<u64>,
    turn: Instant,
    peak: u64,
}

impl Guard {
    pub(crate) fn new(limits: &QueryLimits) -> Self {
        Self::with_clock(limits, Instant::now)
    }

    /// `now` is asked at every step.
    pub(crate) fn with_clock(
        limits: &QueryLimits,
        mut now: impl FnMut() -> Instant + Send + Sync + 'static,
    ) -> Self {
        Self {
            deadline: limits.deadline,
            memory: limits.memory_bytes,
            max_rows: limits.max_rows,
            turn: now(),
            now: Box::new(now),
            peak: 0,
        }
    }

    /// The largest output so far, in bytes.
    pub(crate) fn peak(&self) -> u64 {
        self.peak
    }

    /// To be called at least every few thousand steps of a loop: fails when the deadline has
    /// passed, and yields when the turn is over.
    pub(crate) async fn pause(&mut self) -> Result<()> {
        let now = (self.now)();
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            return Err(overdue());
        }
        if now - self.turn > TURN {
            tokio::task::yield_now().await;
            self.turn = (self.now)();
        }
        Ok(())
    }

    /// Waits for something outside of this process, at most until the deadline.
    pub(crate) async fn within<T>(&mut self, work: impl Future<Output = T>) -> Result<T> {
        let done = match self.deadline {
            None => Some(work.await),
            Some(deadline) => tokio::time::timeout_at(deadline.into(), work).await.ok(),
        };
        self.turn = Instant::now();
        done.ok_or_else(overdue)
    }

    /// Fails if an operator's output of this size is over the limit.
    pub(crate) fn memory(&mut self, bytes: usize) -> Result<()> {
        self.peak = self.peak.max(bytes as u64);
        if bytes as u64 <= self.memory {
            return Ok(());
        }
        let message = format!(
            "the query needs more than {} bytes of memory; add conditions that narrow it",
            self.memory
        );
        let error = limit(ErrorKind::ResourceLimit, Code::R452, message);
        Err(error.with_detail(|d| {
            d.limit = Some(("memory".to_owned(), self.memory, bytes as u64));
        }))
    }

    /// Fails if a result has too many rows.
    pub(crate) fn result_rows(&self, rows: usize) -> Result<()> {
        match self.max_rows {
            Some(max) if rows as u64 > max => {
                let message =
                    format!("the result has {rows} rows and {max} are allowed; add a limit");
                let error = limit(ErrorKind::ResourceLimit, Code::R452, message);
                Err(error.with_detail(|d| {
                    d.limit = Some(("rows".to_owned(), max, rows as u64));
                }))
            }
            _ => Ok(()),
        }
    }
}

fn overdue() -> Error {
    let message = "the query did not finish before its deadline";
    limit(ErrorKind::Deadline, Code::R450, message)
}

fn limit(kind: ErrorKind, code: Code, message: impl Into<String>) -> Error {
    Error::diagnostics(kind, vec![Diagnostic::error(code, message)])
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;

    /// A guard whose time is over when it looks at the clock for the `at`th time, and how often it
    /// has looked.
    pub(crate) fn ticking(at: u64) -> (Guard, impl Fn() -> u64) {
        let looked = Arc::new(AtomicU64::new(0));
        let count = looked.clone();
        let start = Instant::now();
        let after = |ticks: u64| start + Duration::from_nanos(ticks.min(1 << 40));
        let limits = QueryLimits {
            deadline: Some(after(at)),
            ..QueryLimits::default()
        };
        // Making the guard is a look that does not count.
        let mut ticks = 0;
        let guard = Guard::with_clock(&limits, move || {
            let now = start + Duration::from_nanos(ticks);
            count.store(ticks, Ordering::Relaxed);
            ticks += 1;
            now
        });
        (guard, move || looked.load(Ordering::Relaxed))
    }
}
