//! How the memory of one load is divided, and how much of it is in use.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::LoadEncoding;

/// Less makes no sense.
const LEAST: u64 = 1 << 20;
const CHUNK: std::ops::RangeInclusive<usize> = 16 << 10..=1 << 20;
/// The longest line.
const LINE: std::ops::RangeInclusive<usize> = 128 << 10..=32 << 20;
/// Windows of zstd frames, as powers of two. The upper end is what `zstd --long` and `--ultra` use.
const WINDOW_LOG: std::ops::RangeInclusive<u32> = 10..=27;

/// The parts of a load's memory, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shares {
    /// One piece of input that is parsed; a few are in work at once.
    pub(super) chunk: usize,
    /// Ids, ends and unique tuples that wait for the end; beyond that they go to temporary files.
    pub(super) keys: usize,
    /// Rows that wait in the writers of all tables; beyond that files are closed early.
    pub(super) rows: usize,
    /// One batch of an Arrow input, decoded.
    pub(super) batch: usize,
    /// The pages of a Parquet file that are decoded at one time.
    pub(super) pages: usize,
    /// One line, and in the permissive form the whole input.
    pub(super) line: usize,
    /// The largest window of a zstd frame.
    pub(super) window_log: u32,
}

impl Shares {
    pub(super) fn of(memory: u64, encoding: LoadEncoding) -> Self {
        // Keys alone can do with less than what a load takes at least.
        let keys = usize::try_from(memory / 8).unwrap_or(usize::MAX);
        let memory = usize::try_from(memory.max(LEAST)).unwrap_or(usize::MAX);
        let window_log = (memory / 2)
            .ilog2()
            .clamp(*WINDOW_LOG.start(), *WINDOW_LOG.end());
        // A zstd window may take half of everything.
        let divided = match encoding {
            LoadEncoding::Zstd => memory - (1 << window_log),
            LoadEncoding::Identity | LoadEncoding::Gzip => memory,
        };
        Self {
            chunk: (divided / 128).clamp(*CHUNK.start(), *CHUNK.end()),
            keys: keys.min(divided / 8),
            rows: divided / 4,
            batch: divided / 4,
            // Never at the same time.
            pages: divided * 3 / 8,
            line: (divided / 4).clamp(*LINE.start(), *LINE.end()),
            window_log,
        }
    }
}

/// What holds memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Pieces of input that are parsed, and what they came to.
    Parsing,
    /// Input that is not a piece yet: lines without an end, columnar batches and pages.
    Batches,
    /// Rows in the writers.
    Rows,
    /// Ids, ends and tuples.
    Keys,
    /// Sorting them, and merging what was sorted.
    Sorting,
}

/// Counts what is held, by part, and the most of it at any time.
#[derive(Debug, Default)]
pub(super) struct Meter {
    held: [AtomicUsize; 5],
    peak: AtomicUsize,
    spilled: AtomicUsize,
}

impl Meter {
    /// Says how much a part holds now.
    pub(super) fn set(&self, part: Part, bytes: usize) {
        if let Some(held) = self.held.get(part as usize) {
            held.store(bytes, Ordering::Relaxed);
        }
        let all = self.held.iter().map(|held| held.load(Ordering::Relaxed));
        self.peak.fetch_max(all.sum(), Ordering::Relaxed);
    }

    /// Counts bytes that went to temporary files.
    pub(super) fn spill(&self, bytes: usize) {
        self.spilled.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed) as u64
    }

    pub(super) fn spilled(&self) -> u64 {
        self.spilled.load(Ordering::Relaxed) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_stay_below_the_whole() {
        for memory in [0, 1 << 20, 3 << 20, 256 << 20, 8 << 30] {
            for encoding in [
                LoadEncoding::Identity,
                LoadEncoding::Gzip,
                LoadEncoding::Zstd,
            ] {
                let shares = Shares::of(memory, encoding);
                let window = match encoding {
                    LoadEncoding::Zstd => 1 << shares.window_log,
                    _ => 0,
                };
                let whole = usize::try_from(memory.max(LEAST)).unwrap();
                let columnar = shares.batch + shares.pages;
                let input = columnar.max(shares.line);
                assert!(shares.keys + shares.rows + input + window <= whole);
                assert!(CHUNK.contains(&shares.chunk));
            }
        }
        assert_eq!(Shares::of(256 << 20, LoadEncoding::Zstd).window_log, 27);
    }

    #[test]
    fn the_peak_is_that_of_the_sum() {
        let meter = Meter::default();
        meter.set(Part::Keys, 10);
        meter.set(Part::Rows, 5);
        meter.set(Part::Keys, 1);
        meter.set(Part::Sorting, 3);
        assert_eq!(meter.peak(), 15);
    }
}
