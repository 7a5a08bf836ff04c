//! How far a revision has been taken up.

use std::time::Duration;

use omnigraph_proto::common::v1::GraphState;
use omnigraph_proto::control::v1::{ReplicaRollout, Rollout};
use tokio::sync::mpsc;
use tonic::Status;

use crate::error::Result;
use crate::plane::ControlPlane;
use crate::replicas::Replica;

/// Reports that come together become one event.
const GATHER: Duration = Duration::from_millis(20);

impl ControlPlane {
    /// The state of a revision, 0 being the newest, for all graphs or one. Replicas report to the
    /// leader.
    pub(crate) async fn rollout(&self, number: u64, graph: &str) -> Result<Rollout> {
        self.only_as_leader().await?;
        let newest = self.shared().ledger.newest().await?;
        let target = match (number, &newest) {
            (0, Some(revision)) => revision.record.number,
            (number, _) => number,
        };
        let content = match &newest {
            Some(revision) if revision.record.number == target => revision
                .content
                .graphs
                .keys()
                .map(ToString::to_string)
                .collect(),
            None if target == 0 => Vec::new(),
            _ => {
                let revision = self.revision(target).await?;
                revision
                    .content
                    .graphs
                    .keys()
                    .map(ToString::to_string)
                    .collect()
            }
        };
        let wanted = content
            .into_iter()
            .filter(|id| graph.is_empty() || id == graph);
        Ok(self.measure(target, &wanted.collect::<Vec<_>>(), graph))
    }

    /// Tells how the revision is taken up, on each change, until every live replica serves it,
    /// there is none, nobody listens, or the time is over.
    pub(crate) async fn watch_rollout<T>(
        &self,
        number: u64,
        limit: Duration,
        to: &mpsc::Sender<Result<T, Status>>,
        encode: impl Fn(Rollout) -> T,
    ) {
        let clock = self.clock();
        let until = clock.after(limit);
        let mut changes = self.shared().replicas.watch();
        let mut last = None;
        loop {
            changes.mark_unchanged();
            let Ok(rollout) = self.rollout(number, "").await else {
                return;
            };
            let done = rollout.complete || rollout.live_replicas == 0;
            if last.as_ref() != Some(&shape(&rollout)) {
                last = Some(shape(&rollout));
                if to.send(Ok(encode(rollout))).await.is_err() {
                    return;
                }
            }
            if done || clock.instant() >= until || to.is_closed() {
                return;
            }
            // A replica that falls silent changes nothing by itself: look again once in a while.
            let look_again = until.min(clock.after(self.options().replica_heartbeat));
            let _ = clock.timeout_at(look_again, changes.changed()).await;
            clock.sleep_until(until.min(clock.after(GATHER))).await;
        }
    }

    fn measure(&self, target: u64, wanted: &[String], graph: &str) -> Rollout {
        let mut rollout = Rollout {
            target_revision: target,
            ..Rollout::default()
        };
        for (id, replica, live) in self.shared().replicas.all() {
            let counts = live && !replica.draining;
            if counts {
                rollout.live_replicas += 1;
                rollout.replicas_at_target += u32::from(serves(&replica, target, wanted));
            }
            let shown = replica
                .graphs
                .values()
                .filter(|g| graph.is_empty() || g.graph_id == graph);
            rollout.replicas.push(ReplicaRollout {
                replica_id: id,
                address: replica.address.clone(),
                version: replica.version.clone(),
                live,
                draining: replica.draining,
                last_seen: Some(crate::timestamp(replica.last_seen)),
                revision: replica.revision,
                graphs: shown.cloned().collect(),
            });
        }
        rollout.complete =
            rollout.live_replicas > 0 && rollout.replicas_at_target == rollout.live_replicas;
        rollout
    }
}

/// Whether a replica has taken the revision up and serves every graph of it.
fn serves(replica: &Replica, target: u64, wanted: &[String]) -> bool {
    let ready = |id: &String| {
        let graph = replica.graphs.get(id);
        graph.is_some_and(|graph| graph.state() == GraphState::Ready)
    };
    replica.revision >= target && wanted.iter().all(ready)
}

/// What makes one event differ from the last: not the time of a heartbeat.
fn shape(rollout: &Rollout) -> Rollout {
    let mut shape = rollout.clone();
    for replica in &mut shape.replicas {
        replica.last_seen = None;
    }
    shape
}
