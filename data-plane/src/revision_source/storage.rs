//! Revisions from the ledger and the catalog in storage.

use std::sync::Arc;

use async_trait::async_trait;
use omnigraph_control_plane::serving::{
    PolicyText, Serving, ServingPolicy, ServingQuery, ServingReader,
};
use omnigraph_control_plane::{Error, ErrorKind};
use omnigraph_engine::Store;

use super::{RevisionSource, SourceError};

/// Reads the storage without a control plane.
#[derive(Clone)]
pub struct StorageSource {
    reader: ServingReader,
}

impl StorageSource {
    /// Reads one storage root.
    pub fn new(store: &Store) -> Self {
        StorageSource {
            reader: ServingReader::new(store),
        }
    }
}

#[async_trait]
impl RevisionSource for StorageSource {
    async fn newest(&self) -> Result<Option<Arc<Serving>>, SourceError> {
        self.reader.newest().await.map_err(|error| of(&error))
    }

    async fn query_source(&self, query: &ServingQuery) -> Result<String, SourceError> {
        let source = self.reader.query_source(query).await;
        source.map_err(|error| of(&error))
    }

    async fn policy_text(&self, policy: &ServingPolicy) -> Result<PolicyText, SourceError> {
        let text = self.reader.policy_text(policy).await;
        text.map_err(|error| of(&error))
    }
}

fn of(error: &Error) -> SourceError {
    let message = error.to_string();
    match error.kind() {
        ErrorKind::Unavailable => SourceError::Unreachable(message),
        ErrorKind::Corrupt => SourceError::Content(message),
        _ => SourceError::Unreadable(message),
    }
}
