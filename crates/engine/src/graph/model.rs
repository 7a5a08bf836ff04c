//! What the objects of a graph hold. Formats are tagged: readers accept every format ever
//! released, writers write the newest.

use std::collections::BTreeMap;

use omnigraph_lang::schema::{Catalog, TypeId};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::ids::{ActorId, BranchName, CommitId, GraphId, Incarnation};
use crate::log::{Entry, Seq};

/// Where a graph lies: its id and the incarnation that the cluster's ledger names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GraphRoot {
    /// The graph's id.
    pub id: GraphId,
    /// Its incarnation.
    pub incarnation: Incarnation,
}

impl GraphRoot {
    /// The directory below the storage root.
    pub fn path(&self) -> String {
        format!("graphs/{}.omni/{}", self.id, self.incarnation)
    }
}

/// `graph.json`: written once, when an incarnation is prepared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct GraphFile {
    pub(crate) format: u32,
    pub(crate) graph_id: GraphId,
    pub(crate) incarnation: Incarnation,
    pub(crate) created_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) restored_from: Option<String>,
}

/// `schema/<sha256>.json`: one version of a graph's schema.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SchemaFile {
    pub(crate) format: u32,
    pub(crate) source: String,
    pub(crate) catalog: Catalog,
}

/// The version of every stored format, shown to users as the internal schema version.
pub const STORAGE_FORMAT: u32 = 1;

/// What a commit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommitKind {
    /// Rows were loaded.
    Load,
    /// A mutation ran.
    Mutate,
    /// Another branch was merged.
    Merge,
    /// An earlier state was restored.
    Revert,
    /// The schema moved.
    Schema,
    /// Files were rewritten without changing what they say.
    Maintenance,
    /// A leader shut out a commit of an earlier one.
    Fence,
}

/// A parent of a commit, and where to find it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentRef {
    /// The branch whose log holds it.
    pub branch: BranchName,
    /// The branch's incarnation.
    pub incarnation: Incarnation,
    /// Its place in that log.
    pub seq: Seq,
    /// Its id.
    pub id: CommitId,
}

/// One type's table at one version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TableRef {
    /// The dataset's directory below the graph's root.
    pub path: String,
    /// The Lance version: detached, so 2⁶³ or more, and text in JSON.
    #[serde(with = "version_text")]
    pub version: u64,
    /// Live rows.
    pub rows: u64,
}

/// Rows of one type that a commit touched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touched {
    /// Whether it is an edge type.
    pub edge: bool,
    /// The type's name at that time.
    pub type_name: String,
    /// Rows inserted.
    pub inserted: u64,
    /// Rows updated.
    pub updated: u64,
    /// Rows deleted.
    pub deleted: u64,
}

/// Proof that a commit answered a request, so that a repeat of it finds the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    /// The client's key.
    pub key: String,
    /// Who used it: another actor's key is another key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<ActorId>,
    /// The operation that it was used for.
    pub operation: String,
    /// SHA-256 of the request.
    pub fingerprint: String,
    /// What the answer said beside the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<serde_json::Value>,
}

/// One commit: complete, so that opening a snapshot reads one object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Commit {
    /// Its id; also the id of the snapshot.
    pub id: CommitId,
    /// The branch that it was written on.
    pub branch: BranchName,
    /// None for the first commit of a graph, two for a merge.
    pub parents: Vec<ParentRef>,
    /// One more than the highest of the parents'.
    pub version: u64,
    /// Who wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<ActorId>,
    /// When, in microseconds since the Unix epoch.
    pub created_at: i64,
    /// What the author says about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What it did.
    pub kind: CommitKind,
    /// Digest of the schema object.
    pub schema: String,
    /// The last commit that moved the schema.
    pub schema_commit: CommitId,
    /// The highest epoch of a control plane that ever wrote to this branch.
    pub control_epoch: u64,
    /// The commit that a fence shuts out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fences: Option<CommitId>,
    /// Proof for repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<Idempotency>,
    /// What it touched, by type.
    #[serde(default)]
    pub touched: Vec<Touched>,
    /// Every type's table.
    pub tables: BTreeMap<TypeId, TableRef>,
}

/// An entry of a branch's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct BranchEntry {
    pub(crate) id: Ulid,
    pub(crate) event: BranchEvent,
}

/// What happened to a branch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BranchEvent {
    /// The branch begins: at a commit of another branch, or with a first commit of its own.
    Created {
        incarnation: Incarnation,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base: Option<ParentRef>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first: Option<Box<Commit>>,
        created_at: i64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        actor: Option<ActorId>,
        /// The base's record, so that the head of a fresh branch is read with one request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base_commit: Option<Box<Commit>>,
        /// The highest control epoch of an earlier life of this name.
        control_epoch: u64,
    },
    /// A commit.
    Commit {
        incarnation: Incarnation,
        commit: Box<Commit>,
        created: CreatedRef,
    },
    /// Files are about to be collected: a writer that finds this between its base and its append
    /// starts from scratch. Says nothing of the branch itself.
    Swept {
        /// When, in microseconds since the Unix epoch.
        at: i64,
        /// The last entry before it that says something of the branch, so that the head of an idle
        /// branch is found without walking over its sweeps. Older releases did not write it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Seq>,
    },
    /// Nothing: a writer gave this place up. What was before it counts.
    Void,
    /// The branch ends.
    Deleted {
        incarnation: Incarnation,
        last: ParentRef,
        control_epoch: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        actor: Option<ActorId>,
        created_at: i64,
    },
}

impl BranchEvent {
    /// The commit that it brings, if it brings one.
    pub(crate) fn into_commit(self) -> Option<Box<Commit>> {
        match self {
            Self::Commit { commit, .. } => Some(commit),
            Self::Created { first, .. } => first,
            Self::Swept { .. } | Self::Void | Self::Deleted { .. } => None,
        }
    }

    /// Epochs count per cluster: in another one they begin anew.
    pub(crate) fn set_control_epoch(&mut self, epoch: u64) {
        match self {
            Self::Commit { commit, .. } => commit.control_epoch = epoch,
            Self::Created {
                first,
                base_commit,
                control_epoch,
                ..
            } => {
                *control_epoch = epoch;
                for commit in first.iter_mut().chain(base_commit) {
                    commit.control_epoch = epoch;
                }
            }
            Self::Deleted { control_epoch, .. } => *control_epoch = epoch,
            Self::Swept { .. } | Self::Void => {}
        }
    }
}

/// Where and when the branch's present life began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CreatedRef {
    pub(crate) seq: Seq,
    pub(crate) created_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) base: Option<CommitId>,
}

impl Entry for BranchEntry {
    fn entry_id(&self) -> Ulid {
        self.id
    }

    fn void(id: Ulid) -> Self {
        Self {
            id,
            event: BranchEvent::Void,
        }
    }
}

mod version_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
    pub(super) fn serialize<S: Serializer>(version: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&version.to_string())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(|_| D::Error::custom("a table version must be a decimal number"))
    }
}
