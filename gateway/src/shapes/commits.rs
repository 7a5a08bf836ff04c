//! Commits in answers.

use omnigraph_proto::common::v1 as common;
use serde::{Deserialize, Serialize};

/// One commit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommitOutput {
    pub graph_commit_id: String,
    pub graph_branch: Option<String>,
    pub graph_manifest_version: u64,
    pub parent_commit_id: Option<String>,
    pub merged_parent_commit_id: Option<String>,
    pub actor_id: Option<String>,
    /// Unix epoch microseconds.
    pub created_at: i64,
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub touched: Vec<TypeCount>,
}

/// How many entities of a type were changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TypeCount {
    pub entity_kind: String,
    pub type_name: String,
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
}

/// `GET …/commits`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommitListOutput {
    pub commits: Vec<CommitOutput>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

impl From<common::Commit> for CommitOutput {
    fn from(commit: common::Commit) -> Self {
        let kind = commit.kind().label().to_owned();
        CommitOutput {
            graph_commit_id: commit.graph_commit_id,
            graph_branch: present(commit.graph_branch),
            graph_manifest_version: commit.graph_manifest_version,
            parent_commit_id: commit.parent_commit_id,
            merged_parent_commit_id: commit.merged_parent_commit_id,
            actor_id: commit.actor_id,
            created_at: commit.created_at_us,
            kind,
            message: present(commit.message),
            touched: commit.touched.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<common::TypeCount> for TypeCount {
    fn from(count: common::TypeCount) -> Self {
        TypeCount {
            entity_kind: count.kind().label().to_owned(),
            type_name: count.type_name,
            inserted: count.inserted,
            updated: count.updated,
            deleted: count.deleted,
        }
    }
}

/// The wire's empty string is JSON's null or absence.
pub(crate) fn present(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
