//! Heartbeats: one object per epoch that the leader rewrites. They tell that it lives and what it
//! does; nothing depends on their being right.

use std::time::Duration;

use object_store::{ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::error::Result;
use crate::ledger::{Leader, State};
use crate::operation::Ended;
use crate::plane::ControlPlane;
use crate::rule::Rule;

/// The operation that a leader runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Running {
    pub(crate) kind: String,
    pub(crate) operation_id: Ulid,
    pub(crate) actor: Option<String>,
    pub(crate) since: i64,
}

/// What the object says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Heartbeat {
    pub(crate) lease_id: Ulid,
    /// Another one each time.
    beat: Ulid,
    /// The writer's wall clock.
    pub(crate) at: i64,
    /// How often the writer means to write, in microseconds; 0 when it does not say.
    #[serde(default)]
    every: u64,
    pub(crate) operation: Option<Running>,
    /// The newest operations that have ended, its predecessors' too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) recent: Vec<Ended>,
}

/// What is known of a leader's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It may well live.
    Alive,
    /// Clocks say that it has been silent for long; they may be wrong.
    Doubtful,
    /// It has certainly stopped.
    Ended,
}

/// Watches a leader by its own clock.
pub(super) struct Watcher {
    /// Whoever runs one command does not want to wait for long.
    hurried: bool,
    seen: Option<(Ulid, Option<Ulid>, Duration)>,
}

impl Watcher {
    pub(super) fn new(hurried: bool) -> Self {
        Self {
            hurried,
            seen: None,
        }
    }

    /// A leader has stopped when its process has ended, or its heartbeat stood still for the
    /// takeover time as this watcher saw it. What clocks of two machines say about each other only
    /// shortens a hurried watch: to a few heartbeats, in which a living leader would have shown
    /// itself.
    pub(super) async fn look(&mut self, plane: &ControlPlane, leader: &Leader) -> Result<Life> {
        if leader.has_certainly_ended() || !plane.options().rules.keep(Rule::Watch) {
            return Ok(Life::Ended);
        }
        let options = plane.options();
        let beat = plane.read_heartbeat(leader).await?;
        let clock = plane.store().clock();
        let written = beat.as_ref().map_or(leader.since, |beat| beat.at);
        let apart = clock.now_micros().abs_diff(written);
        let doubtful = Duration::from_micros(apart) > options.takeover * 2;
        let every = beat.as_ref().map_or(0, |beat| beat.every);
        let every = Duration::from_micros(every).max(options.heartbeat);
        // A leader that writes seldom is given the time that it needs.
        let mut limit = options.takeover.max(every * 3);
        if doubtful && self.hurried {
            limit = limit.min(every * 2);
        }
        let now = clock.monotonic();
        let beat = beat.map(|beat| beat.beat);
        let still = match &self.seen {
            Some((lease, seen, since)) if *lease == leader.lease_id && *seen == beat => {
                now.saturating_sub(*since)
            }
            _ => {
                self.seen = Some((leader.lease_id, beat, now));
                Duration::ZERO
            }
        };
        Ok(match doubtful {
            _ if still >= limit => Life::Ended,
            true => Life::Doubtful,
            false => Life::Alive,
        })
    }
}

impl Leader {
    /// Whether its process has ended, as far as this machine can tell.
    pub(crate) fn has_certainly_ended(&self) -> bool {
        self.process
            .as_ref()
            .is_some_and(super::ProcessMark::has_ended)
    }
}

impl ControlPlane {
    /// Rewrites the heartbeat. Best effort: who misses some is not yet dead.
    pub(super) async fn show_life(&self, leader: &Leader) {
        let every = self.options().heartbeat.as_micros();
        let beat = Heartbeat {
            lease_id: leader.lease_id,
            beat: self.clock().fresh_id(),
            at: self.store().clock().now_micros(),
            every: u64::try_from(every).unwrap_or(0),
            operation: self.shared().running.lock().clone(),
            recent: self.shared().operations.recent(),
        };
        let Ok(bytes) = serde_json::to_vec(&beat) else {
            return;
        };
        let path = self.heartbeat_path(leader.epoch);
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
        let beat = self.heartbeat_of(leader.epoch).await?;
        Ok(beat.filter(|beat| beat.lease_id == leader.lease_id))
    }

    /// The heartbeat of whoever leads, or led last.
    pub(crate) async fn last_heartbeat(&self, state: &State) -> Result<Option<Heartbeat>> {
        self.heartbeat_of(state.epoch).await
    }

    async fn heartbeat_of(&self, epoch: u64) -> Result<Option<Heartbeat>> {
        if epoch == 0 {
            return Ok(None);
        }
        let path = self.heartbeat_path(epoch);
        let bytes = match self.store().object_store().get(&path).await {
            Ok(got) => got.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(serde_json::from_slice(&bytes).ok())
    }

    /// Takes over what the last leader told of operations, and removes its heartbeat.
    pub(super) async fn succeed(&self, earlier: Heartbeat, last: Option<&Leader>, own: &Leader) {
        let mut recent = earlier.recent;
        if let Some(running) = earlier.operation {
            let holder = last
                .map(|leader| leader.holder.as_str())
                .unwrap_or_default();
            recent.push(Ended::cut_off(running, holder));
        }
        self.shared().operations.inherit(recent);
        // First ours, then away with theirs: what was done is never forgotten.
        self.show_life(own).await;
        let path = self.heartbeat_path(own.epoch - 1);
        if let Err(error) = self.store().object_store().delete(&path).await {
            tracing::debug!(%error, "an old heartbeat could not be removed");
        }
    }

    fn heartbeat_path(&self, epoch: u64) -> object_store::path::Path {
        self.store()
            .path(&format!("cluster/heartbeat/{epoch}.json"))
    }
}
