//! Where revisions come from: the control plane, or the storage alone.

mod control;
mod storage;

use std::sync::Arc;

use async_trait::async_trait;
use omnigraph_control_plane::serving::{PolicyText, Serving, ServingPolicy, ServingQuery};

pub use control::ControlSource;
pub use storage::StorageSource;

/// Gives the newest applied revision and its content.
#[async_trait]
pub trait RevisionSource: Send + Sync + 'static {
    /// The newest revision; `None` if nothing was ever applied.
    async fn newest(&self) -> Result<Option<Arc<Serving>>, SourceError>;

    /// The text of a stored query, verified by its digest.
    async fn query_source(&self, query: &ServingQuery) -> Result<String, SourceError>;

    /// The text of a policy, verified by its digest.
    async fn policy_text(&self, policy: &ServingPolicy) -> Result<PolicyText, SourceError>;
}

/// Why a revision or its content cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Nobody answers.
    #[error("{0}")]
    Unreachable(String),
    /// Content is missing, or not what its digest says.
    #[error("{0}")]
    Content(String),
    /// The ledger cannot be understood.
    #[error("{0}")]
    Unreadable(String),
}
