//! What a table needs, from the facts of its manifest alone.
//!
//! Both plans are tiered: something is merged with its neighbour only while it is not much larger
//! than what is added, so that each row is rewritten, and indexed again, logarithmically often.

/// How much larger an older fragment or index segment may be than what it is merged with.
const TIER: u64 = 2;
/// Index segments beyond these are merged whatever their size.
const MAX_SEGMENTS: usize = 12;
/// Deleted rows of a fragment that make a rewrite of it worth while, in per cent.
const WORN_PERCENT: u64 = 10;

/// When and how far a table is maintained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Fragments with so many rows are large enough.
    pub(crate) target_rows: u64,
    /// Fragments with so many bytes are large enough.
    pub(crate) target_bytes: u64,
    /// Merge fragments of like size only.
    pub(crate) tiered: bool,
    /// Fragments that can be merged before it is done.
    pub(crate) min_fragments: usize,
    /// Deleted rows of one fragment before it is rewritten for them.
    pub(crate) min_deleted: u64,
    /// Rows without an index before indexes are extended.
    pub(crate) min_unindexed: u64,
    /// Vectors that a segment of a vector index is trained on, at least.
    pub(crate) min_vectors: u64,
    /// Up to so many vectors an index keeps them as they are; more of them as bytes.
    pub(crate) plain_vectors: u64,
    /// Rows that are rewritten in one go.
    pub(crate) max_rows: u64,
}

impl Policy {
    /// On demand: everything that can be better is made better.
    pub(crate) fn thorough() -> Self {
        Self {
            tiered: false,
            min_fragments: 2,
            min_deleted: 1,
            min_unindexed: 1,
            max_rows: u64::MAX,
            ..Self::incremental()
        }
    }

    /// By itself: only what has become worth its price, and so much of it at once.
    pub(crate) fn incremental() -> Self {
        Self {
            target_rows: setting("OMNIGRAPH_MAINTENANCE_TARGET_ROWS", 1 << 20).max(1),
            target_bytes: setting("OMNIGRAPH_MAINTENANCE_TARGET_BYTES", 1 << 28).max(1),
            tiered: true,
            min_fragments: usize::try_from(setting("OMNIGRAPH_MAINTENANCE_FRAGMENTS", 16))
                .unwrap_or(usize::MAX)
                .max(2),
            min_deleted: setting("OMNIGRAPH_MAINTENANCE_DELETED_ROWS", 1_000).max(1),
            min_unindexed: setting("OMNIGRAPH_MAINTENANCE_UNINDEXED_ROWS", 10_000).max(1),
            min_vectors: setting("OMNIGRAPH_VECTOR_INDEX_ROWS", 5_000).max(1),
            plain_vectors: 1 << 20,
            max_rows: setting("OMNIGRAPH_MAINTENANCE_MAX_ROWS", 4 << 20).max(1),
        }
    }
}

/// A number from the environment; what cannot be read counts as not set.
fn setting(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.and_then(|text| text.trim().parse().ok())
        .unwrap_or(default)
}

/// What counts of a fragment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) live: u64,
    pub(super) deleted: u64,
    pub(super) bytes: u64,
    /// The large index segments that have it and cannot be cut: fragments of different ones are
    /// never merged.
    pub(super) tied_to: Vec<usize>,
}

struct Bin {
    fragments: Vec<usize>,
    rows: u64,
    bytes: u64,
}

/// Which fragments, by position, are to be rewritten together; each group in order.
pub(super) fn groups(fragments: &[Size], policy: &Policy) -> Vec<Vec<usize>> {
    let mut closed: Vec<Bin> = Vec::new();
    let mut open: Vec<Bin> = Vec::new();
    for (at, size) in fragments.iter().enumerate() {
        let large =
            size.live + size.deleted >= policy.target_rows || size.bytes >= policy.target_bytes;
        if large && !worn(size) {
            closed.append(&mut open);
            continue;
        }
        if at > 0 && fragments[at - 1].tied_to != size.tied_to {
            closed.append(&mut open);
        }
        open.push(Bin {
            fragments: vec![at],
            rows: size.live,
            bytes: size.bytes,
        });
        while let [.., before, last] = open.as_mut_slice() {
            let full = before.rows >= policy.target_rows || before.bytes >= policy.target_bytes;
            let unlike = policy.tiered && before.rows > TIER * last.rows;
            if full || unlike {
                break;
            }
            before.fragments.append(&mut last.fragments);
            before.rows += last.rows;
            before.bytes += last.bytes;
            open.pop();
        }
    }
    closed.append(&mut open);
    worth_it(closed, fragments, policy)
}

/// Leaves out what would not change, everything while there is too little of it, and what is too
/// much for one go.
fn worth_it(bins: Vec<Bin>, fragments: &[Size], policy: &Policy) -> Vec<Vec<usize>> {
    let bins: Vec<Bin> = bins
        .into_iter()
        .filter(|bin| {
            bin.fragments.len() > 1 || bin.fragments.iter().any(|&at| worn(&fragments[at]))
        })
        .collect();
    let merged: usize = bins
        .iter()
        .map(|bin| bin.fragments.len())
        .filter(|len| *len > 1)
        .sum();
    let much_deleted = bins
        .iter()
        .flat_map(|bin| &bin.fragments)
        .any(|&at| worn(&fragments[at]) && fragments[at].deleted >= policy.min_deleted);
    if merged < policy.min_fragments && !much_deleted {
        return Vec::new();
    }
    let mut rows = 0;
    bins.into_iter()
        .take_while(|bin| {
            let first = rows == 0;
            rows += bin.rows.max(1);
            first || rows <= policy.max_rows
        })
        .map(|bin| bin.fragments)
        .collect()
}

fn worn(size: &Size) -> bool {
    size.deleted * 100 > (size.live + size.deleted) * WORN_PERCENT
}

/// A segment that is to be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NewSegment {
    /// The fragments that it covers, by position.
    pub(super) fragments: Vec<usize>,
    /// The segments that it takes the place of, by position.
    pub(super) replaces: Vec<usize>,
}

/// The segment that an index lacks. `rows` are those of the fragments, `covered` the fragments of
/// each segment that there is.
pub(super) fn segment(
    rows: &[u64],
    covered: &[Vec<usize>],
    min_unindexed: u64,
) -> Option<NewSegment> {
    let mut uncovered = vec![true; rows.len()];
    for &at in covered.iter().flatten() {
        uncovered[at] = false;
    }
    let mut fragments: Vec<usize> = (0..rows.len()).filter(|&at| uncovered[at]).collect();
    let mut new_rows: u64 = fragments.iter().map(|&at| rows[at]).sum();
    if fragments.is_empty() || new_rows < min_unindexed {
        return None;
    }
    let mut by_rows: Vec<(u64, usize)> = covered
        .iter()
        .enumerate()
        .map(|(at, fragments)| (fragments.iter().map(|&f| rows[f]).sum(), at))
        .collect();
    by_rows.sort_unstable();
    let mut replaces = Vec::new();
    for (segment_rows, at) in by_rows {
        let left = covered.len() - replaces.len();
        if segment_rows > TIER * new_rows && left < MAX_SEGMENTS {
            break;
        }
        new_rows += segment_rows;
        fragments.extend(&covered[at]);
        replaces.push(at);
    }
    fragments.sort_unstable();
    fragments.dedup();
    replaces.sort_unstable();
    Some(NewSegment {
        fragments,
        replaces,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(tiered: bool) -> Policy {
        Policy {
            target_rows: 1_000,
            target_bytes: 1 << 20,
            tiered,
            min_fragments: if tiered { 4 } else { 2 },
            min_deleted: if tiered { 100 } else { 1 },
            min_unindexed: 1,
            min_vectors: 1,
            plain_vectors: 1,
            max_rows: 10_000,
        }
    }

    fn sizes(live: &[u64]) -> Vec<Size> {
        live.iter()
            .map(|&live| Size {
                live,
                bytes: live * 10,
                ..Size::default()
            })
            .collect()
    }

    #[test]
    fn on_demand_merges_all_neighbours_that_are_small() {
        let found = groups(&sizes(&[600, 1, 1, 2_000, 5, 5]), &policy(false));
        assert_eq!(found, [vec![0, 1, 2], vec![4, 5]]);
        assert!(groups(&sizes(&[600, 2_000, 5]), &policy(false)).is_empty());
    }

    /// The simpler rule, to merge whatever is small, would rewrite the 900 rows with every pass.
    #[test]
    fn by_itself_it_merges_what_is_of_like_size() {
        let found = groups(&sizes(&[900, 1, 1, 1, 1, 1]), &policy(true));
        assert!(!found.iter().flatten().any(|&at| at == 0), "{found:?}");
        assert!(!found.is_empty());
        assert!(groups(&sizes(&[900, 1, 1]), &policy(true)).is_empty());
    }

    #[test]
    fn fragments_stay_logarithmically_many_at_a_bounded_price() {
        let policy = Policy {
            target_rows: 1 << 20,
            ..policy(true)
        };
        let mut fragments: Vec<u64> = Vec::new();
        let mut rewritten = 0;
        for _ in 0..4_000 {
            fragments.push(1);
            let found = groups(&sizes(&fragments), &policy);
            for group in found.iter().rev() {
                let merged: u64 = group.iter().map(|&at| fragments[at]).sum();
                rewritten += merged;
                fragments.splice(group[0]..=group[group.len() - 1], [merged]);
            }
            assert!(fragments.len() <= 24, "{fragments:?}");
        }
        assert!(rewritten < 4_000 * 16, "{rewritten}");
    }

    #[test]
    fn a_worn_fragment_is_rewritten_alone() {
        let mut fragments = sizes(&[5_000, 5_000]);
        fragments[1].deleted = 900;
        assert_eq!(groups(&fragments, &policy(true)), [vec![1]]);
        fragments[1].deleted = 90;
        assert!(groups(&fragments, &policy(true)).is_empty());
        assert!(groups(&fragments, &policy(false)).is_empty());
    }

    #[test]
    fn a_full_group_takes_no_more() {
        let found = groups(&sizes(&[700, 700, 700, 700]), &policy(false));
        assert_eq!(found, [vec![0, 1], vec![2, 3]]);
    }

    #[test]
    fn fragments_of_different_large_segments_stay_apart() {
        let mut fragments = sizes(&[5, 5, 5, 5]);
        fragments[2].tied_to = vec![1];
        fragments[3].tied_to = vec![1];
        assert_eq!(groups(&fragments, &policy(false)), [vec![0, 1], vec![2, 3]]);
    }

    #[test]
    fn one_go_is_bounded() {
        let bounded = Policy {
            max_rows: 1_500,
            ..policy(false)
        };
        let found = groups(&sizes(&[700, 700, 700, 700]), &bounded);
        assert_eq!(found, [vec![0, 1]]);
    }

    #[test]
    fn a_new_segment_takes_in_those_of_like_size() {
        assert_eq!(segment(&[9, 9], &[vec![0], vec![1]], 1), None);
        let found = segment(&[100, 5, 5, 5], &[vec![0], vec![1]], 1).unwrap();
        assert_eq!((found.fragments, found.replaces), (vec![1, 2, 3], vec![1]));
        // The empty segment that an index begins with goes.
        let found = segment(&[3], &[vec![]], 1).unwrap();
        assert_eq!((found.fragments, found.replaces), (vec![0], vec![0]));
        assert_eq!(segment(&[3], &[], 4), None);
    }

    #[test]
    fn segments_stay_logarithmically_many() {
        let mut rows = Vec::new();
        let mut covered: Vec<Vec<usize>> = Vec::new();
        let mut indexed = 0;
        for at in 0..1_000 {
            rows.push(1);
            let new = segment(&rows, &covered, 1).unwrap();
            assert!(new.fragments.contains(&at));
            indexed += new.fragments.len();
            for &gone in new.replaces.iter().rev() {
                covered.remove(gone);
            }
            covered.push(new.fragments);
            assert!(covered.len() <= MAX_SEGMENTS);
        }
        assert!(indexed < 1_000 * 16, "{indexed}");
    }
}
