//! Bodies of requests. Unknown members are ignored, except where a type says otherwise.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::extract::AsOf;

/// How 64-bit integers are written in rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Int64Style {
    /// Numbers at full width.
    #[default]
    Number,
    /// Decimal text where a double would lose digits.
    String,
}

/// `POST …/query`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct QueryRequest {
    pub query: String,
    /// Needed when the source has several queries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// An object, passed on as it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Reads the branch as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<AsOf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub int64: Option<Int64Style>,
}

/// `POST …/mutate` and its conditional form.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ChangeRequest {
    #[serde(alias = "query_source")]
    pub query: String,
    #[serde(default, alias = "query_name", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// `POST …/queries/{name}` and its conditional form. The body may be missing.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct InvokeStoredQueryRequest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Reads the branch as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<AsOf>,
    /// What the caller takes the query for; refused when it is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_mutation: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub int64: Option<Int64Style>,
}

/// `POST …/load`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct IngestRequest {
    /// Load records, separated by any white space.
    pub data: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Creates the branch from this one if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

/// `POST …/export`. Unknown members are refused.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportRequest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// None: all types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub type_names: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Reads the branch as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<AsOf>,
}

/// `POST …/branches`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct BranchCreateRequest {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_commit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_tag: Option<String>,
    /// Begins at `from` as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_as_of: Option<AsOf>,
}

/// `POST …/branches/merge`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct BranchMergeRequest {
    pub source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    #[serde(default)]
    pub delete_branch: bool,
    /// `fail`, `ours` or `theirs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<String>,
    /// The same by the name of a node or edge type; goes before `strategy`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub strategies: BTreeMap<String, String>,
    #[serde(default)]
    pub dry_run: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_source_commit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// `POST …/schema/apply`: read, then refused.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SchemaApplyRequest {
    pub schema_source: String,
    #[serde(default)]
    pub allow_data_loss: bool,
}

/// `POST …/branches/{branch}/revert`: exactly one of `to` and `undo`. Unknown members are refused.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevertRequest {
    /// The commit whose entities are restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The commit that is undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
    #[serde(default)]
    pub dry_run: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
