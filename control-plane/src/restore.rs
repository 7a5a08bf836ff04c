//! Making a graph of a backup, and taking it over.
//!
//! A restored graph is nothing to the cluster until an apply declares its id with its schema: then
//! it is adopted instead of a new graph being made.

use std::sync::Arc;
use std::time::Duration;

use omnigraph_engine::Restored;
use omnigraph_engine::graph::GraphId;
use omnigraph_proto::control::v1::{RestoreGraphRequest, RestoreResult};

use crate::error::{Error, ErrorKind, Result};
use crate::lead::Turn;
use crate::operation::{Event, Operation};
use crate::plan::expect_revision;
use crate::plane::{ControlPlane, authorship};

impl ControlPlane {
    /// Restores a backup as a graph that the ledger does not know, under the lead.
    ///
    /// # Errors
    /// `Invalid` if the ledger knows the id; what [`omnigraph_engine::Engine::restore_graph`] says.
    pub async fn restore_graph(
        &self,
        uri: &str,
        id: &GraphId,
        patience: Duration,
    ) -> Result<Restored> {
        let request = RestoreGraphRequest {
            uri: uri.to_owned(),
            graph_id: id.to_string(),
            lock_timeout_ms: u32::try_from(patience.as_millis()).unwrap_or(u32::MAX),
            ..RestoreGraphRequest::default()
        };
        let admitted = self.admit_restore(&request, None).await?;
        match admitted.restore().await {
            Ok(restored) => {
                admitted.turn.finish().await;
                Ok(restored)
            }
            Err(error) => {
                admitted.turn.give_back().await;
                Err(error)
            }
        }
    }

    /// Waits for the turn and checks that the id is free. An error means that nothing was begun.
    pub(crate) async fn admit_restore(
        &self,
        request: &RestoreGraphRequest,
        actor: Option<&str>,
    ) -> Result<AdmittedRestore> {
        let invalid = |message: String| Error::new(ErrorKind::Invalid, message);
        let id = GraphId::parse(&request.graph_id)
            .map_err(|error| invalid(error.message().to_owned()))?;
        if request.uri.is_empty() {
            return Err(invalid("the request names no backup".to_owned())
                .with_hint("`backup list` shows their URIs"));
        }
        let patience = Duration::from_millis(request.lock_timeout_ms.into());
        let turn = self.begin("restore", actor, patience).await?;
        turn.operation.note(&request.message);
        let free = async {
            let revision = self.shared().ledger.newest().await?;
            let number = revision
                .as_ref()
                .map_or(0, |revision| revision.record.number);
            expect_revision(request.expect_revision, number)?;
            if revision.is_some_and(|revision| revision.content.graphs.contains_key(&id)) {
                return Err(invalid(format!("the cluster has a graph '{id}'"))
                    .with_hint("restore under another id, or delete that graph first"));
            }
            Ok(())
        };
        if let Err(error) = free.await {
            turn.give_back().await;
            return Err(error);
        }
        Ok(AdmittedRestore {
            plane: self.clone(),
            turn,
            uri: request.uri.clone(),
            id,
            actor: actor.map(str::to_owned),
            message: request.message.clone(),
        })
    }
}

/// A restoration that may run.
pub(crate) struct AdmittedRestore {
    plane: ControlPlane,
    turn: Turn,
    uri: String,
    id: GraphId,
    actor: Option<String>,
    message: String,
}

impl AdmittedRestore {
    pub(crate) fn operation(&self) -> &Arc<Operation> {
        &self.turn.operation
    }

    /// Runs to the end, whether or not anybody listens.
    pub(crate) async fn run(self) {
        match self.restore().await {
            Ok(restored) => {
                self.turn.operation.tell(Event::Restored(RestoreResult {
                    graph_id: self.id.to_string(),
                    graph_commit_id: restored.commit.to_string(),
                    incarnation: restored.root.incarnation.to_string(),
                    objects: restored.content.objects,
                    bytes: restored.content.bytes,
                    uri: self.uri.clone(),
                }));
                self.turn.finish().await;
            }
            Err(error) => {
                tracing::warn!(error = error.chain(), "a backup was not restored");
                self.turn.fail(error).await;
            }
        }
    }

    /// Nobody wants it any more: nothing was begun.
    pub(crate) async fn give_back(self) {
        self.turn.give_back().await;
    }

    async fn restore(&self) -> Result<Restored> {
        let message = match self.message.as_str() {
            "" => "restored from a backup",
            message => message,
        };
        let by = authorship(self.actor.as_deref(), self.turn.leader.epoch, message);
        let engine = self.plane.engine();
        Ok(Box::pin(engine.restore_graph(&self.uri, &self.id, &by)).await?)
    }
}
