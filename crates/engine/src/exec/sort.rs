//! The order of rows, made in steps: between two of them the query may end, and others have their
//! turn.

use std::cmp::Ordering;

use super::order::Key;
use super::rows::Guard;
use crate::error::Result;

/// Rows that are sorted, merged or chosen from in one step. Small in tests, so that every one of
/// them that sorts merges, too.
const STEP: usize = if cfg!(test) { 64 } else { 1 << 16 };

/// The rows `skip..skip + limit` of the order that the keys give, as row numbers.
///
/// # Errors
/// `Deadline` with R450.
pub(crate) async fn top(
    rows: usize,
    keys: &[Key],
    skip: usize,
    limit: Option<usize>,
    guard: &mut Guard,
) -> Result<Vec<u32>> {
    let compare = |a: u32, b: u32| {
        let mut orders = keys.iter().map(|key| key.compare(a as usize, b as usize));
        orders
            .find(|order| order.is_ne())
            .unwrap_or_else(|| a.cmp(&b))
    };
    let end = limit.map_or(rows, |limit| skip.saturating_add(limit).min(rows));
    if skip >= end {
        return Ok(Vec::new());
    }
    let some = match end < rows / 2 {
        true => first(rows, end, &compare, guard).await?,
        false => (0..rows as u32).collect(),
    };
    let mut order = sort(some, &compare, guard).await?;
    order.truncate(end);
    order.drain(..skip);
    Ok(order)
}

/// The `end` rows that come first, in no order.
async fn first(
    rows: usize,
    end: usize,
    compare: &(impl Fn(u32, u32) -> Ordering + Sync),
    guard: &mut Guard,
) -> Result<Vec<u32>> {
    // Choosing takes time by what is chosen from, so a step is not much less than what is kept.
    let step = STEP.max(end);
    let mut best: Vec<u32> = Vec::with_capacity(end + step);
    let mut next = 0;
    while next < rows {
        let begin = next;
        next = (begin + step).min(rows);
        let candidates = begin as u32..next as u32;
        match best.get(end - 1).copied() {
            Some(worst) => best.extend(candidates.filter(|row| compare(*row, worst).is_lt())),
            None => best.extend(candidates),
        }
        if best.len() >= end {
            // Leaves the last of those that are kept in the last place.
            best.select_nth_unstable_by(end - 1, |a, b| compare(*a, *b));
            best.truncate(end);
        }
        guard.pause().await?;
    }
    Ok(best)
}

/// Sorted runs, and merges of two at a time. As fast as one sort of the whole: the runs fit into the
/// processor's cache. `compare` finds no two rows equal.
async fn sort(
    mut order: Vec<u32>,
    compare: &(impl Fn(u32, u32) -> Ordering + Sync),
    guard: &mut Guard,
) -> Result<Vec<u32>> {
    for run in order.chunks_mut(STEP) {
        run.sort_unstable_by(|a, b| compare(*a, *b));
        guard.pause().await?;
    }
    let mut width = STEP;
    while width < order.len() {
        let mut merged = Vec::with_capacity(order.len());
        for pair in order.chunks(2 * width) {
            let (left, right) = pair.split_at(width.min(pair.len()));
            merge(left, right, &mut merged, compare, guard).await?;
        }
        order = merged;
        width *= 2;
    }
    Ok(order)
}

async fn merge(
    mut left: &[u32],
    mut right: &[u32],
    out: &mut Vec<u32>,
    compare: &(impl Fn(u32, u32) -> Ordering + Sync),
    guard: &mut Guard,
) -> Result<()> {
    // Rows often are in order already, or in the reverse one.
    if let (Some(a), Some(b)) = (right.last(), left.first())
        && compare(*a, *b).is_lt()
    {
        (left, right) = (right, left);
    }
    let apart =
        matches!((left.last(), right.first()), (Some(a), Some(b)) if compare(*a, *b).is_lt());
    while !apart && !left.is_empty() && !right.is_empty() {
        let stop = out.len() + STEP;
        while out.len() < stop
            && let ([a, left_rest @ ..], [b, right_rest @ ..]) = (left, right)
        {
            if compare(*a, *b).is_lt() {
                out.push(*a);
                left = left_rest;
            } else {
                out.push(*b);
                right = right_rest;
            }
        }
        guard.pause().await?;
    }
    out.extend_from_slice(left);
    out.extend_from_slice(right);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::exec::order::KeyValues;
    use crate::exec::rows::tests::ticking;

    /// Numbers without order, with ties, and in order.
    fn inputs(rows: usize) -> [Vec<u32>; 4] {
        let mut state = 0x9e37_79b9_u32;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state
        };
        [
            (0..rows).map(|_| random()).collect(),
            (0..rows).map(|_| random() % 5).collect(),
            (0..rows as u32).collect(),
            (0..rows as u32).rev().collect(),
        ]
    }

    fn keys(values: &[u32]) -> [Key; 1] {
        [Key {
            values: KeyValues::Rank(values.to_vec()),
            descending: false,
            nulls_last: false,
        }]
    }

    #[tokio::test]
    async fn steps_give_what_one_sort_gives() {
        for rows in [0, 1, 2, 63, 64, 65, 128, 129, 500, 1000] {
            for values in inputs(rows) {
                let mut whole: Vec<u32> = (0..rows as u32).collect();
                whole.sort_by_key(|row| (values[*row as usize], *row));
                for (skip, limit) in [
                    (0, None),
                    (0, Some(0)),
                    (0, Some(1)),
                    (3, Some(7)),
                    (70, Some(90)),
                    (rows / 2, None),
                    (rows + 1, Some(2)),
                    (usize::MAX, Some(usize::MAX)),
                ] {
                    let (mut guard, _) = ticking(u64::MAX);
                    let found = top(rows, &keys(&values), skip, limit, &mut guard).await;
                    let expected: Vec<u32> = (whole.iter().copied())
                        .skip(skip)
                        .take(limit.unwrap_or(rows))
                        .collect();
                    assert_eq!(found.unwrap(), expected, "{rows} rows, {skip}, {limit:?}");
                }
            }
        }
    }

    /// Wherever in a sort the time is over, the sort ends there.
    #[tokio::test]
    async fn a_sort_ends_when_its_time_is_over() {
        let rows = 1000;
        for (values, limit) in [(0, None), (1, None), (0, Some(10)), (0, Some(300))] {
            let keys = keys(&inputs(rows)[values]);
            let (mut guard, looked) = ticking(u64::MAX);
            top(rows, &keys, 0, limit, &mut guard).await.unwrap();
            let looks = looked();
            // At least once for every step of each pass.
            assert!(
                looks >= (rows / STEP.max(limit.unwrap_or(0))) as u64,
                "{looks}"
            );
            for at in 1..=looks {
                let (mut guard, looked) = ticking(at);
                let error = top(rows, &keys, 0, limit, &mut guard).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Deadline);
                assert_eq!(looked(), at, "it goes no further");
            }
        }
    }
}
