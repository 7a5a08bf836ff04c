//! What changed between two commits, read off the fragments and deletion files that their tables'
//! versions list, so that it costs what changed and not what there is (storage protocol, section 6).

mod ancestor;
mod fold;
mod fragments;
mod read;
mod row;
mod table;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use omnigraph_lang::schema::{EntityKind, EntityType, TypeId};

pub(crate) use self::row::{RowRef, same_cell, same_entity};
pub(crate) use self::table::{Rest, TableDelta};
use super::{Commit, Graph, SchemaVersion, Touched};
use crate::error::Result;

/// Tables that are compared in parallel.
const TABLES_AT_ONCE: usize = 8;

/// What happened to one entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Op {
    Insert,
    Update,
    Delete,
}

/// What became of one entity. Never without both; with both, at least one value differs.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// The entity as it was, with the columns of the older side's type.
    pub(crate) before: Option<RowRef>,
    /// The entity as it is, with the columns of the newer side's type.
    pub(crate) after: Option<RowRef>,
}

/// The changes of one type, by entity id.
#[derive(Clone, Debug)]
pub(crate) struct TypeDelta {
    pub(crate) id: TypeId,
    pub(crate) changes: BTreeMap<String, Change>,
}

/// One commit of a comparison, with its schema.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    pub(crate) commit: Arc<Commit>,
    pub(crate) schema: Arc<SchemaVersion>,
}

/// What changed from one commit to another. Types without a change do not occur.
#[derive(Clone, Debug)]
pub(crate) struct Delta {
    pub(crate) from: Side,
    pub(crate) to: Side,
    pub(crate) types: BTreeMap<TypeId, TypeDelta>,
}

impl Change {
    pub(crate) fn op(&self) -> Op {
        match (&self.before, &self.after) {
            (None, _) => Op::Insert,
            (Some(_), Some(_)) => Op::Update,
            (Some(_), None) => Op::Delete,
        }
    }
}

impl Side {
    /// The type at this commit, if there is one.
    pub(crate) fn entity(&self, id: TypeId) -> Option<EntityType<'_>> {
        self.schema.catalog.entity(id)
    }
}

impl Delta {
    pub(crate) fn is_empty(&self) -> bool {
        self.types.is_empty()
    }

    /// How many entities changed, by type: node types before edge types, each by name.
    pub(crate) fn touched(&self) -> Vec<Touched> {
        let mut touched: Vec<Touched> = self
            .types
            .values()
            .filter_map(|delta| {
                let entity = self.to.entity(delta.id).or(self.from.entity(delta.id))?;
                let count = |op| delta.changes.values().filter(|c| c.op() == op).count() as u64;
                Some(Touched {
                    edge: entity.kind() == EntityKind::Edge,
                    type_name: entity.body().name.clone(),
                    inserted: count(Op::Insert),
                    updated: count(Op::Update),
                    deleted: count(Op::Delete),
                })
            })
            .collect();
        touched.sort_by(|a, b| (a.edge, &a.type_name).cmp(&(b.edge, &b.type_name)));
        touched
    }
}

impl Graph {
    /// A commit with its schema.
    pub(crate) async fn side(&self, commit: &Arc<Commit>) -> Result<Side> {
        Ok(Side {
            commit: commit.clone(),
            schema: self.shared.schemas.get(&commit.schema).await?,
        })
    }

    /// All changes from one commit to another. Costs what changed where `from` is an ancestor of
    /// `to`; right for any two commits. A table at the same version on both sides costs nothing.
    pub(crate) async fn delta(&self, from: &Arc<Commit>, to: &Arc<Commit>) -> Result<Delta> {
        let (from, to) = (self.side(from).await?, self.side(to).await?);
        let sides = (&from, &to);
        let types: BTreeMap<TypeId, TypeDelta> = futures::stream::iter(changed_types(&from, &to))
            .map(|id| async move {
                let delta = Box::pin(self.type_delta(sides.0, sides.1, id)).await?;
                Ok::<_, crate::error::Error>(delta.map(|delta| (id, delta)))
            })
            .buffer_unordered(TABLES_AT_ONCE)
            .try_filter_map(|delta| async move { Ok(delta) })
            .try_collect()
            .await?;
        Ok(Delta { from, to, types })
    }

    /// The changes of one type; `None` where there are none.
    pub(crate) async fn type_delta(
        &self,
        from: &Side,
        to: &Side,
        id: TypeId,
    ) -> Result<Option<TypeDelta>> {
        let changes = self.table_delta(from, to, id).await?.all().await?;
        Ok((!changes.is_empty()).then_some(TypeDelta { id, changes }))
    }
}

/// Types whose tables are at different versions.
pub(crate) fn changed_types(from: &Side, to: &Side) -> BTreeSet<TypeId> {
    let (before, after) = (&from.commit.tables, &to.commit.tables);
    before
        .keys()
        .chain(after.keys())
        .filter(|id| before.get(id) != after.get(id))
        .copied()
        .collect()
}
