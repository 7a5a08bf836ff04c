//! Housekeeping.

use serde::{Deserialize, Serialize};

/// `POST …/maintenance/fsck`. The body may be missing; unknown members are refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FsckRequest {
    /// Opens the tables of every retained commit, not of the heads alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<bool>,
    /// Checks every row of the heads against the schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<bool>,
}

/// What a check has seen and found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FsckOutput {
    pub sound: bool,
    pub errors: u64,
    pub warnings: u64,
    pub branches: u64,
    pub entries: u64,
    pub commits: u64,
    pub table_versions: u64,
    pub rows: u64,
    pub objects: u64,
    pub bytes: u64,
    pub unreferenced_objects: u64,
    pub unreferenced_bytes: u64,
    /// What has which stored format.
    pub formats: Vec<FsckFormatOutput>,
    /// The first 1000.
    pub findings: Vec<FsckFindingOutput>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FsckFindingOutput {
    /// `error` or `warning`.
    pub severity: String,
    pub place: String,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// How many objects of one kind have one stored format.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FsckFormatOutput {
    /// `branch entry`, `schema` or `graph description`.
    pub kind: String,
    pub format: u64,
    /// What this release writes.
    pub newest: u64,
    pub objects: u64,
}
