//! Deltas that were just looked at: the next page of a list wants the same one.

use std::collections::VecDeque;
use std::sync::Arc;

use omnigraph_lang::schema::TypeId;
use parking_lot::Mutex;

use crate::graph::TableRef;
use crate::graph::delta::{Side, TableDelta};

/// How many are kept, and of how many changes in all.
const KEPT: usize = 16;
const KEPT_CHANGES: usize = 1 << 20;

/// A table at two versions, and the schemas of its images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    id: TypeId,
    tables: [Option<TableRef>; 2],
    schemas: [String; 2],
}

impl Key {
    pub(super) fn of(from: &Side, to: &Side, id: TypeId) -> Self {
        Self {
            id,
            tables: [from, to].map(|side| side.commit.tables.get(&id).cloned()),
            schemas: [from, to].map(|side| side.schema.digest.clone()),
        }
    }
}

/// The last deltas, newest first.
#[derive(Default)]
pub(in crate::graph) struct DeltaCache {
    kept: Mutex<VecDeque<(Key, Arc<TableDelta>)>>,
}

impl DeltaCache {
    pub(super) fn get(&self, key: &Key) -> Option<Arc<TableDelta>> {
        let kept = self.kept.lock();
        let found = kept.iter().find(|(other, _)| other == key);
        found.map(|(_, delta)| delta.clone())
    }

    /// Small ones are not kept: reading them again is cheap, and there may be many.
    pub(super) fn put(&self, key: Key, delta: Arc<TableDelta>) {
        if delta.at_most() <= 1 {
            return;
        }
        let mut kept = self.kept.lock();
        kept.push_front((key, delta));
        kept.truncate(KEPT);
        let mut changes = 0;
        kept.retain(|(_, delta)| {
            changes += delta.at_most();
            changes <= KEPT_CHANGES
        });
    }
}
