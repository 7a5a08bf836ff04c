//! Resolving operations that were begun and not finished. Whoever leads does it: on taking the
//! lead, before each change, and in the background. No human and no restart is needed.

use std::collections::BTreeMap;

use omnigraph_engine::graph::{BranchName, GraphId};

use crate::apply::Publication;
use crate::error::{Error, ErrorKind, Result};
use crate::failpoint::Point;
use crate::ledger::{Content, Ending, Leader, Revision};
use crate::plane::{ControlPlane, authorship};
use crate::rule::Rule;
use crate::sidecar::{Found, Sidecar};

/// What the history calls a revision that a sweep made.
pub(crate) const RECOVERY: &str = "recovery";

/// Graphs whose operation could not be decided, and why. Only they have to wait.
pub(crate) type Undecided = BTreeMap<GraphId, String>;

impl ControlPlane {
    /// Resolves every sidecar. The caller has the turn, so none of them is its own.
    ///
    /// One that cannot be attributed to a graph is an error: its reach is unknown.
    pub(crate) async fn sweep(&self, leader: &Leader) -> Result<Undecided> {
        let mut undecided = Undecided::new();
        if !self.options().rules.keep(Rule::Sweep) {
            return Ok(undecided);
        }
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
        self.end_graphs(leader).await;
        Ok(undecided)
    }

    /// Whether something that the newest revision deleted has not ended for sure.
    pub(crate) async fn has_endings(&self, content: &Content) -> Result<bool> {
        for ending in &content.endings {
            if !self.shared().approvals.was_used(ending.approval).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Ends what the newest revision deleted and its apply did not get to.
    async fn end_graphs(&self, leader: &Leader) {
        let revision = match self.shared().ledger.newest().await {
            Ok(Some(revision)) => revision,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(error = error.chain(), "the newest revision cannot be read");
                return;
            }
        };
        for ending in &revision.content.endings {
            if let Err(error) = self.end_graph(leader, ending).await {
                let graph = &ending.graph;
                tracing::warn!(%graph, error = error.chain(), "a deleted graph has not ended yet");
            }
        }
    }

    /// Ends every branch of a graph that the ledger has deleted, and then marks the approval. Done
    /// already, this asks the storage nothing.
    pub(crate) async fn end_graph(&self, leader: &Leader, ending: &Ending) -> Result<()> {
        let approvals = &self.shared().approvals;
        if approvals.is_used(ending.approval) {
            return Ok(());
        }
        let failpoints = &self.options().failpoints;
        let message = format!("deleted by operation {}", ending.operation_id);
        let by = authorship(ending.actor.as_deref(), leader.epoch, &message);
        self.engine().tombstone_graph(&ending.root(), &by).await?;
        failpoints.hit(Point::Ended).await?;
        let (approval, operation) = (ending.approval, ending.operation_id);
        approvals.consume(approval, operation, ending.at).await?;
        self.forget_graph(&ending.root());
        tracing::info!(
            audit = true,
            graph = %ending.graph,
            incarnation = %ending.incarnation,
            approval = %ending.approval,
            actor = ending.actor,
            "a graph was deleted"
        );
        failpoints.hit(Point::Consumed).await
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
            let head = match self.options().rules.keep(Rule::Fence) {
                true => graph.fence(sidecar.commit_id, &by).await?,
                false => graph.branch(&BranchName::main()).await?.head,
            };
            let landed = head.schema_commit == sidecar.commit_id;
            let failpoints = &self.options().failpoints;
            failpoints.hit(Point::Fenced).await?;
            if landed && current.schema != sidecar.after.schema {
                let publication = self.rolled_forward(revision, sidecar, message).await?;
                self.publish(leader, publication).await?;
                failpoints.hit(Point::RolledForward).await?;
            }
            tracing::info!(graph = %sidecar.graph, landed, "an unfinished operation was resolved");
        }
        self.shared().sidecars.disarm(sidecar.id).await
    }

    /// The newest revision with the graph, and what decides about it, as the sidecar wanted them.
    /// If that was all that the operation had left to do, and nothing has happened since, it is
    /// finished.
    async fn rolled_forward(
        &self,
        revision: &Revision,
        sidecar: &Sidecar,
        message: String,
    ) -> Result<Publication> {
        let mut content = revision.content.clone();
        let mut config_digest = revision.record.config_digest.clone();
        let mut converged = false;
        let after = sidecar.after.clone();
        content.graphs.insert(sidecar.graph.clone(), after);
        if let Some(policies) = &sidecar.policies
            && self
                .only_recoveries_since(revision, policies.revision)
                .await?
        {
            content.policies.clone_from(&policies.after);
        }
        let completes = sidecar.completes.as_ref();
        if let Some(whole) = completes.filter(|whole| whole.revision == revision.record.number) {
            converged = whole.held_back.is_empty();
            config_digest = whole.config_digest.clone();
            content.cluster_name.clone_from(&whole.cluster_name);
            content.held_back.clone_from(&whole.held_back);
            content.observations.clone_from(&whole.observations);
        }
        Ok(Publication {
            content,
            config_digest,
            converged,
            actor: sidecar.actor.clone(),
            operation: RECOVERY,
            operation_id: sidecar.operation_id,
            message,
            epoch_floor: 0,
        })
    }

    /// Whether nobody has declared anything since the revision `base`.
    async fn only_recoveries_since(&self, newest: &Revision, base: u64) -> Result<bool> {
        let mut record = newest.record.clone();
        while record.number > base {
            let Some(previous) = record.previous.filter(|_| record.operation == RECOVERY) else {
                return Ok(false);
            };
            record = self.shared().ledger.record_at(previous).await?;
        }
        Ok(record.number == base)
    }
}

pub(crate) fn unattributable(path: &str, reason: &str) -> Error {
    let message = format!("recovery file {path} cannot be attributed to a graph: {reason}");
    Error::new(ErrorKind::RecoveryPending, message)
        .with_hint("upgrade this program, or move the file away after looking at it")
}
