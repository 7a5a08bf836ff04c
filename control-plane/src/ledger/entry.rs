//! Entries of the ledger. Each carries what the whole log says up to it, so that reading the
//! newest entry is enough.

use omnigraph_engine::log::{Entry, Seq};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::digest::Digest;
use crate::lead::ProcessMark;

/// One entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LedgerEntry {
    pub(crate) id: Ulid,
    /// Epoch microseconds.
    pub(crate) at: i64,
    /// The highest epoch so far.
    pub(crate) epoch: u64,
    /// Who leads after this entry.
    pub(crate) leader: Option<Leader>,
    /// The newest revision, this entry included.
    pub(crate) revision: Option<RevisionPointer>,
    pub(crate) event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Event {
    /// Somebody took the lead.
    Leader,
    /// The leader gave the lead up, or it was taken from it.
    Released {
        lease_id: Ulid,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A revision was applied.
    Revision(Box<RevisionRecord>),
    /// Nothing: the place was taken so that no late append can land there.
    Void,
}

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leader {
    pub(crate) epoch: u64,
    pub(crate) lease_id: Ulid,
    pub(crate) holder: String,
    pub(crate) host: String,
    /// Where its gRPC listener is; none when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
    /// Lets processes of the same machine see that it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) process: Option<ProcessMark>,
    pub(crate) since: i64,
}

/// Where a revision's entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RevisionPointer {
    pub(crate) seq: Seq,
    pub(crate) number: u64,
}

/// A revision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RevisionRecord {
    pub(crate) number: u64,
    pub(crate) epoch: u64,
    /// The catalog object with the content.
    pub(crate) content: Digest,
    pub(crate) config_digest: Digest,
    pub(crate) serving_digest: Digest,
    pub(crate) converged: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) actor: Option<String>,
    /// `apply` or `recovery`.
    pub(crate) operation: String,
    pub(crate) operation_id: Ulid,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) message: String,
    pub(crate) created_at: i64,
    /// The revision before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) previous: Option<RevisionPointer>,
}

impl Entry for LedgerEntry {
    fn entry_id(&self) -> Ulid {
        self.id
    }

    fn void(id: Ulid) -> Self {
        Self {
            id,
            at: 0,
            epoch: 0,
            leader: None,
            revision: None,
            event: Event::Void,
        }
    }
}
