//! Bodies of HTTP requests and answers. The keys and their order are a contract with clients.
//!
//! Answers can be read back, so that a client written in Rust speaks the same shapes. Query
//! results are not here: their rows are passed through as text (`formats`).

mod backup;
mod changes;
mod cleanup;
mod commits;
mod explain;
mod fsck;
mod maintenance;
mod requests;

use serde::{Deserialize, Serialize};

pub use crate::extract::AsOf;
pub use backup::{BackupOutput, BackupRequest};
pub use changes::{
    BaselineOutput, ChangeBaselineRequest, ChangeBlock, ChangeCause, ChangeFeedOutput,
    CommitChangesOutput, DiffOutput, DiffSide, Endpoints, EntityChange, Image, TagCreateRequest,
    TagListOutput, TagOutput, TypeIdentity,
};
pub(crate) use changes::{change_block, changes};
pub use cleanup::{CleanupOutput, CleanupRequest};
pub(crate) use commits::present;
pub use commits::{CommitListOutput, CommitOutput, TypeCount};
pub use explain::{
    ColumnOutput, ExplainMode, ExplainOutput, ExplainRequest, OperationOutput, PlanNodeOutput,
    TotalsOutput, TypeOutput,
};
pub use fsck::{FsckFindingOutput, FsckFormatOutput, FsckOutput, FsckRequest};
pub use maintenance::{DatasetMaintenance, OptimizeOutput, OptimizeRequest};
pub use omnigraph_proto::error::{ErrorOutput, MergeConflictOutput};
pub use requests::{
    BranchCreateRequest, BranchMergeRequest, ChangeRequest, ExportRequest, IngestRequest,
    Int64Style, InvokeStoredQueryRequest, QueryRequest, RevertRequest, SchemaApplyRequest,
};

/// `GET /healthz`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthOutput {
    pub status: String,
    pub version: String,
    pub internal_schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_version: Option<String>,
}

/// `GET /readyz`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadinessOutput {
    /// `ready` or `not_ready`.
    pub status: String,
    /// 0: none is loaded yet.
    pub revision: u64,
    pub graphs_total: usize,
    pub graphs_ready: usize,
    pub graphs_stale: usize,
    pub graphs_quarantined: usize,
    pub not_ready_because: Vec<String>,
    /// Only with `?verbose`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graphs: Option<Vec<GraphSummary>>,
}

/// `GET /graphs`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GraphListResponse {
    pub graphs: Vec<GraphSummary>,
}

/// One graph of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GraphSummary {
    pub graph_id: String,
    pub uri: String,
    pub status: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_revision: Option<u64>,
}

/// `GET /graphs/{graph_id}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GraphOutput {
    pub graph_id: String,
    pub uri: String,
    pub status: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    pub served_revision: Option<u64>,
    pub target_revision: u64,
    /// Head of `main`.
    pub head: Option<CommitOutput>,
    pub schema_digest: String,
    pub internal_schema_version: u32,
    pub query_count: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica_id: Option<String>,
}

/// What a read was pinned to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TargetOutput {
    pub branch: Option<String>,
    pub snapshot: Option<String>,
}

/// Answer of a mutation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangeOutput {
    pub branch: String,
    pub query_name: String,
    pub affected_nodes: u64,
    pub affected_edges: u64,
    pub actor_id: Option<String>,
    /// Null: nothing changed.
    pub commit: Option<CommitOutput>,
    /// Each statement by itself, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub statements: Vec<StatementOutput>,
}

/// What one statement of a mutation did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatementOutput {
    /// `insert`, `upsert`, `update` or `delete`.
    pub kind: String,
    #[serde(rename = "type")]
    pub type_name: String,
    pub nodes: u64,
    pub edges: u64,
}

impl From<omnigraph_proto::data::v1::StatementResult> for StatementOutput {
    fn from(result: omnigraph_proto::data::v1::StatementResult) -> Self {
        Self {
            kind: result.kind,
            type_name: result.type_name,
            nodes: result.nodes,
            edges: result.edges,
        }
    }
}

/// `GET …/queries`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueriesCatalogOutput {
    pub queries: Vec<StoredQueryOutput>,
}

/// One stored query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredQueryOutput {
    pub name: String,
    pub tool_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instruction: Option<String>,
    pub mutation: bool,
    pub params: Vec<ParamDescriptor>,
}

/// One parameter of a stored query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ParamDescriptor {
    pub name: String,
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item_kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vector_dim: Option<u32>,
    pub nullable: bool,
}

/// How many entities of a type were loaded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadedTypeOutput {
    pub name: String,
    pub entities_loaded: u64,
}

/// Answer of a load. `uri` is left out on `/load/ndjson`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IngestOutput {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    pub branch: String,
    pub base_branch: Option<String>,
    pub branch_created: bool,
    pub mode: String,
    pub nodes: Vec<LoadedTypeOutput>,
    pub edges: Vec<LoadedTypeOutput>,
    pub total_entities: u64,
    pub actor_id: Option<String>,
    pub commit: Option<CommitOutput>,
}

/// `GET …/snapshot`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SnapshotOutput {
    pub graph_branch: String,
    pub graph_manifest_version: u64,
    pub internal_schema_version: u32,
    pub graph_commit_id: String,
    pub datasets: Vec<DatasetOutput>,
}

/// Where the rows of one type lie.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatasetOutput {
    pub entity_kind: String,
    pub type_name: String,
    pub dataset_path: String,
    pub published_dataset_version: u64,
    /// Always null: branches are not a matter of one dataset.
    pub native_dataset_branch: Option<String>,
    pub entity_count: u64,
}

/// `GET …/schema`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SchemaOutput {
    pub schema_source: String,
    pub schema_digest: String,
}

/// `GET …/branches`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BranchListOutput {
    pub branches: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch_details: Option<Vec<BranchOutput>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// One branch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BranchOutput {
    pub name: String,
    pub head: Option<CommitOutput>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_commit_id: Option<String>,
    pub created_at: i64,
}

/// `POST …/branches`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BranchCreateOutput {
    pub uri: String,
    pub from: String,
    pub name: String,
    pub actor_id: Option<String>,
}

/// `DELETE …/branches/{branch}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BranchDeleteOutput {
    pub uri: String,
    pub name: String,
    pub actor_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_commit_id: Option<String>,
}

/// `POST …/branches/merge`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BranchMergeOutput {
    pub source: String,
    pub target: String,
    pub outcome: String,
    pub actor_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch_deleted: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch_delete_error: Option<String>,
    pub commit: Option<CommitOutput>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge_base: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<MergeConflictOutput>,
    /// How many there are, where not all are listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflicts_total: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<TypeCount>,
}

/// `POST …/branches/{branch}/revert`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RevertOutput {
    pub branch: String,
    pub commit: Option<CommitOutput>,
    pub changes: Vec<TypeCount>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<MergeConflictOutput>,
    /// How many there are, where not all are listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflicts_total: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
}
