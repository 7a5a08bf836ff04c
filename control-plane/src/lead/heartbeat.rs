//! Heartbeats: one object per epoch that the leader rewrites.

use std::fmt;
use std::time::Duration;

use object_store::{ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::error::Result;
use crate::ledger::Leader;
use crate::plane::ControlPlane;

/// The operation that a leader runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Running {
    pub(crate) kind: String,
    pub(crate) operation_id: Ulid,
    pub(crate) actor: Option<String>,
    pub(crate) since: i64,
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let actor = self.actor.as_deref().unwrap_or("somebody");
        write!(
            f,
            "{} by {actor} runs (operation {})",
            self.kind, self.operation_id
        )
    }
}

/// What the object says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Heartbeat {
    lease_id: Ulid,
    /// Another one each time.
    beat: Ulid,
    /// The writer's wall clock.
    pub(super) at: i64,
    pub(super) operation: Option<Running>,
}

/// Decides by its own clock whether a leader still lives.
#[derive(Default)]
pub(crate) struct Watcher {
    seen: Option<(Ulid, Option<Ulid>, Duration)>,
}

impl Watcher {
    /// Whether the leader has certainly stopped: its process has ended, or its heartbeat stood
    /// still for the takeover time as this watcher saw it, or, with `trust`, for twice that time
    /// as the clocks of both machines say.
    pub(crate) async fn is_dead(
        &mut self,
        plane: &ControlPlane,
        leader: &Leader,
        trust: bool,
    ) -> Result<bool> {
        if leader
            .process
            .as_ref()
            .is_some_and(super::ProcessMark::has_ended)
        {
            return Ok(true);
        }
        let takeover = plane.options().takeover;
        let beat = plane.read_heartbeat(leader).await?;
        let clock = plane.store().clock();
        let written = beat.as_ref().map_or(leader.since, |beat| beat.at);
        let age = u64::try_from(clock.now_micros().saturating_sub(written)).unwrap_or(0);
        if trust && Duration::from_micros(age) > takeover * 2 {
            return Ok(true);
        }
        let now = clock.monotonic();
        let beat = beat.map(|beat| beat.beat);
        match &self.seen {
            Some((lease, seen, since)) if *lease == leader.lease_id && *seen == beat => {
                Ok(now.saturating_sub(*since) >= takeover)
            }
            _ => {
                self.seen = Some((leader.lease_id, beat, now));
                Ok(false)
            }
        }
    }
}

impl ControlPlane {
    /// Rewrites the heartbeat. Best effort: who misses some is not yet dead.
    pub(super) async fn show_life(&self, leader: &Leader) {
        let beat = Heartbeat {
            lease_id: leader.lease_id,
            beat: self.clock().fresh_id(),
            at: self.store().clock().now_micros(),
            operation: self.shared().running.lock().clone(),
        };
        let Ok(bytes) = serde_json::to_vec(&beat) else {
            return;
        };
        let path = self.heartbeat_path(leader);
        let put = self
            .store()
            .object_store()
            .put(&path, PutPayload::from(bytes))
            .await;
        if let Err(error) = put {
            tracing::warn!(%error, "the heartbeat could not be written");
        }
    }

    /// The leader's heartbeat; `None` if there is none, or it is another's.
    pub(super) async fn read_heartbeat(&self, leader: &Leader) -> Result<Option<Heartbeat>> {
        let path = self.heartbeat_path(leader);
        let bytes = match self.store().object_store().get(&path).await {
            Ok(got) => got.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let beat: Option<Heartbeat> = serde_json::from_slice(&bytes).ok();
        Ok(beat.filter(|beat| beat.lease_id == leader.lease_id))
    }

    pub(super) async fn forget_heartbeat(&self, leader: &Leader) {
        let path = self.heartbeat_path(leader);
        if let Err(error) = self.store().object_store().delete(&path).await {
            tracing::debug!(%error, "the heartbeat could not be removed");
        }
    }

    fn heartbeat_path(&self, leader: &Leader) -> object_store::path::Path {
        self.store()
            .path(&format!("cluster/heartbeat/{}.json", leader.epoch))
    }
}
