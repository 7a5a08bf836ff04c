//! The engine of Omnigraph: graphs of typed nodes and edges on an object store.
//!
//! | module | subject |
//! |---|---|
//! | [`store`] | one storage root: object store, clock, request counter |
//! | [`log`] | the log of numbered objects: the only primitive that decides |
//! | [`graph`] | branches, commits, snapshots, schema changes |
//! | `table` | one Lance dataset per type, at detached versions |
//! | `embed` | what makes vectors of texts, lent by who opens a graph |
//! | [`exec`] | running reads |
//! | `write` | mutations and loads |
//! | `export` | writing a snapshot as NDJSON |

mod embed;
mod engine;
mod error;
pub mod exec;
mod export;
mod external;
pub mod graph;
pub mod log;
pub mod store;
mod table;
mod write;

#[cfg(test)]
mod proof;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

pub use embed::{EmbedError, Embedder, Embedding, check_vector};
pub use engine::{Authorship, Engine, EngineOptions};
pub use error::{
    DiffRefusal, EntityName, Error, ErrorDetail, ErrorKind, IdempotencyCause, IdempotencyConflict,
    Overlap, RefusalCause, Result, WriteConflict,
};
pub use exec::{
    Explanation, PlanNode, QueryLimits, QueryResult, QueryStats, ResultColumn, rows_to_json,
};
pub use external::{ExternalBlobBase, ExternalBlobScope};
pub use graph::{
    ActorId, BranchInfo, BranchName, Commit, CommitId, CommitKind, CommitPage, ConflictImage,
    ConflictKind, Conflicts, Consistency, DatasetInfo, FsckFinding, FsckFormat, FsckOptions,
    FsckReport, FsckSeverity, Graph, GraphId, GraphRoot, Incarnation, MergeConflict, MergeOptions,
    MergeOutcome, MergeResult, MergeStrategy, ReadOptions, Resolution, RevertMode, RevertOptions,
    RevertResult, STORAGE_FORMAT, SchemaCommitError, SchemaPlan, SchemaVersion, Snapshot,
    StagedSchema, Strategies, Target, Touched, TypeGate, TypeUse, WriteOptions,
};
pub use graph::{
    Amount, BackupCheck, BackupInfo, BackupOptions, BackupScope, CollectOptions, CollectOutcome,
    CollectProgress, CollectedTable, Removal, Restored, Retention, list_backups, verify_backup,
};
pub use graph::{
    Baseline, ChangeBlock, ChangeCause, ChangeFilter, ChangeOp, ChangePage, CommitChanges, Diff,
    DiffOptions, DiffSide, EntityChange, EntityImage, FEED_COMMITS, FeedEnd, FeedPage,
    FeedPosition, FeedRequest, TagInfo, TagName,
};
pub use graph::{BlobContent, BlobInfo, BlobSelector, ByteRange};
pub use graph::{
    OptimizeOptions, OptimizeOutcome, OptimizeProgress, PendingIndex, TableMaintenance, Upkeep,
};
pub use store::{Clock, Elapsed, RequestCounts, Store, StoreOptions, SystemClock};
pub use write::{
    LoadEncoding, LoadFormat, LoadMode, LoadOptions, LoadOutcome, LoadPhase, LoadProgress,
    LoadSession, LoadType, LoadWatch, MutationOutcome, StatementOutcome,
};
