//! The changes of one table: found by id at once, read as they are asked for.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;

use super::fragments::{OneSided, Rows};
use super::read::Version;
use super::{Change, Op, RowRef, same_entity};
use crate::error::{Error, Result};

/// Up to so many rows are read whole at once; of more, the ids are read first.
pub(crate) const EAGER_ROWS: usize = 8192;
/// Rows that are read whole together where all are wanted.
const CHUNK_ROWS: usize = 16_384;

/// The changes of one table between two versions.
pub(crate) enum TableDelta {
    /// Their values are at hand.
    Known(BTreeMap<String, Change>),
    /// Their ids are; values are read when a part is asked for.
    Lazy(Box<Lazy>),
}

/// Entities of which at least one side has a row of its own.
pub(crate) struct Lazy {
    before: Option<Version>,
    after: Option<Version>,
    rows: OneSided,
    /// Ascending by id.
    candidates: Vec<Candidate>,
}

struct Candidate {
    id: Box<str>,
    before: Option<Place>,
    after: Option<Place>,
}

/// Which entry of the one-sided rows, and which offset in its fragment.
#[derive(Clone, Copy)]
struct Place {
    entry: u32,
    offset: u32,
}

impl TableDelta {
    pub(super) fn empty() -> Self {
        Self::Known(BTreeMap::new())
    }

    /// Compares two versions of a table whose one-sided rows are known.
    pub(super) async fn direct(
        before: Option<Version>,
        after: Option<Version>,
        rows: OneSided,
        eager_rows: usize,
    ) -> Result<Self> {
        if rows.rows() == 0 {
            return Ok(Self::empty());
        }
        if rows.rows() <= eager_rows {
            return eager(before.as_ref(), after.as_ref(), &rows).await;
        }
        let mut found: BTreeMap<Box<str>, (Option<Place>, Option<Place>)> = BTreeMap::new();
        for (version, entries, is_after) in [
            (before.as_ref(), &rows.before, false),
            (after.as_ref(), &rows.after, true),
        ] {
            let Some(version) = version else { continue };
            let ids = version.ids(entries).await?;
            for (entry, (rows, ids)) in entries.iter().zip(ids).enumerate() {
                let ids = ids
                    .as_string_opt::<i32>()
                    .ok_or_else(|| Error::corrupt("the ids of a table are no text"))?;
                for (row, offset) in rows.offsets.iter().enumerate() {
                    let place = Some(Place {
                        entry: entry as u32,
                        offset: *offset,
                    });
                    let places = found.entry(ids.value(row).into()).or_default();
                    match is_after {
                        false => places.0 = place,
                        true => places.1 = place,
                    }
                }
            }
        }
        let candidates = found
            .into_iter()
            .map(|(id, (before, after))| Candidate { id, before, after })
            .collect();
        Ok(Self::Lazy(Box::new(Lazy {
            before,
            after,
            rows,
            candidates,
        })))
    }

    /// An upper bound of the number of changes.
    pub(crate) fn at_most(&self) -> usize {
        match self {
            Self::Known(changes) => changes.len(),
            Self::Lazy(lazy) => lazy.candidates.len(),
        }
    }

    /// Ids of what may have changed, from this text on.
    pub(crate) fn ids_from<'a>(
        &'a self,
        start: &str,
    ) -> Box<dyn Iterator<Item = &'a str> + Send + 'a> {
        match self {
            Self::Known(changes) => {
                let from = (std::ops::Bound::Included(start), std::ops::Bound::Unbounded);
                Box::new(changes.range::<str, _>(from).map(|(id, _)| id.as_str()))
            }
            Self::Lazy(lazy) => {
                let at = lazy.candidates.partition_point(|c| c.id.as_ref() < start);
                Box::new(lazy.candidates[at..].iter().map(|c| c.id.as_ref()))
            }
        }
    }

    /// How many entities changed. Only entities that both sides have are read.
    pub(crate) async fn count(&self) -> Result<Counts> {
        let mut counts = Counts::default();
        match self {
            Self::Known(changes) => changes.values().for_each(|change| counts.add(change.op())),
            Self::Lazy(lazy) => {
                let mut both = 0;
                for candidate in &lazy.candidates {
                    match (&candidate.before, &candidate.after) {
                        (None, _) => counts.inserted += 1,
                        (Some(_), None) => counts.deleted += 1,
                        (Some(_), Some(_)) => both += 1,
                    }
                }
                let mut start = 0;
                while both > 0 && start < lazy.candidates.len() {
                    let end = lazy.candidates.len().min(start + CHUNK_ROWS);
                    counts.updated += lazy.updates(start..end).await?;
                    start = end;
                }
            }
        }
        Ok(counts)
    }

    /// Every change, by id.
    pub(crate) async fn all(self) -> Result<BTreeMap<String, Change>> {
        let lazy = match self {
            Self::Known(changes) => return Ok(changes),
            Self::Lazy(lazy) => lazy,
        };
        let mut all = BTreeMap::new();
        let mut start = 0;
        while start < lazy.candidates.len() {
            let end = lazy.candidates.len().min(start + CHUNK_ROWS);
            all.extend(lazy.load(start..end).await?);
            start = end;
        }
        Ok(all)
    }

    /// Up to `limit` of the next candidates behind an id, without those that turn out equal, and
    /// whether that was the end. Only what is returned is read.
    pub(crate) async fn part(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<(String, Change)>, Rest)> {
        match self {
            Self::Known(changes) => {
                let start = match after {
                    Some(after) => std::ops::Bound::Excluded(after),
                    None => std::ops::Bound::Unbounded,
                };
                let mut range = changes.range::<str, _>((start, std::ops::Bound::Unbounded));
                let part = range.by_ref().take(limit);
                let part: Vec<(String, Change)> = part
                    .map(|(id, change)| (id.clone(), change.clone()))
                    .collect();
                let rest = match (range.next(), part.last()) {
                    (Some(_), Some((id, _))) => Rest::Behind(id.clone()),
                    _ => Rest::Nothing,
                };
                Ok((part, rest))
            }
            Self::Lazy(lazy) => {
                let start = after.map_or(0, |after| {
                    lazy.candidates.partition_point(|c| c.id.as_ref() <= after)
                });
                let end = lazy.candidates.len().min(start.saturating_add(limit));
                let part = lazy.load(start..end).await?;
                let rest = if end < lazy.candidates.len() && end > start {
                    Rest::Behind(lazy.candidates[end - 1].id.to_string())
                } else {
                    Rest::Nothing
                };
                Ok((part, rest))
            }
        }
    }
}

/// Numbers of changed entities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) inserted: u64,
    pub(crate) updated: u64,
    pub(crate) deleted: u64,
}

impl Counts {
    fn add(&mut self, op: Op) {
        match op {
            Op::Insert => self.inserted += 1,
            Op::Update => self.updated += 1,
            Op::Delete => self.deleted += 1,
        }
    }
}

/// What is behind a part of the changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing.
    Nothing,
    /// Perhaps more, behind this id.
    Behind(String),
}

impl Lazy {
    async fn load(&self, range: Range<usize>) -> Result<Vec<(String, Change)>> {
        self.read(self.candidates[range].iter().collect()).await
    }

    /// How many entities in this range have other values than before.
    async fn updates(&self, range: Range<usize>) -> Result<u64> {
        let candidates = self.candidates[range].iter();
        let both = candidates.filter(|c| c.before.is_some() && c.after.is_some());
        Ok(self.read(both.collect()).await?.len() as u64)
    }

    async fn read(&self, candidates: Vec<&Candidate>) -> Result<Vec<(String, Change)>> {
        let before = pick(&candidates, |candidate| candidate.before);
        let after = pick(&candidates, |candidate| candidate.after);
        let before = fetch(self.before.as_ref(), &self.rows.before, &before).await?;
        let after = fetch(self.after.as_ref(), &self.rows.after, &after).await?;
        let mut changes = Vec::with_capacity(candidates.len());
        for ((candidate, before), after) in candidates.iter().zip(before).zip(after) {
            let change = Change { before, after };
            if differs(self.before.as_ref(), self.after.as_ref(), &change)? {
                changes.push((candidate.id.to_string(), change));
            }
        }
        Ok(changes)
    }
}

fn pick(
    candidates: &[&Candidate],
    place: impl Fn(&Candidate) -> Option<Place>,
) -> Vec<Option<Place>> {
    candidates
        .iter()
        .map(|candidate| place(candidate))
        .collect()
}

/// The rows at these places, in this order.
async fn fetch(
    version: Option<&Version>,
    entries: &[Rows],
    places: &[Option<Place>],
) -> Result<Vec<Option<RowRef>>> {
    let Some(version) = version else {
        return Ok(vec![None; places.len()]);
    };
    let mut by_entry: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for place in places.iter().flatten() {
        by_entry.entry(place.entry).or_default().push(place.offset);
    }
    let mut wanted = Vec::with_capacity(by_entry.len());
    for (entry, offsets) in &mut by_entry {
        offsets.sort_unstable();
        wanted.push(Rows {
            fragment: entries[*entry as usize].fragment.clone(),
            offsets: offsets.clone(),
        });
    }
    let batches = version.rows(&wanted).await?;
    let positions: BTreeMap<u32, usize> =
        by_entry.keys().enumerate().map(|(i, e)| (*e, i)).collect();
    let find = |place: &Place| {
        let at = *positions.get(&place.entry)?;
        let row = wanted[at].offsets.binary_search(&place.offset).ok()?;
        Some(RowRef {
            batch: batches[at].clone(),
            row,
        })
    };
    Ok(places
        .iter()
        .map(|place| place.as_ref().and_then(find))
        .collect())
}

/// Reads all rows at once.
async fn eager(
    before: Option<&Version>,
    after: Option<&Version>,
    rows: &OneSided,
) -> Result<TableDelta> {
    let mut changes: BTreeMap<String, Change> = BTreeMap::new();
    if let Some(version) = before {
        each(version.rows(&rows.before).await?, |row| {
            let change = Change {
                before: Some(row.clone()),
                after: None,
            };
            changes.insert(row.id().to_owned(), change);
        });
    }
    if let Some(version) = after {
        each(version.rows(&rows.after).await?, |row| {
            match changes.entry(row.id().to_owned()) {
                Entry::Occupied(mut entry) => entry.get_mut().after = Some(row),
                Entry::Vacant(entry) => {
                    entry.insert(Change {
                        before: None,
                        after: Some(row),
                    });
                }
            }
        });
    }
    let mut kept = BTreeMap::new();
    for (id, change) in changes {
        if differs(before, after, &change)? {
            kept.insert(id, change);
        }
    }
    Ok(TableDelta::Known(kept))
}

fn each(batches: Vec<Arc<RecordBatch>>, mut use_row: impl FnMut(RowRef)) {
    for batch in batches {
        for row in 0..batch.num_rows() {
            use_row(RowRef {
                batch: batch.clone(),
                row,
            });
        }
    }
}

fn differs(before: Option<&Version>, after: Option<&Version>, change: &Change) -> Result<bool> {
    match (&change.before, &change.after, before, after) {
        (Some(old), Some(new), Some(before), Some(after)) => {
            Ok(!same_entity(old, before.wanted()?, new, after.wanted()?)?)
        }
        (None, None, _, _) => Ok(false),
        _ => Ok(true),
    }
}
