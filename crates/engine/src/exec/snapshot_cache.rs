//! Table snapshots of all graphs, and what is derived from them, under one memory budget.

use std::collections::VecDeque;
use std::sync::Arc;

use lance::Dataset;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use super::adjacency::Adjacency;
use super::part_cache::PartCache;
use super::table_snapshot::TableSnapshot;
use crate::error::Result;

/// Versions of one table that are looked at for something to derive from.
const BASES_PER_TABLE: usize = 8;

/// A version of a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TableKey {
    pub path: Arc<str>,
    pub version: u64,
}

impl TableKey {
    pub(crate) fn new(path: &str, version: u64) -> Self {
        Self {
            path: path.into(),
            version,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PartKey {
    pub table: TableKey,
    pub name: PartName,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum PartName {
    Snapshot,
    Column(Box<str>),
    Ids,
    Text(Box<str>),
    Adjacency { from: TableKey, to: TableKey },
}

/// Table snapshots and what is derived from them, under one memory budget. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SnapshotCache {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) parts: PartCache<PartKey>,
    /// Recently used versions by table path, newest first: what a new version may be derived from.
    recent: Mutex<FxHashMap<Arc<str>, VecDeque<TableKey>>>,
    /// Recently built adjacency by path of the edge table, newest first.
    recent_adjacency: Mutex<FxHashMap<Arc<str>, VecDeque<PartKey>>>,
}

impl SnapshotCache {
    pub(crate) fn new(budget_bytes: u64) -> Self {
        Self {
            shared: Arc::new(Shared {
                parts: PartCache::new(usize::try_from(budget_bytes).unwrap_or(usize::MAX)),
                recent: Mutex::default(),
                recent_adjacency: Mutex::default(),
            }),
        }
    }

    /// The snapshot of this version: from a cached version of the table if it only added fragments
    /// and deletions, else from scratch. Reads nothing but deletion files.
    pub(crate) async fn get(
        &self,
        dataset: &Arc<Dataset>,
        key: &TableKey,
    ) -> Result<Arc<TableSnapshot>> {
        let part = PartKey {
            table: key.clone(),
            name: PartName::Snapshot,
        };
        if let Some(snapshot) = self.shared.parts.peek::<TableSnapshot>(&part) {
            return Ok(snapshot);
        }
        let bases = {
            let recent = self.shared.recent.lock();
            let keys = recent.get(&key.path);
            keys.map_or_else(Vec::new, |keys| keys.iter().cloned().collect())
        };
        let build = Box::pin(self.build(dataset, key, bases));
        let snapshot = self.shared.parts.get_or_build(part, build).await?;
        let mut recent = self.shared.recent.lock();
        let keys = recent.entry(key.path.clone()).or_default();
        keys.retain(|k| k != key);
        keys.push_front(key.clone());
        keys.truncate(BASES_PER_TABLE);
        Ok(snapshot)
    }

    /// Like [`SnapshotCache::get`], preferring `old` as the version to derive from.
    pub(crate) async fn derive(
        &self,
        old: &TableKey,
        dataset: &Arc<Dataset>,
        new: &TableKey,
    ) -> Result<Arc<TableSnapshot>> {
        if let Some(keys) = self.shared.recent.lock().get_mut(&new.path)
            && let Some(at) = keys.iter().position(|k| k == old)
            && let Some(key) = keys.remove(at)
        {
            keys.push_front(key);
        }
        self.get(dataset, new).await
    }

    async fn build(
        &self,
        dataset: &Arc<Dataset>,
        key: &TableKey,
        bases: Vec<TableKey>,
    ) -> Result<Arc<TableSnapshot>> {
        for base in bases {
            let part = PartKey {
                table: base,
                name: PartName::Snapshot,
            };
            if let Some(base) = self.shared.parts.peek::<TableSnapshot>(&part)
                && let Some(snapshot) = base.derived(dataset, key).await?
            {
                return Ok(Arc::new(snapshot));
            }
        }
        let snapshot = TableSnapshot::from_scratch(dataset, key, self).await?;
        Ok(Arc::new(snapshot))
    }

    /// The edges of `edges` as neighbours in the ordinals of the two node tables.
    pub(crate) async fn adjacency(
        &self,
        edges: &Arc<TableSnapshot>,
        from: &Arc<TableSnapshot>,
        to: &Arc<TableSnapshot>,
    ) -> Result<Arc<Adjacency>> {
        let key = PartKey {
            table: edges.key().clone(),
            name: PartName::Adjacency {
                from: from.key().clone(),
                to: to.key().clone(),
            },
        };
        if let Some(found) = self.shared.parts.peek::<Adjacency>(&key) {
            return Ok(found);
        }
        let build = Box::pin(async {
            let base = self.adjacency_base(edges, from, to);
            Ok(Arc::new(Adjacency::build(edges, from, to, base).await?))
        });
        let adjacency = self.shared.parts.get_or_build(key.clone(), build).await?;
        let mut recent = self.shared.recent_adjacency.lock();
        let keys = recent.entry(edges.key().path.clone()).or_default();
        keys.retain(|k| *k != key);
        keys.push_front(key);
        keys.truncate(BASES_PER_TABLE);
        Ok(adjacency)
    }

    /// A cached adjacency all of whose three tables are ancestors of these.
    fn adjacency_base(
        &self,
        edges: &TableSnapshot,
        from: &TableSnapshot,
        to: &TableSnapshot,
    ) -> Option<Arc<Adjacency>> {
        let recent = self.shared.recent_adjacency.lock();
        let keys = recent.get(&edges.key().path)?.clone();
        drop(recent);
        keys.into_iter().find_map(|key| {
            let PartName::Adjacency { from: f, to: t } = &key.name else {
                return None;
            };
            (edges.extends(&key.table) && from.extends(f) && to.extends(t))
                .then(|| self.shared.parts.peek::<Adjacency>(&key))
                .flatten()
        })
    }
}
