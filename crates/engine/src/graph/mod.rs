//! One graph: branches of commits over tables.

pub(crate) mod backup;
mod blob;
mod branch;
mod changes;
pub(crate) mod collect;
mod commit_index;
mod conflict;
pub(crate) mod delta;
mod feed;
mod formats;
mod fsck;
mod history;
pub(crate) mod idempotency;
mod ids;
mod lifecycle;
mod maintain;
mod merge;
mod migrate;
pub(crate) mod model;
#[cfg(debug_assertions)]
mod outline;
mod read;
mod schema;
mod snapshot;
mod tag;
mod type_gate;
pub(crate) mod writer;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

pub use self::backup::{
    BackupCheck, BackupInfo, BackupOptions, BackupScope, Restored, list_backups, verify_backup,
};
pub use self::blob::{BlobContent, BlobInfo, BlobSelector, ByteRange};
pub use self::branch::BranchInfo;
pub use self::changes::{
    ChangeBlock, ChangeCause, ChangeFilter, ChangeOp, ChangePage, CommitChanges, Diff, DiffOptions,
    DiffSide, EntityChange, EntityImage,
};
pub use self::collect::{
    Amount, CollectOptions, CollectOutcome, CollectProgress, CollectedTable, Removal, Retention,
};
pub use self::feed::{Baseline, FEED_COMMITS, FeedEnd, FeedPage, FeedPosition, FeedRequest};
pub(crate) use self::formats::read as read_stored;
pub use self::fsck::{FsckFinding, FsckFormat, FsckOptions, FsckReport, FsckSeverity};
pub use self::history::CommitPage;
pub use self::ids::{ActorId, BranchName, CommitId, GraphId, Incarnation};
pub use self::maintain::Upkeep;
pub use self::maintain::{
    OptimizeOptions, OptimizeOutcome, OptimizeProgress, PendingIndex, TableMaintenance,
};
pub use self::merge::{
    ConflictImage, ConflictKind, Conflicts, MergeConflict, MergeOptions, MergeOutcome, MergeResult,
    MergeStrategy, Resolution, RevertMode, RevertOptions, RevertResult, Strategies,
};
pub use self::migrate::{SchemaCommitError, SchemaPlan, StagedSchema};
pub use self::model::{
    Commit, CommitKind, GraphRoot, Idempotency, ParentRef, STORAGE_FORMAT, TableRef, Touched,
};
pub use self::schema::SchemaVersion;
pub use self::snapshot::{Consistency, DatasetInfo, ReadOptions, Snapshot, Target};
pub use self::tag::{TagInfo, TagName};
pub use self::type_gate::{TypeGate, TypeUse};
pub use self::writer::WriteOptions;
pub(crate) use self::writer::{Attempt, Base, CommitRequest, Staged};

use self::branch::Branches;
use self::changes::DeltaCache;
use self::commit_index::CommitIndex;
use self::history::CommitCache;
use self::schema::Schemas;
use crate::embed::Embedding;
use crate::engine;
use crate::error::Result;
use crate::exec::{PlanCache, SnapshotCache};
use crate::external::{ExternalBlobBase, ExternalBlobs};
use crate::store::Store;
use crate::table::Tables;

/// A graph. Cheap to clone; clones share what they know.
#[derive(Clone)]
pub struct Graph {
    shared: Arc<Shared>,
    /// Which external objects writes may name; none at first.
    external: Arc<ExternalBlobs>,
    /// What makes vectors of texts; nothing at first.
    embedding: Option<Embedding>,
}

struct Shared {
    engine: Arc<engine::Shared>,
    root: GraphRoot,
    branches: Branches,
    schemas: Schemas,
    tables: Tables,
    commits: CommitCache,
    tags: tag::Tags,
    deltas: DeltaCache,
    commit_index: CommitIndex,
    idle_tables: maintain::IdleTables,
    /// Orders the writers of this process, one queue a branch, so that only other processes
    /// conflict.
    queues: Mutex<HashMap<BranchName, Arc<tokio::sync::Mutex<()>>>>,
    /// Idempotency keys of requests under way.
    running: idempotency::Running,
    collection: collect::Collection,
}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Graph").field(&self.shared.root).finish()
    }
}

pub(crate) fn schema_of(store: &Store, root: &GraphRoot) -> Schemas {
    Schemas::new(store.clone(), root)
}

impl Graph {
    pub(crate) fn new(engine: Arc<engine::Shared>, root: GraphRoot) -> Self {
        let store = &engine.store;
        Self {
            shared: Arc::new(Shared {
                branches: Branches::new(store.clone(), &root),
                schemas: Schemas::new(store.clone(), &root),
                tables: Tables::new(store.clone(), engine.session.clone(), &root)
                    .outlined(engine.outline),
                commits: CommitCache::default(),
                tags: tag::Tags::new(store.clone(), &root),
                deltas: DeltaCache::default(),
                commit_index: CommitIndex::new(store.clone(), &root),
                idle_tables: maintain::IdleTables::default(),
                queues: Mutex::default(),
                running: idempotency::Running::default(),
                collection: collect::Collection::new(store, &root),
                root,
                engine,
            }),
            external: Arc::default(),
            embedding: None,
        }
    }

    /// Where the graph lies.
    pub fn root(&self) -> &GraphRoot {
        &self.shared.root
    }

    /// This graph for writers who may name external objects below these bases.
    ///
    /// # Errors
    /// `Invalid` for a base that is no URI of a directory.
    pub fn with_external_blobs(&self, bases: &[ExternalBlobBase]) -> Result<Self> {
        Ok(Self {
            shared: Arc::clone(&self.shared),
            external: Arc::new(ExternalBlobs::new(bases)?),
            embedding: self.embedding.clone(),
        })
    }

    /// This graph with what makes vectors of texts; `None`: texts are refused.
    #[must_use]
    pub fn with_embedding(&self, embedding: Option<Embedding>) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            external: Arc::clone(&self.external),
            embedding,
        }
    }

    pub(crate) fn embedding(&self) -> Option<&Embedding> {
        self.embedding.as_ref()
    }

    pub(crate) fn external(&self) -> &Arc<ExternalBlobs> {
        &self.external
    }

    /// The graph's URI, without credentials.
    pub fn uri(&self) -> String {
        self.store().uri(&self.shared.root.path())
    }

    pub(crate) fn store(&self) -> &Store {
        &self.shared.engine.store
    }

    pub(crate) fn tables(&self) -> &Tables {
        &self.shared.tables
    }

    pub(crate) fn snapshots(&self) -> &SnapshotCache {
        &self.shared.engine.snapshots
    }

    pub(crate) fn load_limits(&self) -> crate::engine::LoadLimits {
        self.shared.engine.load
    }

    pub(crate) fn plans(&self) -> &PlanCache {
        &self.shared.engine.plans
    }

    fn queue(&self, branch: &BranchName) -> Arc<tokio::sync::Mutex<()>> {
        self.shared
            .queues
            .lock()
            .entry(branch.clone())
            .or_default()
            .clone()
    }
}
