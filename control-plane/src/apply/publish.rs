//! One ledger entry: the moment at which a revision exists.

use std::sync::Arc;

use ulid::Ulid;

use crate::catalog::BlobKind;
use crate::digest::Digest;
use crate::error::Result;
use crate::lead::Role;
use crate::ledger::{AppendFailure, Content, Event, Leader, Revision, RevisionRecord};
use crate::plane::ControlPlane;
use crate::rule::Rule;

/// What a revision is made of.
pub(crate) struct Publication {
    pub(crate) content: Content,
    pub(crate) config_digest: Digest,
    pub(crate) converged: bool,
    pub(crate) actor: Option<String>,
    pub(crate) operation: &'static str,
    pub(crate) operation_id: Ulid,
    pub(crate) message: String,
    /// The highest epoch that graphs know which the revision takes over: who leads next must be
    /// above it, or could not move them.
    pub(crate) epoch_floor: u64,
}

impl ControlPlane {
    /// Writes the content to the catalog and appends the revision, as long as `leader` leads.
    pub(crate) async fn publish(&self, leader: &Leader, new: Publication) -> Result<Arc<Revision>> {
        let bytes = new.content.to_bytes()?;
        let catalog = &self.shared().catalog;
        let rules = &self.options().rules;
        let content = match rules.keep(Rule::CatalogFirst) {
            true => catalog.put(BlobKind::Revision, &bytes).await?,
            false => Digest::of(&bytes),
        };
        let serving_digest = new.content.serving_digest()?;
        loop {
            let state = match rules.keep(Rule::LeaderAppends) {
                true => self.check_lead(leader).await?,
                false => self.shared().ledger.state().await?,
            };
            let record = RevisionRecord {
                number: state.revision.map_or(0, |revision| revision.number) + 1,
                epoch: leader.epoch,
                content: content.clone(),
                config_digest: new.config_digest.clone(),
                serving_digest: serving_digest.clone(),
                converged: new.converged,
                actor: new.actor.clone(),
                operation: new.operation.to_owned(),
                operation_id: new.operation_id,
                message: new.message.clone(),
                created_at: self.store().clock().now_micros(),
                previous: state.revision,
            };
            let event = Event::Revision(Box::new(record.clone()));
            let same_leader = state.leader.clone();
            match self
                .shared()
                .ledger
                .append(&state, state.epoch.max(new.epoch_floor), same_leader, event)
                .await
            {
                Ok(_) => {
                    tracing::info!(
                        revision = record.number,
                        operation = new.operation,
                        "applied"
                    );
                    self.announce(record.number);
                    let content = new.content;
                    let revision = Arc::new(Revision { record, content });
                    self.shared().ledger.remember(&revision);
                    return Ok(revision);
                }
                // Somebody took the lead, or a void stands there: the next look tells.
                Err(AppendFailure::Conflict) => {}
                Err(AppendFailure::Unknown(error)) => return Err(error),
            }
        }
    }

    /// Gives the lead up if graphs were taken over that know a higher epoch: whoever takes it next,
    /// this process before all others, has a higher one.
    pub(crate) async fn lead_above(&self, leader: &Leader, epoch: u64) -> Result<()> {
        if epoch <= leader.epoch {
            return Ok(());
        }
        loop {
            let state = self.check_lead(leader).await?;
            let event = Event::Released {
                lease_id: leader.lease_id,
                reason: Some(format!("graphs of epoch {epoch} were taken over")),
            };
            let ledger = &self.shared().ledger;
            match ledger.append(&state, state.epoch, None, event).await {
                Ok(_) => {
                    self.step_down(leader);
                    return Ok(());
                }
                Err(AppendFailure::Conflict) => {}
                Err(AppendFailure::Unknown(error)) => return Err(error),
            }
        }
    }

    /// A daemon takes part in the next election at once, instead of finding out by itself.
    pub(crate) fn step_down(&self, leader: &Leader) {
        let stepped = self.shared().role.send_if_modified(|role| {
            let own = matches!(role, Role::Leading(own) if own.lease_id == leader.lease_id);
            if own {
                *role = Role::Standby;
            }
            own
        });
        if stepped {
            self.shared().lost.notify_one();
        }
    }

    /// Tells replicas that a revision exists.
    pub(crate) fn announce(&self, number: u64) {
        self.shared().newest.send_if_modified(|newest| {
            let newer = number > *newest;
            *newest = number.max(*newest);
            newer
        });
    }
}
