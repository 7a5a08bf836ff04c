//! What is noted of all rows until the end: in memory as long as it fits, else in sorted runs.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use omnigraph_lang::schema::TypeId;

use super::collect::Progress;
use super::memory::{Part, Shares};
use super::plan::Plan;
use super::row_set::RowSet;
use super::spill::{Origin, RunWriter, Section, Spill};
use crate::error::{Error, ErrorKind, Result};
use crate::write::added::{Added, AddedType};
use crate::write::keys::TupleHasher;

/// Collects them.
pub(super) struct Keys {
    plan: Arc<Plan>,
    progress: Arc<Progress>,
    shares: Shares,
    /// What is in memory: all, or what came after the last run.
    pub(super) added: Added,
    spilled: Option<Spilled>,
}

/// All of them.
pub(super) enum Noted {
    InMemory(Added),
    Spilled(Arc<Spilled>),
}

/// What lies in sorted runs, and what is small enough to be in memory always.
pub(super) struct Spilled {
    pub(super) spill: Spill,
    pub(super) types: BTreeMap<usize, SpilledType>,
    pub(super) hasher: TupleHasher,
    pub(super) shares: Shares,
    pub(super) progress: Arc<Progress>,
}

/// Rows of one type.
#[derive(Clone, Default)]
pub(super) struct SpilledType {
    pub(super) rows: u32,
    /// Rows that a later row with the same id replaces, as far as that was seen at once.
    pub(super) superseded: RowSet,
}

impl Keys {
    pub(super) fn new(plan: Arc<Plan>, progress: Arc<Progress>, shares: Shares) -> Self {
        Self {
            plan,
            progress,
            shares,
            added: Added::default(),
            spilled: None,
        }
    }

    /// Whether some of it lies in runs.
    pub(super) fn has_runs(&self) -> bool {
        self.spilled.is_some()
    }

    /// Writes a run when there is too much in memory.
    pub(super) async fn balance(self) -> Result<Self> {
        let bytes = self.added.bytes();
        self.account(bytes);
        if bytes <= self.shares.keys {
            return Ok(self);
        }
        self.spill().await
    }

    /// All that was noted, in one form.
    pub(super) async fn finish(self) -> Result<Noted> {
        if self.spilled.is_none() {
            return Ok(Noted::InMemory(self.added));
        }
        match self.spill().await?.spilled {
            Some(spilled) => Ok(Noted::Spilled(Arc::new(spilled))),
            None => Err(Error::internal("spilled keys are lost")),
        }
    }

    fn account(&self, bytes: usize) {
        let sets = self
            .spilled
            .iter()
            .flat_map(|spilled| spilled.types.values());
        let sets: usize = sets.map(|rows| rows.superseded.bytes()).sum();
        self.progress.meter.set(Part::Keys, bytes + sets);
    }

    /// Sorting and writing block, so they leave the async threads.
    async fn spill(mut self) -> Result<Self> {
        let spilled = tokio::task::spawn_blocking(move || {
            self.write_run()?;
            Ok(self)
        });
        spilled
            .await
            .map_err(|e| Error::internal("sorting keys stopped early").with_source(e))?
    }

    fn write_run(&mut self) -> Result<()> {
        let spilled = self.spilled.get_or_insert_with(|| Spilled {
            spill: Spill::new(Arc::clone(&self.progress), self.shares.keys / 2),
            types: BTreeMap::new(),
            hasher: self.added.hasher.clone(),
            shares: self.shares,
            progress: Arc::clone(&self.progress),
        });
        let run = Run {
            plan: &self.plan,
            added: &self.added,
            spilled: &spilled.types,
            progress: &self.progress,
        };
        spilled.spill.add(|writer| run.write(writer))?;
        for (position, plan) in self.plan.types.iter().enumerate() {
            let Some(added) = self.added.get(plan.id).filter(|added| added.rows() > 0) else {
                continue;
            };
            let known = spilled.types.entry(position).or_default();
            for row in &added.superseded {
                known.superseded.insert(known.rows + row);
            }
            let rows = u32::try_from(added.rows()).ok();
            let rows = rows.and_then(|rows| known.rows.checked_add(rows));
            known.rows = rows.filter(|rows| *rows < u32::MAX).ok_or_else(|| {
                Error::new(
                    ErrorKind::ResourceLimit,
                    "one load can hold at most 4,294,967,294 rows of a type, split the input",
                )
            })?;
        }
        self.added.clear();
        self.progress.meter.set(Part::Sorting, 0);
        self.account(0);
        Ok(())
    }
}

impl Spilled {
    pub(super) fn rows(&self, position: usize) -> u32 {
        self.types.get(&position).map_or(0, |rows| rows.rows)
    }
}

impl Noted {
    /// Rows of a type, superseded ones included.
    pub(super) fn rows(&self, position: usize, id: TypeId) -> u64 {
        match self {
            Self::InMemory(added) => added.get(id).map_or(0, |added| added.rows() as u64),
            Self::Spilled(spilled) => u64::from(spilled.rows(position)),
        }
    }
}

/// What is in memory, on its way into a run.
struct Run<'a> {
    plan: &'a Plan,
    added: &'a Added,
    /// The rows of earlier runs.
    spilled: &'a BTreeMap<usize, SpilledType>,
    progress: &'a Progress,
}

impl Run<'_> {
    fn write(&self, writer: &mut RunWriter) -> io::Result<()> {
        for (position, plan) in self.plan.types.iter().enumerate() {
            let Some(added) = self.added.get(plan.id) else {
                continue;
            };
            let ranks = self.ids(position, added, writer)?;
            if !plan.is_edge() {
                self.ends(position, added, &ranks, writer)?;
            }
            self.uniques(position, added, writer)?;
        }
        Ok(())
    }

    fn origin(&self, position: usize, added: &AddedType, row: usize, kind: u32) -> Origin {
        let first = self.spilled.get(&position).map_or(0, |rows| rows.rows);
        let line = added.line(row).and_then(|line| u32::try_from(line).ok());
        Origin {
            kind,
            // Rows are counted up to the limit of this type by the collector.
            row: first.saturating_add(u32::try_from(row).unwrap_or(u32::MAX)),
            line: line.unwrap_or(0),
        }
    }

    /// Writes the ids of rows. Gives the rank of each id among all, by its number.
    fn ids(
        &self,
        position: usize,
        added: &AddedType,
        writer: &mut RunWriter,
    ) -> io::Result<Vec<u32>> {
        let count = u32::try_from(added.ids.len()).unwrap_or(u32::MAX);
        let mut sorted: Vec<u32> = (0..count).collect();
        sorted.sort_unstable_by(|a, b| added.ids.get(*a).cmp(added.ids.get(*b)));
        let mut repeats = added.repeats.clone();
        repeats.sort_unstable();
        writer.begin(Section::Ids(position));
        for number in &sorted {
            let again = repeats.partition_point(|(other, _)| other < number);
            let again = repeats[again..]
                .iter()
                .take_while(|(other, _)| other == number);
            let again = again.map(|(_, row)| *row as usize);
            for row in added.row_with(*number).into_iter().chain(again) {
                let origin = self.origin(position, added, row, 0);
                writer.put(added.ids.get(*number).as_bytes(), origin)?;
            }
        }
        let mut ranks = vec![0; sorted.len()];
        for (rank, number) in (0..).zip(&sorted) {
            if let Some(place) = ranks.get_mut(*number as usize) {
                *place = rank;
            }
        }
        Ok(ranks)
    }

    /// Writes which edges refer to the ids of a node type.
    fn ends(
        &self,
        node: usize,
        nodes: &AddedType,
        ranks: &[u32],
        writer: &mut RunWriter,
    ) -> io::Result<()> {
        let mut ends: Vec<(u32, u32, Origin)> = Vec::new();
        for (position, plan) in self.plan.types.iter().enumerate() {
            let (Some(types), Some(added)) = (plan.ends, self.added.get(plan.id)) else {
                continue;
            };
            for end in (0..2).filter(|end| types[*end] == node) {
                let kind = end_kind(position, if end == 0 { What::From } else { What::To });
                for row in added.live() {
                    let number = added.ends[row][end];
                    let rank = ranks.get(number as usize).copied().unwrap_or(0);
                    ends.push((rank, number, self.origin(position, added, row, kind)));
                }
            }
        }
        let sorting = ends.capacity() * size_of::<(u32, u32, Origin)>() + ranks.len() * 8;
        self.progress.meter.set(Part::Sorting, sorting);
        ends.sort_unstable_by_key(|(rank, _, origin)| (*rank, *origin));
        writer.begin(Section::Ends(node));
        for (_, number, origin) in ends {
            writer.put(nodes.ids.get(number).as_bytes(), origin)?;
        }
        Ok(())
    }

    fn uniques(
        &self,
        position: usize,
        added: &AddedType,
        writer: &mut RunWriter,
    ) -> io::Result<()> {
        for (at, tuples) in added.tuples.iter().enumerate() {
            let rows = added.live().filter(|row| tuples.get(*row) != Some(&0));
            let mut sorted: Vec<(u128, usize)> = rows
                .filter_map(|row| Some((*tuples.get(row)?, row)))
                .collect();
            let sorting = sorted.capacity() * size_of::<(u128, usize)>();
            self.progress.meter.set(Part::Sorting, sorting);
            sorted.sort_unstable();
            writer.begin(Section::Unique(position, at));
            for (tuple, row) in sorted {
                let origin = self.origin(position, added, row, 0);
                writer.put(&tuple.to_be_bytes(), origin)?;
            }
        }
        Ok(())
    }
}

/// What refers to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// An added edge that begins there.
    From,
    /// An added edge that ends there.
    To,
    /// A stored edge that begins at a node of an emptied table.
    StoredFrom,
    /// A stored edge that ends at a node of an emptied table.
    StoredTo,
    /// A stored edge that begins there and goes.
    Leaves,
    /// A stored edge that begins there and stays.
    Stays,
}

const WHATS: [What; 6] = [
    What::From,
    What::To,
    What::StoredFrom,
    What::StoredTo,
    What::Leaves,
    What::Stays,
];

/// The kind of a record in [`Section::Ends`]: an edge type's position, and what it says.
pub(super) fn end_kind(edge: usize, what: What) -> u32 {
    u32::try_from(edge).unwrap_or(u32::MAX >> 3) << 3 | what as u32
}

/// What [`end_kind`] was made of.
pub(super) fn of_kind(kind: u32) -> Option<(usize, What)> {
    let what = WHATS.get((kind & 7) as usize)?;
    Some(((kind >> 3) as usize, *what))
}
