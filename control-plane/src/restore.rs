//! Making a graph of a backup, and taking it over.
//!
//! A restored graph is nothing to the cluster until an apply declares its id with its schema: then
//! it is adopted instead of a new graph being made.

use std::time::Duration;

use omnigraph_engine::Restored;
use omnigraph_engine::graph::GraphId;

use crate::error::{Error, ErrorKind, Result};
use crate::plane::{ControlPlane, authorship};

impl ControlPlane {
    /// Restores a backup as a graph that the ledger does not know, under the lead.
    pub async fn restore_graph(
        &self,
        uri: &str,
        id: &GraphId,
        patience: Duration,
    ) -> Result<Restored> {
        let turn = self.begin("restore", None, patience).await?;
        let outcome = self.restore_in_turn(uri, id, turn.leader.epoch).await;
        turn.finish().await;
        outcome
    }

    async fn restore_in_turn(&self, uri: &str, id: &GraphId, epoch: u64) -> Result<Restored> {
        let revision = self.shared().ledger.newest().await?;
        if revision.is_some_and(|revision| revision.content.graphs.contains_key(id)) {
            let message = format!("the cluster has a graph '{id}'");
            return Err(Error::new(ErrorKind::Invalid, message)
                .with_hint("restore under another id, or delete that graph first"));
        }
        let by = authorship(None, epoch, "restored from a backup");
        Ok(Box::pin(self.engine().restore_graph(uri, id, &by)).await?)
    }
}
