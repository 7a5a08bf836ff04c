//! The answers of the data plane's HTTP interface, as far as people are shown them. Programs get
//! the answer as it came.

use omnigraph_proto::error::MergeConflictOutput;
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    pub(crate) branch: Option<String>,
    pub(crate) snapshot: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ReadOutput {
    pub(crate) query_name: String,
    pub(crate) target: Target,
    pub(crate) row_count: u64,
    #[serde(default)]
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Box<RawValue>>,
    pub(crate) graph_commit_id: Option<String>,
}

/// The plan as text; programs get all of it.
#[derive(Debug, Deserialize)]
pub(crate) struct ExplainOutput {
    pub(crate) query_name: String,
    pub(crate) graph_commit_id: String,
    pub(crate) text: String,
    pub(crate) totals: Option<ExplainTotals>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ExplainTotals {
    pub(crate) elapsed_us: u64,
    pub(crate) rows_scanned: u64,
    pub(crate) object_store_requests: u64,
    pub(crate) peak_memory_bytes: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct TypeCount {
    pub(crate) entity_kind: String,
    pub(crate) type_name: String,
    pub(crate) inserted: u64,
    pub(crate) updated: u64,
    pub(crate) deleted: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct CommitOutput {
    pub(crate) graph_commit_id: String,
    pub(crate) graph_branch: Option<String>,
    pub(crate) graph_manifest_version: u64,
    pub(crate) parent_commit_id: Option<String>,
    pub(crate) merged_parent_commit_id: Option<String>,
    pub(crate) actor_id: Option<String>,
    pub(crate) created_at: i64,
    #[serde(default)]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) message: Option<String>,
    #[serde(default)]
    pub(crate) touched: Vec<TypeCount>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ChangeOutput {
    pub(crate) branch: String,
    pub(crate) query_name: String,
    pub(crate) affected_nodes: u64,
    pub(crate) affected_edges: u64,
    pub(crate) commit: Option<CommitOutput>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct LoadedType {
    pub(crate) name: String,
    pub(crate) entities_loaded: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct LoadOutput {
    pub(crate) branch: String,
    pub(crate) base_branch: Option<String>,
    pub(crate) branch_created: bool,
    pub(crate) mode: String,
    pub(crate) nodes: Vec<LoadedType>,
    pub(crate) edges: Vec<LoadedType>,
    pub(crate) total_entities: u64,
    pub(crate) commit: Option<CommitOutput>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct GraphListItem {
    pub(crate) graph_id: String,
    #[serde(default)]
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) reason_code: Option<String>,
    #[serde(default)]
    pub(crate) served_revision: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct GraphListResponse {
    pub(crate) graphs: Vec<GraphListItem>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct GraphOutput {
    pub(crate) graph_id: String,
    pub(crate) uri: String,
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) reason_code: Option<String>,
    #[serde(default)]
    pub(crate) reason: Option<String>,
    #[serde(default)]
    pub(crate) remedy: Option<String>,
    #[serde(default)]
    pub(crate) served_revision: Option<u64>,
    #[serde(default)]
    pub(crate) target_revision: u64,
    #[serde(default)]
    pub(crate) head: Option<CommitOutput>,
    #[serde(default)]
    pub(crate) schema_digest: String,
    #[serde(default)]
    pub(crate) query_count: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Dataset {
    pub(crate) entity_kind: String,
    pub(crate) type_name: String,
    pub(crate) dataset_path: String,
    pub(crate) published_dataset_version: u64,
    pub(crate) entity_count: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct SnapshotOutput {
    pub(crate) datasets: Vec<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct SchemaOutput {
    pub(crate) schema_source: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Param {
    pub(crate) name: String,
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) item_kind: Option<String>,
    pub(crate) nullable: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct StoredQuery {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) description: Option<String>,
    pub(crate) mutation: bool,
    #[serde(default)]
    pub(crate) params: Vec<Param>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct QueriesCatalogOutput {
    pub(crate) queries: Vec<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct BranchOutput {
    pub(crate) name: String,
    pub(crate) head: Option<CommitOutput>,
    #[serde(default)]
    pub(crate) base_commit_id: Option<String>,
    pub(crate) created_at: i64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct BranchListOutput {
    pub(crate) branches: Vec<String>,
    #[serde(default)]
    pub(crate) branch_details: Vec<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct BranchCreateOutput {
    pub(crate) from: String,
    pub(crate) name: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct BranchDeleteOutput {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) head_commit_id: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct BranchMergeOutput {
    pub(crate) source: String,
    pub(crate) target: String,
    pub(crate) outcome: String,
    #[serde(default)]
    pub(crate) branch_deleted: Option<bool>,
    #[serde(default)]
    pub(crate) branch_delete_error: Option<String>,
    #[serde(default)]
    pub(crate) commit: Option<CommitOutput>,
    #[serde(default)]
    pub(crate) merge_base: Option<String>,
    #[serde(default)]
    pub(crate) dry_run: bool,
    #[serde(default)]
    pub(crate) conflicts: Vec<MergeConflictOutput>,
    #[serde(default)]
    pub(crate) conflicts_total: Option<u64>,
    #[serde(default)]
    pub(crate) changes: Vec<TypeCount>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RevertOutput {
    pub(crate) branch: String,
    #[serde(default)]
    pub(crate) commit: Option<CommitOutput>,
    #[serde(default)]
    pub(crate) changes: Vec<TypeCount>,
    #[serde(default)]
    pub(crate) conflicts: Vec<MergeConflictOutput>,
    #[serde(default)]
    pub(crate) conflicts_total: Option<u64>,
    #[serde(default)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ChangeCause {
    pub(crate) graph_commit_id: String,
    pub(crate) authored_branch: String,
    #[serde(default)]
    pub(crate) actor_id: Option<String>,
    pub(crate) authored_at: i64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct TypeIdentity {
    pub(crate) name: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Endpoints {
    pub(crate) from: String,
    pub(crate) to: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Image {
    pub(crate) properties: Box<RawValue>,
    #[serde(default)]
    pub(crate) endpoints: Option<Endpoints>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct EntityChange {
    #[serde(rename = "type")]
    pub(crate) entity_type: TypeIdentity,
    pub(crate) id: String,
    pub(crate) op: String,
    #[serde(default)]
    pub(crate) before: Option<Image>,
    #[serde(default)]
    pub(crate) after: Option<Image>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ChangeBlock {
    pub(crate) cause: ChangeCause,
    pub(crate) changes: Vec<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct CommitChangesOutput {
    pub(crate) cause: ChangeCause,
    pub(crate) changes: Vec<Box<RawValue>>,
    #[serde(default)]
    pub(crate) next_page_token: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ChangeFeedOutput {
    pub(crate) blocks: Vec<Box<RawValue>>,
    #[serde(default)]
    pub(crate) next_page_token: Option<String>,
    #[serde(default)]
    pub(crate) cursor: Option<String>,
    #[serde(default)]
    pub(crate) caught_up: Option<bool>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct BaselineEnd {
    pub(crate) snapshot_commit_id: String,
    pub(crate) resume_cursor: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct BaselineLine {
    pub(crate) baseline: BaselineEnd,
}

#[derive(Debug, Deserialize)]
pub(crate) struct DiffSide {
    pub(crate) graph_commit_id: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct DiffOutput {
    pub(crate) from: DiffSide,
    pub(crate) to: DiffSide,
    #[serde(default)]
    pub(crate) merge_base: Option<String>,
    pub(crate) summary: Vec<TypeCount>,
    pub(crate) changes: Vec<Box<RawValue>>,
    #[serde(default)]
    pub(crate) next_page_token: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct TagOutput {
    pub(crate) name: String,
    pub(crate) graph_commit_id: String,
    #[serde(default)]
    pub(crate) actor_id: Option<String>,
    pub(crate) created_at: i64,
    #[serde(default)]
    pub(crate) message: Option<String>,
    #[serde(default)]
    pub(crate) commit: Option<CommitOutput>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct TagListOutput {
    pub(crate) tags: Vec<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct CommitListOutput {
    pub(crate) commits: Vec<Box<RawValue>>,
}

/// What `optimize` did.
#[derive(Debug, Deserialize)]
pub(crate) struct OptimizeOutput {
    pub(crate) datasets: Vec<Box<RawValue>>,
    pub(crate) commit: Option<CommitOutput>,
}

/// What maintenance did to one table.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct DatasetMaintenance {
    pub(crate) type_name: String,
    pub(crate) fragments_removed: u64,
    pub(crate) fragments_added: u64,
    pub(crate) indexes_extended: Vec<String>,
    pub(crate) pending_indexes: Vec<String>,
    /// Older servers say none.
    #[serde(default)]
    pub(crate) pending_reasons: Vec<String>,
    #[serde(default)]
    pub(crate) error: Option<String>,
}

/// What `cleanup` did, or would do.
#[derive(Debug, Deserialize)]
pub(crate) struct CleanupOutput {
    pub(crate) dry_run: bool,
    pub(crate) objects_removed: u64,
    pub(crate) bytes_removed: u64,
    pub(crate) condemned_objects: u64,
    pub(crate) condemned_bytes: u64,
    pub(crate) removable_at: Option<i64>,
    pub(crate) log_entries_removed: u64,
    pub(crate) oldest_retained_commit_id: Option<String>,
    #[serde(default)]
    pub(crate) datasets: Vec<CleanedTable>,
}

/// What `cleanup` found in one table.
#[derive(Debug, Deserialize)]
pub(crate) struct CleanedTable {
    pub(crate) type_name: String,
    pub(crate) bytes_removed: u64,
    pub(crate) objects_removed: u64,
}

/// What `backup create` made.
#[derive(Debug, Deserialize)]
pub(crate) struct BackupOutput {
    pub(crate) backup_id: String,
    pub(crate) manifest_uri: String,
    pub(crate) graph_commit_id: String,
    pub(crate) bytes: u64,
    pub(crate) objects: u64,
    pub(crate) bytes_copied: u64,
    pub(crate) objects_copied: u64,
}
