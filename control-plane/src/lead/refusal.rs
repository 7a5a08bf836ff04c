//! What those are told who may not change the cluster now: who leads, what runs, since when, and
//! what to do.

use std::time::Duration;

use omnigraph_proto::common::v1::Lease;

use super::Role;
use super::heartbeat::Running;
use crate::error::{Error, ErrorKind};
use crate::ledger::Leader;
use crate::plane::ControlPlane;

impl ControlPlane {
    /// The leader and what it does, as others see it.
    pub(crate) async fn lease_of(&self, leader: &Leader) -> Lease {
        let beat = self.read_heartbeat(leader).await.ok().flatten();
        let at = beat.as_ref().map_or(leader.since, |beat| beat.at);
        let running = beat.and_then(|beat| beat.operation);
        let takeover = i64::try_from(self.options().takeover.as_micros()).unwrap_or(i64::MAX);
        let running = running.as_ref();
        Lease {
            lease_id: leader.lease_id.to_string(),
            epoch: leader.epoch,
            holder: leader.holder.clone(),
            host: leader.host.clone(),
            actor_id: running.and_then(|r| r.actor.clone()).unwrap_or_default(),
            operation: running.map(|r| r.kind.clone()).unwrap_or_default(),
            acquired_at: Some(crate::timestamp(leader.since)),
            expires_at: Some(crate::timestamp(at.saturating_add(takeover))),
            operation_id: running
                .map(|r| r.operation_id.to_string())
                .unwrap_or_default(),
            operation_since: running.map(|r| crate::timestamp(r.since)),
            address: leader.address.clone().unwrap_or_default(),
        }
    }

    /// This process runs another change.
    pub(super) async fn busy(&self) -> Error {
        let running = self.shared().running.lock().clone();
        let what = running.map_or_else(
            || "another change runs".to_owned(),
            |running| self.say(&running),
        );
        let role = self.shared().role.borrow().clone();
        let lease = match &role {
            Role::Leading(leader) => Some(self.lease_of(leader).await),
            _ => None,
        };
        Error::new(ErrorKind::LeaseHeld, what)
            .with_hint("wait for it with --lock-timeout, or follow it with `operation <id>`")
            .with_lease(lease)
    }

    /// Another process leads, and this one wanted to for the length of a command.
    pub(super) async fn held(&self, leader: &Leader) -> Error {
        let beat = self.read_heartbeat(leader).await.ok().flatten();
        let running = beat.and_then(|beat| beat.operation);
        let doing = running.map_or_else(
            || "leads this cluster".to_owned(),
            |running| format!("runs {}", self.say_briefly(&running)),
        );
        let message = format!("{} on {} {doing}", leader.holder, leader.host);
        let hint = match &leader.address {
            Some(address) => format!("send the change to it: --control grpc://{address}"),
            None => format!(
                "wait for it with --lock-timeout; if it is dead and stays in the way, `unlock {}`",
                leader.lease_id
            ),
        };
        let lease = self.lease_of(leader).await;
        Error::new(ErrorKind::LeaseHeld, message)
            .with_hint(hint)
            .with_lease(Some(lease))
    }

    /// Only the leader does this.
    pub(crate) async fn not_leader(&self, leader: Option<&Leader>) -> Error {
        let Some(leader) = leader else {
            return Error::new(ErrorKind::NotLeader, "this control plane does not lead")
                .with_hint("try again in some seconds");
        };
        let lease = self.lease_of(leader).await;
        let own = leader.process.is_some() && leader.process == super::ProcessMark::own();
        if own && leader.address == self.options().address {
            return Error::new(
                ErrorKind::NotLeader,
                "this control plane has just taken the lead and resolves what was left",
            )
            .with_hint("try again in some seconds, or wait with --lock-timeout");
        }
        let at = leader.address.as_deref().unwrap_or("an embedded process");
        let message = format!(
            "{} on {} leads this cluster ({at})",
            leader.holder, leader.host
        );
        Error::new(ErrorKind::NotLeader, message)
            .with_hint(format!("send it to {at}"))
            .with_lease(Some(lease))
    }

    /// Refuses unless this process leads, or is the only one.
    pub(crate) async fn only_as_leader(&self) -> crate::error::Result<()> {
        if !matches!(*self.shared().role.borrow(), Role::Standby) {
            return Ok(());
        }
        let state = self.shared().ledger.state().await?;
        Err(self.not_leader(state.leader.as_ref()).await)
    }

    /// `apply by ann has been running for 12 s (operation 01J…)`.
    fn say(&self, running: &Running) -> String {
        let by = running.actor.as_deref().unwrap_or("somebody");
        let since = self.since(running);
        format!(
            "{} by {by} has been running for {since} (operation {})",
            running.kind, running.operation_id
        )
    }

    /// `apply by ann, for 12 s now (operation 01J…)`.
    fn say_briefly(&self, running: &Running) -> String {
        let by = running.actor.as_deref().unwrap_or("somebody");
        let since = self.since(running);
        format!(
            "{} by {by}, for {since} now (operation {})",
            running.kind, running.operation_id
        )
    }

    fn since(&self, running: &Running) -> String {
        let now = self.store().clock().now_micros();
        let micros = u64::try_from(now.saturating_sub(running.since)).unwrap_or(0);
        let seconds = Duration::from_micros(micros).as_secs();
        match seconds {
            0..60 => format!("{seconds} s"),
            60..3600 => format!("{} min", seconds / 60),
            _ => format!("{} h", seconds / 3600),
        }
    }
}
