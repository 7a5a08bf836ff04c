//! Resolving operations that were begun and not finished. Whoever leads does it: on taking the
//! lead, before each change, and in the background. No human and no restart is needed.

use std::collections::BTreeMap;

use omnigraph_engine::graph::GraphId;

use crate::apply::Publication;
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::Leader;
use crate::plane::{ControlPlane, authorship};
use crate::sidecar::{Found, Sidecar};

/// Graphs whose operation could not be decided, and why. Only they have to wait.
pub(crate) type Undecided = BTreeMap<GraphId, String>;

impl ControlPlane {
    /// Resolves every sidecar. The caller has the turn, so none of them is its own.
    ///
    /// One that cannot be attributed to a graph is an error: its reach is unknown.
    pub(crate) async fn sweep(&self, leader: &Leader) -> Result<Undecided> {
        let mut undecided = Undecided::new();
        for found in self.shared().sidecars.list().await? {
            match found {
                Found::Sidecar(sidecar) => {
                    if let Err(error) = self.resolve(leader, &sidecar).await {
                        if error.kind() == ErrorKind::NotLeader {
                            return Err(error);
                        }
                        tracing::warn!(
                            graph = %sidecar.graph,
                            operation = %sidecar.operation_id,
                            error = error.chain(),
                            "recovery is pending"
                        );
                        undecided.insert(sidecar.graph.clone(), error.message().to_owned());
                    }
                }
                Found::Unattributable { path, reason } => {
                    return Err(unattributable(&path, &reason));
                }
            }
        }
        Ok(undecided)
    }

    /// Shuts the commit out or finds that it has landed: then the ledger is rolled forward to the
    /// sidecar's after-image, otherwise the operation never happened.
    async fn resolve(&self, leader: &Leader, sidecar: &Sidecar) -> Result<()> {
        let revision = self.shared().ledger.newest().await?;
        let current = revision
            .as_ref()
            .and_then(|r| r.content.graphs.get(&sidecar.graph));
        let same = current.filter(|graph| graph.incarnation == sidecar.before.incarnation);
        if let (Some(revision), Some(current)) = (&revision, same) {
            let message = format!("recovery of operation {}", sidecar.operation_id);
            let by = authorship(sidecar.actor.as_deref(), leader.epoch, &message);
            let root = omnigraph_engine::GraphRoot {
                id: sidecar.graph.clone(),
                incarnation: current.incarnation,
            };
            let graph = self.graph(&root).await?;
            let head = graph.fence(sidecar.commit_id, &by).await?;
            let landed = head.schema_commit == sidecar.commit_id;
            if landed && current.schema != sidecar.after.schema {
                let mut content = revision.content.clone();
                content
                    .graphs
                    .insert(sidecar.graph.clone(), sidecar.after.clone());
                let publication = Publication {
                    content,
                    config_digest: revision.record.config_digest.clone(),
                    converged: false,
                    actor: sidecar.actor.clone(),
                    operation: "recovery",
                    operation_id: sidecar.operation_id,
                    message,
                };
                self.publish(leader, publication).await?;
            }
            tracing::info!(graph = %sidecar.graph, landed, "an unfinished operation was resolved");
        }
        self.shared().sidecars.disarm(sidecar.id).await
    }
}

pub(crate) fn unattributable(path: &str, reason: &str) -> Error {
    let message = format!("recovery file {path} cannot be attributed to a graph: {reason}");
    Error::new(ErrorKind::RecoveryPending, message)
        .with_hint("upgrade this program, or move the file away after looking at it")
}
