//! What is remembered of an operation that has ended, and finding one by its id.

use omnigraph_proto::control::v1 as pb;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::error::{Error, ErrorKind, Result};
use crate::finding;
use crate::lead::Running;
use crate::ledger::RevisionRecord;
use crate::plane::ControlPlane;
use crate::sidecar::Found;
use crate::sweep::RECOVERY;

/// Revisions that are looked through for one operation.
const REVISIONS_MAX: usize = 1000;
/// An operation's revisions are not older than its id, as far as clocks agree.
const CLOCKS: i64 = 24 * 3600 * 1_000_000;
/// Operations of one answer.
const PAGE: usize = 20;
const PAGE_MAX: usize = 200;

/// An operation that has ended, in a few words. Heartbeats carry the newest ones on from leader to
/// leader, for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ended {
    #[serde(flatten)]
    pub(crate) running: Running,
    /// None when nobody saw it end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_at: Option<i64>,
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) holder: String,
    #[serde(default)]
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) revision: u64,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) failure: String,
}

impl Ended {
    /// What was running when its leader was last heard of.
    pub(crate) fn cut_off(running: Running, holder: &str) -> Self {
        Self {
            running,
            ended_at: None,
            state: pb::OperationState::Interrupted.label().to_owned(),
            holder: holder.to_owned(),
            message: String::new(),
            revision: 0,
            failure: String::new(),
        }
    }

    pub(super) fn of(operation: &pb::Operation, running: &Running) -> Self {
        let micros =
            |at: &prost_types::Timestamp| at.seconds * 1_000_000 + i64::from(at.nanos) / 1_000;
        let failed = operation.result.as_ref().filter(|result| !result.ok);
        let why = operation.failure.as_ref();
        let why = why.or_else(|| {
            failed.and_then(|result| result.diagnostics.iter().find(|d| finding::is_error(d)))
        });
        Self {
            running: running.clone(),
            ended_at: operation.ended_at.as_ref().map(micros),
            state: operation.state().label().to_owned(),
            holder: operation.holder.clone(),
            message: operation.message.clone(),
            revision: operation.revision,
            failure: why.map(|found| found.message.clone()).unwrap_or_default(),
        }
    }

    pub(super) fn describe(&self) -> pb::Operation {
        let state = pb::OperationState::from_label(&self.state);
        let failure = Some(&self.failure).filter(|text| !text.is_empty());
        pb::Operation {
            state: state.unwrap_or_default().into(),
            ended_at: self.ended_at.map(crate::timestamp),
            holder: self.holder.clone(),
            message: self.message.clone(),
            revision: self.revision,
            failure: failure.map(|text| finding::error("operation_failed", None, text)),
            ..of_running(&self.running, pb::OperationState::Unspecified)
        }
    }
}

fn of_running(running: &Running, state: pb::OperationState) -> pb::Operation {
    pb::Operation {
        operation_id: running.operation_id.to_string(),
        kind: running.kind.clone(),
        state: state.into(),
        actor_id: running.actor.clone().unwrap_or_default(),
        started_at: Some(crate::timestamp(running.since)),
        ..pb::Operation::default()
    }
}

/// A revision tells of the operation that made it. One that another leader had to complete was
/// interrupted.
fn of_revision(record: &RevisionRecord) -> pb::Operation {
    let state = match record.operation.as_str() {
        RECOVERY => pb::OperationState::Interrupted,
        _ => pb::OperationState::Succeeded,
    };
    let started = i64::try_from(record.operation_id.timestamp_ms() * 1_000).unwrap_or(0);
    pb::Operation {
        operation_id: record.operation_id.to_string(),
        kind: record.operation.clone(),
        state: state.into(),
        actor_id: record.actor.clone().unwrap_or_default(),
        started_at: Some(crate::timestamp(started)),
        ended_at: Some(crate::timestamp(record.created_at)),
        message: record.message.clone(),
        revision: record.number,
        ..pb::Operation::default()
    }
}

impl ControlPlane {
    /// One operation, from memory, the leader's heartbeat, sidecars and the ledger.
    pub(crate) async fn operation(&self, id: Ulid) -> Result<pb::Operation> {
        let pending = self.pending(id).await?;
        let known = match self.shared().operations.get(id) {
            Some(operation) => Some(operation.describe()),
            None => match self.remembered().await?.into_iter().find(|one| is(one, id)) {
                Some(found) => Some(found),
                None => self.of_ledger(id).await?,
            },
        };
        let mut operation = match (known, pending.first()) {
            (Some(known), _) => known,
            (None, Some((_, sidecar))) => sidecar.clone(),
            (None, None) => return Err(unknown(id)),
        };
        operation.pending_graphs = pending.into_iter().map(|(graph, _)| graph).collect();
        if operation.state() != pb::OperationState::Running && !operation.pending_graphs.is_empty()
        {
            operation.state = pb::OperationState::Interrupted.into();
        }
        Ok(operation)
    }

    /// What runs, what is remembered, and what made the newest revisions; newest first.
    pub(crate) async fn operations(&self, page_size: u32) -> Result<Vec<pb::Operation>> {
        let size = match page_size {
            0 => PAGE,
            size => (size as usize).min(PAGE_MAX),
        };
        let own = self.shared().operations.all();
        let mut found: Vec<pb::Operation> = own.iter().map(|one| one.describe()).collect();
        let add = |found: &mut Vec<pb::Operation>, one: pb::Operation| {
            if !found
                .iter()
                .any(|known| known.operation_id == one.operation_id)
            {
                found.push(one);
            }
        };
        for one in self.remembered().await? {
            add(&mut found, one);
        }
        let mut next = self.shared().ledger.state().await?.revision;
        for _ in 0..size {
            let Some(pointer) = next else { break };
            // Older ones were reclaimed.
            let Some(record) = self.shared().ledger.record_if_kept(pointer).await? else {
                break;
            };
            next = record.previous;
            add(&mut found, of_revision(&record));
        }
        // Ids sort by time.
        found.sort_by(|a, b| b.operation_id.cmp(&a.operation_id));
        found.truncate(size);
        Ok(found)
    }

    /// What the leader's heartbeat tells, or that of the last leader.
    async fn remembered(&self) -> Result<Vec<pb::Operation>> {
        let state = self.shared().ledger.state().await?;
        let Some(beat) = self.last_heartbeat(&state).await? else {
            return Ok(Vec::new());
        };
        let mut found: Vec<_> = beat.recent.iter().map(Ended::describe).collect();
        if let Some(running) = &beat.operation {
            let leader = state
                .leader
                .as_ref()
                .filter(|leader| leader.lease_id == beat.lease_id);
            let alive = leader.is_some_and(|leader| !leader.has_certainly_ended());
            let state = if alive {
                pb::OperationState::Running
            } else {
                pb::OperationState::Interrupted
            };
            let holder = leader
                .map(|leader| leader.holder.clone())
                .unwrap_or_default();
            found.push(pb::Operation {
                holder,
                ..of_running(running, state)
            });
        }
        Ok(found)
    }

    /// Graphs whose part in an operation is not resolved.
    async fn pending(&self, id: Ulid) -> Result<Vec<(String, pb::Operation)>> {
        let mut pending = Vec::new();
        for found in self.shared().sidecars.list().await? {
            let Found::Sidecar(sidecar) = found else {
                continue;
            };
            if sidecar.operation_id != id {
                continue;
            }
            let operation = pb::Operation {
                operation_id: id.to_string(),
                kind: sidecar.operation.clone(),
                state: pb::OperationState::Interrupted.into(),
                actor_id: sidecar.actor.clone().unwrap_or_default(),
                started_at: Some(crate::timestamp(sidecar.created_at)),
                message: sidecar.message.clone(),
                ..pb::Operation::default()
            };
            pending.push((sidecar.graph.to_string(), operation));
        }
        Ok(pending)
    }

    /// The newest revision that an operation made.
    async fn of_ledger(&self, id: Ulid) -> Result<Option<pb::Operation>> {
        let begun = i64::try_from(id.timestamp_ms() * 1_000).unwrap_or(i64::MAX);
        let mut next = self.shared().ledger.state().await?.revision;
        for _ in 0..REVISIONS_MAX {
            let Some(pointer) = next else { break };
            // Older ones were reclaimed.
            let Some(record) = self.shared().ledger.record_if_kept(pointer).await? else {
                break;
            };
            if record.operation_id == id {
                return Ok(Some(of_revision(&record)));
            }
            if record.created_at.saturating_add(CLOCKS) < begun {
                break;
            }
            next = record.previous;
        }
        Ok(None)
    }
}

fn is(operation: &pb::Operation, id: Ulid) -> bool {
    operation.operation_id == id.to_string()
}

fn unknown(id: Ulid) -> Error {
    let message = format!("no operation {id} is known");
    Error::new(ErrorKind::NotFound, message).with_hint(
        "`operation list` shows the newest; one that changed nothing is forgotten after a while",
    )
}

/// Reads an operation's id.
pub(crate) fn parse_id(text: &str) -> Result<Ulid> {
    Ulid::from_string(text).map_err(|_| {
        let message = format!("'{text}' is no operation id");
        Error::new(ErrorKind::Invalid, message).with_hint("`operation list` shows them")
    })
}
