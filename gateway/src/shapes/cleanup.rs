//! Reclaiming of history.

use serde::{Deserialize, Serialize};

use super::DatasetMaintenance;

/// `POST …/maintenance/cleanup`. Unknown members are refused. Without `dry_run` something is
/// removed, so it has to be said.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CleanupRequest {
    /// None: not a bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_commits: Option<u32>,
    /// None: not a bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older_than_seconds: Option<u64>,
    pub dry_run: bool,
}

/// What was reclaimed, or would be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CleanupOutput {
    pub dry_run: bool,
    pub objects_removed: u64,
    pub bytes_removed: u64,
    /// What waits for its removal by a later call.
    pub condemned_objects: u64,
    pub condemned_bytes: u64,
    /// When that may be, in microseconds since the Unix epoch.
    pub removable_at: Option<i64>,
    pub log_entries_removed: u64,
    /// Of `main`; none as long as nothing was reclaimed.
    pub oldest_retained_commit_id: Option<String>,
    pub datasets: Vec<DatasetMaintenance>,
}
