//! Looking at graphs and catalog without a configuration, and writing down what differs from what
//! was applied. Nothing is repaired here but the content of the newest revision itself: the next
//! apply repairs what it has the texts of.

use std::collections::BTreeMap;
use std::time::Duration;

use omnigraph_proto::control::v1 as pb;

use crate::apply::Publication;
use crate::catalog::BlobKind;
use crate::error::{Error, ErrorKind, Result};
use crate::failpoint::Point;
use crate::lead::Turn;
use crate::ledger::{Revision, Verdict};
use crate::plane::ControlPlane;

/// What the history calls it.
pub(crate) const OPERATION: &str = "refresh";

impl ControlPlane {
    /// Records what drifted; a revision is written only if that is something new.
    pub(crate) async fn refresh(
        &self,
        request: &pb::RefreshRequest,
        actor: Option<&str>,
    ) -> Result<pb::ClusterStatus> {
        let patience = Duration::from_millis(request.lock_timeout_ms.into());
        let turn = self.begin(OPERATION, actor, patience).await?;
        let outcome = self.refresh_in_turn(&turn, request, actor).await;
        turn.conclude(outcome).await?;
        self.status().await
    }

    async fn refresh_in_turn(
        &self,
        turn: &Turn,
        request: &pb::RefreshRequest,
        actor: Option<&str>,
    ) -> Result<()> {
        let undecided = self.sweep(&turn.leader).await?;
        let Some(base) = self.shared().ledger.newest().await? else {
            return Err(
                Error::new(ErrorKind::NotFound, "nothing was applied here yet")
                    .with_hint("omnigraphctl apply, or import for graphs that exist"),
            );
        };
        crate::plan::expect_revision(request.expect_revision, base.record.number)?;
        self.keep_content(&base).await?;
        let sight = self
            .look(&base.content, &BTreeMap::new(), &undecided)
            .await?;
        let now = self.store().clock().now_micros();
        let mut seen = sight.observations(&base.content, now);
        // What could not be looked at is as it was.
        let skipped = |address: &String| {
            let graph = crate::address::graph_of(address);
            undecided.keys().any(|id| Some(id.as_str()) == graph)
        };
        let before = base.content.observations.iter();
        seen.extend(
            before
                .filter(|(address, _)| skipped(address))
                .map(|(address, known)| (address.clone(), known.clone())),
        );
        if seen == base.content.observations {
            return Ok(());
        }
        let drifted = seen.values().any(|seen| seen.verdict == Verdict::Drifted);
        let converged = !drifted && self.converged_when_changed(&base).await?;
        let mut content = base.content.clone();
        content.observations = seen;
        let publication = Publication {
            content,
            config_digest: base.record.config_digest.clone(),
            converged,
            actor: actor.map(str::to_owned),
            operation: OPERATION,
            operation_id: turn.operation_id,
            message: request.message.clone(),
            epoch_floor: 0,
        };
        let failpoints = &self.options().failpoints;
        failpoints.hit(Point::Publishing).await?;
        self.publish(&turn.leader, publication).await?;
        failpoints.hit(Point::Published).await
    }

    /// Whether the last revision that changed something had converged; those that only looked say
    /// less.
    async fn converged_when_changed(&self, base: &Revision) -> Result<bool> {
        let mut record = base.record.clone();
        while record.operation == OPERATION
            && let Some(previous) = record.previous
        {
            match self.shared().ledger.record_if_kept(previous).await? {
                Some(earlier) => record = earlier,
                None => break,
            }
        }
        Ok(record.converged)
    }

    /// The content of the newest revision is what everything hangs on. This process knows it, so
    /// that it can put it back.
    async fn keep_content(&self, newest: &Revision) -> Result<()> {
        let (catalog, digest) = (&self.shared().catalog, &newest.record.content);
        match catalog.get(digest, BlobKind::Revision).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                let bytes = newest.content.to_bytes()?;
                if crate::digest::Digest::of(&bytes) != *digest {
                    return Err(error);
                }
                catalog.put(BlobKind::Revision, &bytes).await?;
                tracing::warn!(revision = newest.record.number, "its content was put back");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
