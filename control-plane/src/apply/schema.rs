//! Moving the schema of a living graph: stage → arm → check the epoch → act.

use omnigraph_engine::graph::{CommitId, GraphId};
use omnigraph_engine::{Graph, GraphRoot, SchemaCommitError};
use omnigraph_proto::common::v1::Diagnostic;
use ulid::Ulid;

use crate::error::{Error, ErrorKind, Result};
use crate::failpoint::Point;
use crate::finding;
use crate::ledger::GraphContent;
use crate::plane::authorship;
use crate::rule::Rule;
use crate::sidecar::{Completion, Policies, Sidecar};

use super::run::Run;

/// A writer of data may be faster so many times.
const TRIES: u32 = 20;

/// A move that has landed; its sidecar is still there.
pub(super) struct Moved {
    pub(super) sidecar: Ulid,
    pub(super) commit: CommitId,
}

impl Run<'_> {
    /// Moves a graph to the schema of `after`. When this fails, the graph has not moved, or the
    /// sidecar is still there and the next leader decides.
    pub(super) async fn move_schema(
        &mut self,
        id: &GraphId,
        source: &str,
        before: &GraphContent,
        after: &GraphContent,
        completes: Option<Completion>,
    ) -> Result<Moved> {
        let root = GraphRoot {
            id: id.clone(),
            incarnation: before.incarnation,
        };
        let graph = self.plane.graph(&root).await?;
        let by = authorship(self.actor, self.turn.leader.epoch, self.message);
        let failpoints = &self.plane.options().failpoints;
        for _ in 0..TRIES {
            let commit_id = CommitId(self.plane.clock().fresh_id());
            let rules = &self.plane.options().rules;
            // Everything that can be refused is refused here, before a sidecar exists.
            let staged = graph.stage_schema(source, commit_id, &by).await?;
            failpoints.hit(Point::Staged).await?;
            let sidecar = Sidecar {
                completes: completes.clone(),
                ..self.sidecar(id, commit_id, staged.base_head(), before, after)
            };
            self.arm(&sidecar).await?;
            if let Err(error) = failpoints.hit(Point::Armed).await {
                self.disarm(sidecar.id).await;
                return Err(error);
            }
            // A new leader raises the epoch before it lists sidecars: either it has seen ours, or
            // we see it here.
            if rules.keep(Rule::SecondLook)
                && let Err(error) = self.plane.check_lead(&self.turn.leader).await
            {
                self.disarm(sidecar.id).await;
                return Err(error);
            }
            if let Err(error) = failpoints.hit(Point::Checked).await {
                self.disarm(sidecar.id).await;
                return Err(error);
            }
            let moved = Moved {
                sidecar: sidecar.id,
                commit: commit_id,
            };
            match graph.commit_schema(staged).await {
                Ok(_) => return Ok(moved),
                Err(SchemaCommitError::Conflict) => self.disarm(sidecar.id).await,
                Err(SchemaCommitError::Fenced) => {
                    self.disarm(sidecar.id).await;
                    let message = format!("a newer leader has changed graph '{id}'");
                    return Err(Error::new(ErrorKind::NotLeader, message));
                }
                Err(SchemaCommitError::Unknown(error) | SchemaCommitError::Other(error)) => {
                    if !rules.keep(Rule::Proof) {
                        self.disarm(sidecar.id).await;
                        return Err(error.into());
                    }
                    if self.has_landed(&graph, commit_id, error).await? {
                        return Ok(moved);
                    }
                    self.disarm(sidecar.id).await;
                }
            }
        }
        let message = format!("graph '{id}' is written to so often that its schema cannot move");
        Err(Error::unavailable(message).with_hint("apply again when there is less load"))
    }

    /// Decides what nobody knows: the fence takes the commit's chance, or finds it in the log.
    async fn has_landed(
        &self,
        graph: &Graph,
        commit_id: CommitId,
        cause: omnigraph_engine::Error,
    ) -> Result<bool> {
        let by = authorship(self.actor, self.turn.leader.epoch, "outcome unknown");
        match graph.fence(commit_id, &by).await {
            Ok(head) => Ok(head.schema_commit == commit_id),
            Err(error) => {
                tracing::warn!(%error, "an unknown outcome could not be decided");
                let message = format!("whether the schema moved is not known: {cause}");
                Err(Error::new(ErrorKind::RecoveryPending, message)
                    .with_hint("the next change of the cluster decides it first")
                    .with_source(cause))
            }
        }
    }

    fn sidecar(
        &self,
        id: &GraphId,
        commit_id: CommitId,
        expected_head: CommitId,
        before: &GraphContent,
        after: &GraphContent,
    ) -> Sidecar {
        Sidecar {
            format: Sidecar::current_format(),
            id: self.plane.clock().fresh_id(),
            operation_id: self.turn.operation_id,
            operation: self.operation.to_owned(),
            graph: id.clone(),
            actor: self.actor.map(str::to_owned),
            epoch: self.turn.leader.epoch,
            created_at: self.plane.store().clock().now_micros(),
            commit_id,
            expected_head,
            before: before.clone(),
            after: after.clone(),
            message: self.message.to_owned(),
            policies: Some(Policies {
                revision: self.made_on(),
                after: self.content.policies.clone(),
            }),
            completes: None,
        }
    }

    /// Writes the sidecar. One whose writing failed may exist all the same: it goes away again.
    async fn arm(&mut self, sidecar: &Sidecar) -> Result<()> {
        let armed = self.plane.shared().sidecars.arm(sidecar).await;
        if armed.is_err() {
            self.disarm(sidecar.id).await;
        }
        armed
    }

    /// Removes a sidecar; what cannot be removed is a warning, never silence.
    pub(super) async fn disarm(&mut self, id: Ulid) {
        if let Err(error) = self.plane.shared().sidecars.disarm(id).await {
            tracing::warn!(sidecar = %id, error = error.chain(), "a sidecar could not be removed");
            self.diagnostics.push(cleanup_failed(id, &error));
        }
    }
}

fn cleanup_failed(id: Ulid, error: &Error) -> Diagnostic {
    let message = format!("recovery file {id} could not be removed: {error}");
    let warning = finding::warning("recovery_sidecar_cleanup_failed", message);
    finding::hinted(warning, "the next change of the cluster removes it")
}
