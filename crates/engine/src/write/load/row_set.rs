//! Sets of rows, a bit each.

/// Rows by their number. As large as its largest number asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RowSet {
    words: Vec<u64>,
    count: u64,
}

impl RowSet {
    /// Whether the row was not there yet.
    pub(super) fn insert(&mut self, row: u32) -> bool {
        let (word, bit) = (row as usize / 64, 1_u64 << (row % 64));
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        let word = &mut self.words[word];
        let is_new = *word & bit == 0;
        *word |= bit;
        self.count += u64::from(is_new);
        is_new
    }

    pub(super) fn contains(&self, row: u32) -> bool {
        let word = self.words.get(row as usize / 64);
        word.is_some_and(|word| word & (1 << (row % 64)) != 0)
    }

    pub(super) fn len(&self) -> u64 {
        self.count
    }

    /// Ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0_u32..).zip(&self.words).flat_map(|(at, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                (left != 0).then(|| {
                    let bit = left.trailing_zeros();
                    left &= left - 1;
                    at * 64 + bit
                })
            })
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.words.capacity() * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_kept_once() {
        let mut set = RowSet::default();
        for row in [64, 0, 63, 1000, 64] {
            set.insert(row);
        }
        assert!(!set.insert(0));
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 64, 1000]);
        assert_eq!(set.len(), 4);
        assert!(set.contains(63) && !set.contains(62) && !set.contains(1_000_000));
    }
}
