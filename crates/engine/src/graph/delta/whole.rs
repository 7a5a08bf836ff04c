//! Two commits compared as a whole, for tests: what is served goes type by type.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use omnigraph_lang::schema::{EntityKind, TypeId};

use super::{Op, Side, TypeDelta, changed_types};
use crate::error::Result;
use crate::graph::{Commit, Graph, Touched};

/// Tables that are compared in parallel.
const TABLES_AT_ONCE: usize = 8;

/// What changed from one commit to another. Types without a change do not occur.
#[derive(Clone, Debug)]
pub(crate) struct Delta {
    pub(crate) from: Side,
    pub(crate) to: Side,
    pub(crate) types: BTreeMap<TypeId, TypeDelta>,
}

impl Delta {
    pub(crate) fn is_empty(&self) -> bool {
        self.types.is_empty()
    }

    /// How many entities changed, by type: node types before edge types, each by name.
    pub(crate) fn touched(&self) -> Vec<Touched> {
        let mut touched: Vec<Touched> = self
            .types
            .iter()
            .filter_map(|(id, delta)| {
                let entity = self.to.entity(*id).or(self.from.entity(*id))?;
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
}
