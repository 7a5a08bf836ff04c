//! A baseline: all entities of one commit, and a cursor that goes on behind it.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;

use super::{FeedPosition, FeedRequest};
use crate::error::Result;
use crate::graph::{BranchName, ChangeFilter, CommitId, Graph};

/// A baseline of a branch. The cursor counts only once the records were read to their end.
pub struct Baseline {
    /// The commit that the records are of.
    pub commit: CommitId,
    /// Where a feed goes on behind that commit.
    pub cursor: String,
    /// The entities as load records.
    pub records: Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>,
}

impl std::fmt::Debug for Baseline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Baseline").field(&self.commit).finish()
    }
}

impl Graph {
    /// The entities of a branch's head, and a cursor from there on. Kinds and types of the filter
    /// narrow both; what happened (`ops`) narrows only what the cursor will bring.
    pub async fn baseline(&self, branch: &BranchName, filter: &ChangeFilter) -> Result<Baseline> {
        let head = self.shared.branches.head(branch).await?;
        let request = FeedRequest {
            branch: branch.clone(),
            position: FeedPosition::Now,
            filter: filter.clone(),
            limit: None,
            wait: Duration::ZERO,
        };
        let cursor = self.cursor(&request, &head, head.at.clone()).seal()?;
        let snapshot = self.open(head.commit, Some(branch.clone())).await?;
        let selection = filter.select(&[&snapshot.schema.catalog])?;
        let types = selection.types.into_iter().map(|(_, id)| id).collect();
        Ok(Baseline {
            commit: snapshot.commit_id(),
            cursor,
            records: Box::pin(self.export_types(&snapshot, types)),
        })
    }
}
