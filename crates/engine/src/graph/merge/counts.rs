//! How many entities a branch touched, without reading the tables that are adopted by pointer.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt;
use omnigraph_lang::schema::{EntityKind, EntityType, TypeId};

use super::entities::{Changed, Keep};
use crate::error::Result;
use crate::graph::delta::{Op, Side, changed_types};
use crate::graph::{Commit, CommitKind, Graph, Touched};

/// Counts by type, for a commit or an answer.
#[derive(Debug, Default)]
pub(super) struct Counts {
    types: BTreeMap<(bool, String), Touched>,
}

/// Entities of one type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) inserted: u64,
    pub(super) updated: u64,
    pub(super) deleted: u64,
}

impl Count {
    pub(super) fn add(&mut self, op: Op) {
        match op {
            Op::Insert => self.inserted += 1,
            Op::Update => self.updated += 1,
            Op::Delete => self.deleted += 1,
        }
    }

    /// What our side gains from theirs.
    pub(super) fn of(changed: &Changed) -> Self {
        let mut count = Self::default();
        for entity in changed.entities.values() {
            if entity.keep == Keep::Theirs {
                match (&entity.ours, &entity.theirs) {
                    (None, Some(_)) => count.add(Op::Insert),
                    (Some(_), Some(_)) => count.add(Op::Update),
                    (Some(_), None) => count.add(Op::Delete),
                    (None, None) => {}
                }
            }
        }
        count
    }
}

impl Counts {
    pub(super) fn put(&mut self, entity: EntityType<'_>, count: Count) {
        let edge = entity.kind() == EntityKind::Edge;
        let type_name = entity.body().name.clone();
        if count == Count::default() {
            return;
        }
        let touched = Touched {
            edge,
            type_name: type_name.clone(),
            inserted: count.inserted,
            updated: count.updated,
            deleted: count.deleted,
        };
        self.types.insert((edge, type_name), touched);
    }

    /// Node types before edge types, each by name.
    pub(super) fn into_touched(self) -> Vec<Touched> {
        self.types.into_values().collect()
    }
}

impl Graph {
    /// What changed from one commit to another, by type.
    pub(super) async fn counts(&self, from: &Side, to: &Side) -> Result<Vec<Touched>> {
        let mut counts = Counts::default();
        let way = self.first_parents(from, to).await?;
        for id in changed_types(from, to) {
            if let Some(entity) = to.entity(id).or(from.entity(id)) {
                counts.put(entity, self.count(from, to, &way, id).await?);
            }
        }
        Ok(counts.into_touched())
    }

    /// What changed in one type. The commits on the way say it themselves if only one touched the
    /// type, or if all of them only added to it; else what they say overlaps, and the entities are
    /// compared.
    pub(super) async fn count(
        &self,
        from: &Side,
        to: &Side,
        way: &[Arc<Commit>],
        id: TypeId,
    ) -> Result<Count> {
        if let Some(count) = self.told(way, id).await? {
            return Ok(count);
        }
        let mut count = Count::default();
        if let Some(delta) = self.type_delta(from, to, id).boxed().await? {
            delta
                .changes
                .values()
                .for_each(|change| count.add(change.op()));
        }
        Ok(count)
    }

    /// The commits behind `from` up to `to` along first parents, newest first, ended by `from`
    /// itself; empty where that way does not lead there.
    pub(super) async fn first_parents(&self, from: &Side, to: &Side) -> Result<Vec<Arc<Commit>>> {
        let mut way = vec![to.commit.clone()];
        loop {
            let at = &way[way.len() - 1];
            if at.id == from.commit.id {
                return Ok(way);
            }
            if at.version <= from.commit.version {
                return Ok(Vec::new());
            }
            match self.first_parent(at).await? {
                Some(parent) => way.push(parent),
                None => return Ok(Vec::new()),
            }
        }
    }

    async fn told(&self, way: &[Arc<Commit>], id: TypeId) -> Result<Option<Count>> {
        if way.is_empty() {
            return Ok(None);
        }
        let mut sum = Count::default();
        let mut tellers = 0;
        for pair in way.windows(2) {
            let [commit, parent] = pair else { continue };
            let moved = commit.tables.get(&id) != parent.tables.get(&id);
            if !moved || commit.kind == CommitKind::Maintenance {
                continue;
            }
            let schema = self.shared.schemas.get(&commit.schema).await?;
            let said = schema.catalog.entity(id).and_then(|entity| {
                let edge = entity.kind() == EntityKind::Edge;
                let name = &entity.body().name;
                let mut touched = commit.touched.iter();
                touched.find(|touched| touched.edge == edge && touched.type_name == *name)
            });
            let Some(said) = said else {
                return Ok(None);
            };
            sum.inserted += said.inserted;
            sum.updated += said.updated;
            sum.deleted += said.deleted;
            tellers += 1;
        }
        let adds_only = sum.updated == 0 && sum.deleted == 0;
        Ok((tellers <= 1 || adds_only).then_some(sum))
    }
}
