//! Backups: what commits need, copied to another storage root, verified by digest.
//!
//! ```text
//! <destination>/<graph>/objects/<incarnation>/…      objects under their paths below the graph's root
//! <destination>/<graph>/<backup>/manifest.ndjson     what belongs to the backup, written last
//! ```
//!
//! Objects of a graph never change and their paths are never used twice, so that a later backup
//! copies only what is new. A backup without its manifest, and a restored graph without its
//! `graph.json`, are nothing: both are written last.
//!
//! | file | subject |
//! |---|---|
//! | `manifest` | what a manifest holds |
//! | `place` | where backups lie, and finding them |
//! | `copy` | copying objects, with their digests |
//! | `create`, `verify`, `restore` | the operations |

mod copy;
mod create;
mod manifest;
mod place;
mod restore;
#[cfg(test)]
mod tests;
mod verify;

use std::sync::Arc;

use ulid::Ulid;

#[cfg(test)]
pub(crate) use self::verify::{list_at, verify_at};
pub use self::verify::{list_backups, verify_backup};
use super::collect::{Amount, CollectProgress};
use super::{CommitId, GraphId, Incarnation, Target};

/// What is backed up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupScope {
    /// One commit, without history.
    Commit(Target),
    /// Every branch with its kept history, and the tags.
    History,
}

/// How a backup is made.
#[derive(Clone)]
pub struct BackupOptions {
    /// What is backed up.
    pub scope: BackupScope,
    /// Is told how far it is.
    pub progress: Option<Arc<dyn Fn(CollectProgress) + Send + Sync>>,
}

impl std::fmt::Debug for BackupOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackupOptions")
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// A complete backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupInfo {
    /// Its id.
    pub id: Ulid,
    /// The graph and incarnation that it was made of.
    pub graph: GraphId,
    /// The graph's incarnation.
    pub incarnation: Incarnation,
    /// The commit that it holds; with history the head of `main`.
    pub commit: CommitId,
    /// Whether it holds the history.
    pub history: bool,
    /// When it was made, in microseconds since the Unix epoch.
    pub created_at: i64,
    /// Its URI: what verifying and restoring take.
    pub uri: String,
    /// Its manifest's URI.
    pub manifest_uri: String,
    /// All that belongs to it.
    pub content: Amount,
    /// What had to be copied for it; nothing when it was read.
    pub copied: Amount,
}

/// What verifying found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupCheck {
    /// Objects that match their digests.
    pub matching: Amount,
    /// Objects that are not there.
    pub missing: Vec<String>,
    /// Objects with another content.
    pub mismatched: Vec<String>,
}

impl BackupCheck {
    /// Whether everything is there and as it was.
    pub fn is_ok(&self) -> bool {
        self.missing.is_empty() && self.mismatched.is_empty()
    }
}

/// A restored graph, which serves nothing until it is adopted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Where it lies.
    pub root: super::GraphRoot,
    /// Its head.
    pub commit: CommitId,
    /// What was restored.
    pub content: Amount,
}
