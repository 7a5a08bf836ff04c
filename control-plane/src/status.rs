//! The cluster as the ledger has it, and its history.

use std::collections::BTreeMap;

use omnigraph_proto::common::v1::Lease;
use omnigraph_proto::control::v1 as pb;
use ulid::Ulid;

use crate::address::{graph_of, kind_of};
use crate::error::{Error, ErrorKind, Result};
use crate::finding;
use crate::lead::Role;
use crate::ledger::{
    Content, Event, Observation, Revision, RevisionPointer, RevisionRecord, Verdict,
};
use crate::plane::ControlPlane;
use crate::retention::reclaimed;
use crate::serving::Serving;
use crate::sidecar::Found;

/// Revisions of one page.
const PAGE: u32 = 50;
const PAGE_MAX: u32 = 1000;

impl ControlPlane {
    /// What is applied, who leads, what is unfinished. Needs no lead.
    pub(crate) async fn status(&self) -> Result<pb::ClusterStatus> {
        let state = self.shared().ledger.state().await?;
        let revision = self.shared().ledger.revision_of(&state).await?;
        let mut status = pb::ClusterStatus {
            storage_root: self.store().root_uri().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            converged: true,
            ..pb::ClusterStatus::default()
        };
        if let Some(leader) = &state.leader {
            let lease = self.lease_of(leader).await;
            status.running = running(&lease);
            status.lease = Some(lease);
            status.leader = leader.address.clone().unwrap_or_default();
        }
        let role = self.shared().role.borrow().clone();
        status.role = match role {
            Role::Embedded => pb::Role::Embedded,
            Role::Standby => pb::Role::Standby,
            Role::Leading(_) => pb::Role::Leader,
        }
        .into();
        if matches!(role, Role::Leading(_)) {
            // It may have lost the lead this moment.
            status.rollout = self.rollout(0, "").await.ok();
        }
        let mut conditions: BTreeMap<String, String> = BTreeMap::new();
        for found in self.shared().sidecars.list().await? {
            match found {
                Found::Sidecar(sidecar) => {
                    conditions.insert(sidecar.graph.to_string(), "recovery_pending".into());
                    status.recoveries.push(pb::Sidecar {
                        operation_id: sidecar.operation_id.to_string(),
                        operation: sidecar.operation.clone(),
                        graph_id: sidecar.graph.to_string(),
                        actor_id: sidecar.actor.clone().unwrap_or_default(),
                        epoch: sidecar.epoch,
                        created_at: Some(crate::timestamp(sidecar.created_at)),
                        state: "pending".into(),
                        remedy: "the leader resolves it; so does the next apply".into(),
                    });
                }
                Found::Unattributable { path, reason } => {
                    let message = format!("{path}: {reason}");
                    let found = finding::error("sidecar_unattributable", None, message);
                    status.diagnostics.push(found);
                }
            }
        }
        let empty = Content::empty();
        let content = revision.as_ref().map_or(&empty, |r| &r.content);
        let listed = self.shared().approvals.list().await?;
        let waiting = listed.approvals.iter().filter(|a| a.consumed.is_none());
        status.approvals = waiting.map(|a| a.to_wire(content)).collect();
        for (path, reason) in listed.unreadable {
            let message = format!("{path}: {reason}");
            let found = finding::warning("approval_unreadable", message);
            status.diagnostics.push(found);
        }
        if let Some(revision) = revision {
            describe(&revision, &conditions, &mut status);
        }
        Ok(status)
    }

    /// Revisions, newest first.
    pub(crate) async fn revisions(
        &self,
        page_size: u32,
        page_token: &str,
        with_changes: bool,
    ) -> Result<pb::ListRevisionsResponse> {
        let size = if page_size == 0 {
            PAGE
        } else {
            page_size.min(PAGE_MAX)
        };
        let mut next = match page_token {
            "" => self.shared().ledger.state().await?.revision,
            token => Some(read_token(token)?),
        };
        let mut revisions = Vec::new();
        while let Some(pointer) = next
            && revisions.len() < size as usize
        {
            // Older ones may have been reclaimed.
            let Some(record) = self.shared().ledger.record_if_kept(pointer).await? else {
                next = None;
                break;
            };
            next = record.previous;
            let mut described = summary(&record);
            if with_changes {
                described.changes = self.changes_of(&record).await?;
            }
            revisions.push(described);
        }
        Ok(pb::ListRevisionsResponse {
            revisions,
            next_page_token: next
                .map(|at| format!("{}.{}", at.seq, at.number))
                .unwrap_or_default(),
        })
    }

    /// One revision; 0 is the newest.
    pub(crate) async fn revision(&self, number: u64) -> Result<Revision> {
        let none = || {
            Error::new(
                ErrorKind::NotFound,
                format!("revision {number} does not exist"),
            )
        };
        let mut at = self
            .shared()
            .ledger
            .state()
            .await?
            .revision
            .ok_or_else(none)?;
        while number != 0 && at.number != number {
            if at.number < number {
                return Err(none());
            }
            let record = self.shared().ledger.record_if_kept(at).await?;
            let record = record.ok_or_else(|| reclaimed(number))?;
            at = record.previous.ok_or_else(none)?;
        }
        if self.shared().ledger.record_if_kept(at).await?.is_none() {
            return Err(reclaimed(number));
        }
        self.shared().ledger.revision_at(at).await
    }

    pub(crate) async fn describe_revision(&self, number: u64) -> Result<pb::GetRevisionResponse> {
        let revision = self.revision(number).await?;
        let resources = revision.content.resources().into_iter();
        Ok(pb::GetRevisionResponse {
            summary: Some(summary(&revision.record)),
            content: Some(Serving::of(&revision).to_wire(self.store().root_uri())),
            resources: resources
                .map(|(address, digest)| pb::ResourceSummary {
                    kind: kind_of(&address).to_owned(),
                    address,
                    digest: digest.to_string(),
                    path: String::new(),
                })
                .collect(),
            policies: Vec::new(),
        })
    }

    /// Takes the lead from exactly this lease. There is no blind form.
    pub(crate) async fn unlock(
        &self,
        lease_id: &str,
        reason: &str,
    ) -> Result<omnigraph_proto::common::v1::Lease> {
        let malformed = |_| {
            let message = format!("'{lease_id}' is no lease id");
            Error::new(ErrorKind::Invalid, message).with_hint("`status` shows it")
        };
        let lease_id = Ulid::from_string(lease_id).map_err(malformed)?;
        loop {
            let state = self.shared().ledger.state().await?;
            let leader = state
                .leader
                .as_ref()
                .filter(|leader| leader.lease_id == lease_id);
            let Some(leader) = leader else {
                let message = format!("lease {lease_id} is not held");
                return Err(Error::new(ErrorKind::NotFound, message)
                    .with_hint("`status` shows the lease that is held"));
            };
            let lease = self.lease_of(leader).await;
            let event = Event::Released {
                lease_id,
                reason: Some(reason.to_owned()).filter(|reason| !reason.is_empty()),
            };
            match self
                .shared()
                .ledger
                .append(&state, state.epoch, None, event)
                .await
            {
                Ok(_) => return Ok(lease),
                Err(crate::ledger::AppendFailure::Conflict) => {}
                Err(crate::ledger::AppendFailure::Unknown(error)) => return Err(error),
            }
        }
    }
}

/// What a leader says that it does.
fn running(lease: &Lease) -> Option<pb::Operation> {
    lease.operation_since?;
    Some(pb::Operation {
        operation_id: lease.operation_id.clone(),
        kind: lease.operation.clone(),
        state: pb::OperationState::Running.into(),
        actor_id: lease.actor_id.clone(),
        started_at: lease.operation_since,
        holder: lease.holder.clone(),
        ..pb::Operation::default()
    })
}

fn describe(
    revision: &Revision,
    conditions: &BTreeMap<String, String>,
    status: &mut pb::ClusterStatus,
) {
    status
        .cluster_name
        .clone_from(&revision.content.cluster_name);
    status.revision = revision.record.number;
    status.config_digest = revision.record.config_digest.to_string();
    status.serving_digest = revision.record.serving_digest.to_string();
    status.converged = revision.record.converged;
    let mut held = revision.content.held_back.clone();
    for (address, digest) in revision.content.resources() {
        let reason = held.remove(&address);
        let seen = revision.content.observations.get(&address);
        let pending = graph_of(&address)
            .and_then(|graph| conditions.get(graph))
            .filter(|_| !address.starts_with("query."));
        let seen_as = seen.map(|seen| seen.condition.clone());
        let word = match (seen.map(|seen| seen.verdict), &reason) {
            (Some(Verdict::Error), _) => "error",
            (Some(Verdict::Drifted), _) => "drifted",
            (None, Some(_)) => "blocked",
            (None, None) => "applied",
        };
        let message = seen
            .map(|seen| seen.message.clone())
            .filter(|_| reason.is_none());
        status.resources.push(pb::ResourceStatus {
            digest: digest.to_string(),
            status: word.to_owned(),
            conditions: pending.cloned().into_iter().chain(seen_as).collect(),
            message: reason.or(message).unwrap_or_default(),
            observation_json: seen.map(observation_json).unwrap_or_default(),
            address,
        });
    }
    // What was declared and never applied.
    for (address, reason) in held {
        status.resources.push(pb::ResourceStatus {
            address,
            status: "blocked".to_owned(),
            message: reason,
            ..pb::ResourceStatus::default()
        });
    }
}

fn observation_json(seen: &Observation) -> String {
    serde_json::json!({
        "verdict": seen.verdict,
        "condition": seen.condition,
        "observed": seen.observed,
        "since_us": seen.since,
    })
    .to_string()
}

fn summary(record: &RevisionRecord) -> pb::RevisionSummary {
    pb::RevisionSummary {
        revision: record.number,
        created_at: Some(crate::timestamp(record.created_at)),
        actor_id: record.actor.clone().unwrap_or_default(),
        operation: record.operation.clone(),
        operation_id: record.operation_id.to_string(),
        message: record.message.clone(),
        converged: record.converged,
        config_digest: record.config_digest.to_string(),
        serving_digest: record.serving_digest.to_string(),
        changes: Vec::new(),
    }
}

fn read_token(token: &str) -> Result<RevisionPointer> {
    let read = || {
        let (seq, number) = token.split_once('.')?;
        Some(RevisionPointer {
            seq: omnigraph_engine::log::Seq(seq.parse().ok()?),
            number: number.parse().ok()?,
        })
    };
    read().ok_or_else(|| Error::new(ErrorKind::Invalid, "the page token is not one of ours"))
}
