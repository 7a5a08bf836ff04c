//! Which ordinals of a table snapshot are rows.

/// A set of dead ordinals over `0..rows`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LiveSet {
    dead: Vec<u64>,
    rows: usize,
    dead_rows: usize,
}

impl LiveSet {
    pub(crate) fn new(rows: usize) -> Self {
        Self {
            dead: vec![0; rows.div_ceil(64)],
            rows,
            dead_rows: 0,
        }
    }

    /// The same with more live rows at the end.
    pub(crate) fn extended(&self, rows: usize) -> Self {
        let mut new = self.clone();
        new.dead.resize(rows.div_ceil(64), 0);
        new.rows = rows;
        new
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn live_rows(&self) -> usize {
        self.rows - self.dead_rows
    }

    pub(crate) fn contains(&self, ordinal: u32) -> bool {
        (ordinal as usize) < self.rows
            && self.dead[ordinal as usize / 64] & (1 << (ordinal % 64)) == 0
    }

    pub(crate) fn kill(&mut self, ordinal: u32) {
        let word = &mut self.dead[ordinal as usize / 64];
        let bit = 1 << (ordinal % 64);
        if *word & bit == 0 {
            *word |= bit;
            self.dead_rows += 1;
        }
    }

    /// Live ordinals, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.rows as u32).filter(move |&o| self.dead_rows == 0 || self.contains(o))
    }

    /// Ordinals that are live in `before` and dead here.
    pub(crate) fn died_since<'a>(&'a self, before: &'a LiveSet) -> impl Iterator<Item = u32> + 'a {
        let words = self.dead.iter().zip(&before.dead).enumerate();
        words
            .flat_map(|(at, (now, then))| {
                let mut bits = now & !then;
                std::iter::from_fn(move || {
                    (bits != 0).then(|| {
                        let bit = bits.trailing_zeros();
                        bits &= bits - 1;
                        at as u32 * 64 + bit
                    })
                })
            })
            .filter(|&ordinal| (ordinal as usize) < before.rows)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.dead.len() * 8
    }
}
