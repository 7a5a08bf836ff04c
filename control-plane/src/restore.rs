//! Making a graph of a backup, and taking it over.
//!
//! A restored graph is nothing to the cluster until an apply declares its id with its schema: then
//! it is adopted instead of a new graph being made.

use std::time::Duration;

use omnigraph_engine::graph::GraphId;
use omnigraph_engine::{GraphRoot, ReadOptions, Restored, Target};

use crate::declared::DeclaredGraph;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::plane::{ControlPlane, authorship};

/// A restored graph that waits for its declaration.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Waiting {
    pub(crate) root: GraphRoot,
    /// The backup that it was made of.
    pub(crate) from: String,
    /// Digest of the meaning of its schema.
    pub(crate) schema: Digest,
}

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

    /// The newest graph that was restored under an id and is not applied.
    pub(crate) async fn waiting(&self, id: &GraphId) -> Result<Option<Waiting>> {
        let mut roots = self.engine().graph_incarnations(id).await?;
        roots.sort_by_key(|root| root.incarnation);
        for root in roots.into_iter().rev() {
            let Some(from) = self.engine().restored_from(&root).await? else {
                continue;
            };
            let graph = self.engine().open_graph(&root).await?;
            let read = ReadOptions::default();
            let Ok(snapshot) = graph.snapshot(&Target::default(), &read).await else {
                // It was deleted.
                continue;
            };
            return Ok(Some(Waiting {
                root,
                from,
                schema: Digest::of_schema(&snapshot.schema().catalog),
            }));
        }
        Ok(None)
    }
}

/// Why a restored graph cannot be taken over as it is declared.
pub(crate) fn refusal(waiting: &Waiting, declared: &DeclaredGraph) -> Option<String> {
    let schema = declared.schema.as_ref()?;
    (schema.digest != waiting.schema).then(|| {
        format!(
            "a graph '{}' was restored from {} and has another schema: declare that one first, and change it then",
            waiting.root.id, waiting.from
        )
    })
}
