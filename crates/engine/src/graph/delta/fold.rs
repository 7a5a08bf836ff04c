//! Around rewrites without logical change: compaction replaces fragments, so versions on both sides
//! of it have no fragment in common. The history between them is cut at such commits, each piece is
//! compared by itself, and the pieces are folded.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use omnigraph_lang::schema::TypeId;

use super::fragments::{estimate, one_sided};
use super::read::Version;
use super::table::EAGER_ROWS;
use super::{Change, Side, TableDelta, same_entity};
use crate::error::{ErrorKind, Result};
use crate::graph::{Commit, CommitKind, Graph, TableRef};

/// Commits that a search through the history may look at, beside one for each `ROWS_PER_STEP` rows
/// that comparing directly would read.
const MIN_STEPS: usize = 64;
const ROWS_PER_STEP: usize = 64;

/// Stretches of history without a rewrite of the table, oldest first.
type Pieces = Vec<(Arc<Commit>, Arc<Commit>)>;

impl Graph {
    /// What changed in one table. A version that both sides have costs nothing; a small difference
    /// is read directly; behind a large one may be a rewrite.
    pub(crate) async fn table_delta(
        &self,
        from: &Side,
        to: &Side,
        id: TypeId,
    ) -> Result<TableDelta> {
        self.table_delta_with(from, to, id, EAGER_ROWS).await
    }

    /// The same, with another number of rows up to which a difference counts as small.
    pub(super) async fn table_delta_with(
        &self,
        from: &Side,
        to: &Side,
        id: TypeId,
        eager: usize,
    ) -> Result<TableDelta> {
        let (old, new) = (table_of(from, id), table_of(to, id));
        if old == new {
            return Ok(TableDelta::empty());
        }
        let before = self.version(from, from, id).await?;
        let after = self.version(to, to, id).await?;
        let datasets = (
            before.as_ref().map(|v| &v.dataset),
            after.as_ref().map(|v| &v.dataset),
        );
        let about = estimate(datasets.0.map(AsRef::as_ref), datasets.1.map(AsRef::as_ref));
        if about > eager
            && old.is_some()
            && new.is_some()
            && let Some(pieces) = self.pieces(&from.commit, &to.commit, id, about).await?
        {
            match self.folded(from, to, id, pieces, eager).await {
                // What lies between may be reclaimed, as between an old merge base and a head: the
                // two ends say it all, only with more work.
                Err(error) if error.kind() == ErrorKind::Corrupt => {}
                folded => return folded,
            }
        }
        let rows = one_sided(datasets.0, datasets.1).await?;
        TableDelta::direct(before, after, rows, eager).await
    }

    /// The table at `at`, with rows as `wanted` declares them.
    async fn version(&self, at: &Side, wanted: &Side, id: TypeId) -> Result<Option<Version>> {
        let Some(table) = table_of(at, id) else {
            return Ok(None);
        };
        Ok(Some(Version {
            id,
            dataset: self.tables().open(table).await?,
            stored: at.schema.clone(),
            wanted: wanted.schema.clone(),
        }))
    }

    async fn folded(
        &self,
        from: &Side,
        to: &Side,
        id: TypeId,
        pieces: Pieces,
        eager: usize,
    ) -> Result<TableDelta> {
        let (Some(old_type), Some(new_type)) = (from.entity(id), to.entity(id)) else {
            return Ok(TableDelta::empty());
        };
        let mut all: BTreeMap<String, Change> = BTreeMap::new();
        for (start, end) in pieces {
            let (start, end) = (self.side(&start).await?, self.side(&end).await?);
            let before = self.version(&start, from, id).await?;
            let after = self.version(&end, to, id).await?;
            let rows = one_sided(
                before.as_ref().map(|v| &v.dataset),
                after.as_ref().map(|v| &v.dataset),
            )
            .await?;
            let piece = TableDelta::direct(before, after, rows, eager)
                .await?
                .all()
                .await?;
            for (entity, change) in piece {
                match all.entry(entity) {
                    Entry::Vacant(entry) => {
                        entry.insert(change);
                    }
                    Entry::Occupied(mut entry) => {
                        entry.get_mut().after = change.after;
                    }
                }
            }
        }
        let mut kept = BTreeMap::new();
        for (entity, change) in all {
            let differs = match (&change.before, &change.after) {
                (None, None) => false,
                (Some(old), Some(new)) => !same_entity(old, old_type, new, new_type)?,
                _ => true,
            };
            if differs {
                kept.insert(entity, change);
            }
        }
        Ok(TableDelta::Known(kept))
    }

    /// The stretches between the rewrites of a table on the way from one commit to another; `None`
    /// where there was no rewrite, or no way was found with reasonable effort.
    async fn pieces(
        &self,
        from: &Arc<Commit>,
        to: &Arc<Commit>,
        id: TypeId,
        rows: usize,
    ) -> Result<Option<Pieces>> {
        let steps = MIN_STEPS + rows / ROWS_PER_STEP;
        let mut pieces = self.way_back(to, from.tables.get(&id), id, steps).await?;
        if pieces.is_none() {
            let back = self.way_back(from, to.tables.get(&id), id, steps).await?;
            pieces = back.map(reversed);
        }
        if pieces.is_none()
            && let Some(base) = self.merge_base(from, to).await?
        {
            let table = base.tables.get(&id);
            let back = self.way_back(from, table, id, steps).await?;
            let forth = self.way_back(to, table, id, steps).await?;
            if let (Some(back), Some(forth)) = (back, forth) {
                let mut way = reversed(back);
                way.extend(forth);
                // Direct comparison has no turning point to fold around.
                return Ok((way.len() > 2).then_some(way));
            }
        }
        Ok(pieces.filter(|pieces| pieces.len() > 1))
    }

    /// From a commit back to one at which the table is at `wanted`, oldest stretch first.
    async fn way_back(
        &self,
        from: &Arc<Commit>,
        wanted: Option<&TableRef>,
        id: TypeId,
        steps: usize,
    ) -> Result<Option<Pieces>> {
        let mut pieces = Pieces::new();
        let mut end = from.clone();
        let mut at = from.clone();
        for _ in 0..steps {
            let table = at.tables.get(&id);
            if table == wanted {
                pieces.push((at, end));
                pieces.reverse();
                return Ok(Some(pieces));
            }
            let Some(first) = self.first_parent(&at).await? else {
                return Ok(None);
            };
            let mut next = first;
            if let Some(second) = at.parents.get(1)
                && next.tables.get(&id) != table
                && let Some(second) = self.parent(second).await?
                && second.tables.get(&id) == table
            {
                next = second;
            }
            if at.kind == CommitKind::Maintenance && next.tables.get(&id) != table {
                pieces.push((at, end));
                end = next.clone();
            }
            at = next;
        }
        Ok(None)
    }
}

/// The same way in the other direction.
fn reversed(pieces: Pieces) -> Pieces {
    let turned = pieces.into_iter().rev();
    turned.map(|(start, end)| (end, start)).collect()
}

/// The table of a type that the side's schema has.
fn table_of(side: &Side, id: TypeId) -> Option<&TableRef> {
    side.entity(id)?;
    side.commit.tables.get(&id)
}
