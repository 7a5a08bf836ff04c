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
#[cfg(test)]
mod whole;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use omnigraph_lang::schema::{EntityType, TypeId};

pub(crate) use self::row::{RowRef, same_entity};
pub(crate) use self::table::{Rest, TableDelta};
use super::{Commit, Graph, SchemaVersion};
use crate::error::Result;

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
    pub(crate) changes: BTreeMap<String, Change>,
}

/// One commit of a comparison, with its schema.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    pub(crate) commit: Arc<Commit>,
    pub(crate) schema: Arc<SchemaVersion>,
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

impl Graph {
    /// A commit with its schema.
    pub(crate) async fn side(&self, commit: &Arc<Commit>) -> Result<Side> {
        Ok(Side {
            commit: commit.clone(),
            schema: self.shared.schemas.get(&commit.schema).await?,
        })
    }

    /// The changes of one type; `None` where there are none.
    pub(crate) async fn type_delta(
        &self,
        from: &Side,
        to: &Side,
        id: TypeId,
    ) -> Result<Option<TypeDelta>> {
        let changes = self.table_delta(from, to, id).await?.all().await?;
        Ok((!changes.is_empty()).then_some(TypeDelta { changes }))
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
