//! Backups.

use serde::{Deserialize, Serialize};

/// `POST …/maintenance/backup`. Unknown members are refused.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupRequest {
    pub destination_uri: String,
    /// One branch's head; none: `main`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// One commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// Every branch with its kept history.
    #[serde(default)]
    pub include_history: bool,
}

/// Where the backup is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackupOutput {
    pub backup_id: String,
    pub manifest_uri: String,
    pub graph_commit_id: String,
    pub bytes: u64,
    pub objects: u64,
    /// What was not at the destination already.
    pub bytes_copied: u64,
    pub objects_copied: u64,
}
