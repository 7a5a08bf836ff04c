//! Leadership. The lead is an entry of the ledger, so an old leader's next append conflicts: state
//! and lock cannot disagree. Heartbeats serve liveness only.

mod heartbeat;
mod process;

use std::time::Duration;

use omnigraph_proto::common::v1::Lease;
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;
use ulid::Ulid;

pub(crate) use heartbeat::{Running, Watcher};
pub(crate) use process::ProcessMark;

use crate::error::{Error, ErrorKind, Result};
use crate::ledger::{AppendFailure, Event, Leader, State};
use crate::plane::ControlPlane;

/// How long a change waits for this process to take a lead that nobody has.
const FREE_LEAD_WAIT: Duration = Duration::from_secs(5);
/// How long a change waits while this process resolves what an earlier leader left.
const TIDY_WAIT: Duration = Duration::from_secs(5);
/// How long a stopping leader waits for the change that it runs.
const STOP_WAIT: Duration = Duration::from_secs(20);
/// Every so many heartbeats the leader looks for operations that nobody finished.
const SWEEP_INTERVAL: u64 = 12;

/// What this process is.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    /// It leads for the length of each change.
    Embedded,
    /// Another process leads, or this one is about to.
    Standby,
    /// It leads.
    Leading(Leader),
}

/// The right to change the cluster, for one operation.
pub(crate) struct Turn {
    pub(crate) leader: Leader,
    pub(crate) operation_id: Ulid,
    /// Set when the lead was taken for this operation alone.
    embedded: Option<(JoinHandle<()>, DropGuard)>,
    plane: ControlPlane,
    _guard: OwnedMutexGuard<()>,
}

impl ControlPlane {
    /// Waits at most `patience` for the right to run a change.
    pub(crate) async fn begin(
        &self,
        kind: &str,
        actor: Option<&str>,
        patience: Duration,
    ) -> Result<Turn> {
        let until = self.clock().after(patience);
        let standby = matches!(*self.shared().role.borrow(), Role::Standby);
        if standby {
            // Before the turn: who is about to lead needs it to resolve what was left.
            self.await_lead(until).await?;
        }
        let Some(guard) = self.turn_within(patience).await else {
            return Err(self.busy().await);
        };
        let operation_id = self.clock().fresh_id();
        let running = Running {
            kind: kind.to_owned(),
            operation_id,
            actor: actor.map(str::to_owned),
            since: self.store().clock().now_micros(),
        };
        *self.shared().running.lock() = Some(running);
        match self.lead_for_change(until).await {
            Ok((leader, embedded)) => {
                if embedded.is_none() {
                    self.show_life(&leader).await;
                }
                Ok(Turn {
                    leader,
                    operation_id,
                    embedded,
                    plane: self.clone(),
                    _guard: guard,
                })
            }
            Err(error) => {
                *self.shared().running.lock() = None;
                Err(error)
            }
        }
    }

    /// The lock that orders changes. A leader that tidies up has it for a moment: that is waited
    /// for even by those who do not want to wait.
    async fn turn_within(&self, patience: Duration) -> Option<OwnedMutexGuard<()>> {
        let lock = || self.shared().turn.clone().lock_owned();
        let clock = self.clock();
        let first = clock
            .timeout(patience.max(Duration::from_millis(1)), lock())
            .await;
        match first {
            Ok(guard) => Some(guard),
            Err(_) if self.shared().running.lock().is_some() => None,
            Err(_) => clock.timeout(TIDY_WAIT, lock()).await.ok(),
        }
    }

    async fn lead_for_change(
        &self,
        until: Instant,
    ) -> Result<(Leader, Option<(JoinHandle<()>, DropGuard)>)> {
        let role = self.shared().role.borrow().clone();
        match role {
            Role::Leading(leader) => Ok((leader, None)),
            Role::Standby => Ok((self.await_lead(until).await?, None)),
            Role::Embedded => {
                let leader = self.take_lead(Some(until), true).await?;
                let stop = CancellationToken::new();
                let guard = stop.clone().drop_guard();
                let (plane, of) = (self.clone(), leader.clone());
                let beating = tokio::spawn(async move {
                    plane.beat(&of, &stop).await;
                });
                Ok((leader, Some((beating, guard))))
            }
        }
    }

    /// A daemon that does not lead yet: if nobody else does, it is about to.
    async fn await_lead(&self, until: Instant) -> Result<Leader> {
        let mut watcher = Watcher::default();
        let state = self.shared().ledger.state().await?;
        let free = match &state.leader {
            Some(leader) => watcher.is_dead(self, leader, true).await?,
            None => true,
        };
        let until = if free {
            until.max(self.clock().after(FREE_LEAD_WAIT))
        } else {
            until
        };
        let mut role = self.shared().role.subscribe();
        let leading = role.wait_for(|role| matches!(role, Role::Leading(_)));
        if let Ok(Ok(role)) = self.clock().timeout_at(until, leading).await
            && let Role::Leading(leader) = &*role
        {
            return Ok(leader.clone());
        }
        let state = self.shared().ledger.state().await?;
        Err(self.not_leader(state.leader.as_ref()).await)
    }

    /// Takes the lead as soon as nobody alive has it; `None` waits for ever. Whoever runs one
    /// command may trust the time that a heartbeat names; a daemon trusts its own clock only.
    async fn take_lead(&self, until: Option<Instant>, trust: bool) -> Result<Leader> {
        let mut watcher = Watcher::default();
        loop {
            let state = self.shared().ledger.state().await?;
            if let Some(leader) = &state.leader
                && !watcher.is_dead(self, leader, trust).await?
            {
                if until.is_some_and(|until| self.clock().instant() >= until) {
                    return Err(self.held(leader).await);
                }
                let pause = (self.options().heartbeat / 5).max(Duration::from_millis(10));
                self.clock().sleep(pause).await;
                continue;
            }
            let options = self.options();
            let leader = Leader {
                epoch: state.epoch + 1,
                lease_id: self.clock().fresh_id(),
                holder: options.holder.clone(),
                host: options.host.clone(),
                address: options.address.clone(),
                process: ProcessMark::own().filter(|_| options.watch_processes),
                since: self.store().clock().now_micros(),
            };
            let taken = Some(leader.clone());
            match self
                .shared()
                .ledger
                .append(&state, leader.epoch, taken, Event::Leader)
                .await
            {
                Ok(_) => {
                    tracing::info!(epoch = leader.epoch, lease = %leader.lease_id, "leading");
                    return Ok(leader);
                }
                Err(AppendFailure::Conflict) => {}
                Err(AppendFailure::Unknown(error)) => return Err(error),
            }
        }
    }

    /// Gives the lead up, if it is still ours.
    async fn release(&self, leader: &Leader) -> Result<()> {
        loop {
            let state = self.shared().ledger.state().await?;
            if !leads(&state, leader) {
                return Ok(());
            }
            let event = Event::Released {
                lease_id: leader.lease_id,
                reason: None,
            };
            match self
                .shared()
                .ledger
                .append(&state, state.epoch, None, event)
                .await
            {
                Ok(_) => {
                    self.forget_heartbeat(leader).await;
                    return Ok(());
                }
                Err(AppendFailure::Conflict) => {}
                Err(AppendFailure::Unknown(error)) => return Err(error),
            }
        }
    }

    /// Leads, loses, stands by, leads again.
    pub(crate) async fn lead_until(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let taken = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                taken = self.take_lead(None, false) => taken,
            };
            let leader = match taken {
                Ok(leader) => leader,
                Err(error) => {
                    tracing::warn!(error = error.chain(), "the lead could not be taken");
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => return,
                        () = self.clock().sleep(self.options().heartbeat) => {}
                    }
                    continue;
                }
            };
            {
                // What an earlier leader left is resolved before anybody may change anything.
                let _turn = self.shared().turn.lock().await;
                if let Err(error) = self.sweep(&leader).await {
                    tracing::warn!(error = error.chain(), "an operation could not be resolved");
                }
            }
            self.shared()
                .role
                .send_replace(Role::Leading(leader.clone()));
            let plane = self.clone();
            let house =
                AbortOnDropHandle::new(tokio::spawn(async move { plane.keep_house().await }));
            self.beat(&leader, &stop).await;
            drop(house);
            self.shared().role.send_replace(Role::Standby);
            if stop.is_cancelled() {
                // The change that runs is finished first; whoever is slower is recovered.
                let turn = self.shared().turn.lock();
                let _ = self.clock().timeout(STOP_WAIT, turn).await;
                if let Err(error) = self.release(&leader).await {
                    tracing::warn!(error = error.chain(), "the lead could not be released");
                }
            } else {
                tracing::warn!(
                    epoch = leader.epoch,
                    "another process leads now: standing by"
                );
            }
        }
    }

    /// Shows life until `stop`, or until another process leads.
    async fn beat(&self, leader: &Leader, stop: &CancellationToken) {
        for count in 1_u64.. {
            self.show_life(leader).await;
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.clock().sleep(self.options().heartbeat) => {}
            }
            if let Ok(state) = self.shared().ledger.state().await
                && !leads(&state, leader)
            {
                return;
            }
            let daemon = matches!(*self.shared().role.borrow(), Role::Leading(_));
            if daemon
                && count.is_multiple_of(SWEEP_INTERVAL)
                && let Ok(_turn) = self.shared().turn.try_lock()
                && let Err(error) = self.sweep(leader).await
            {
                tracing::warn!(error = error.chain(), "an operation could not be resolved");
            }
        }
    }

    /// Whether `leader` still leads, as the ledger says now.
    pub(crate) async fn check_lead(&self, leader: &Leader) -> Result<State> {
        let state = self.shared().ledger.state().await?;
        if leads(&state, leader) {
            return Ok(state);
        }
        Err(self.not_leader(state.leader.as_ref()).await)
    }

    /// The leader and what it does, as others see it.
    pub(crate) async fn lease_of(&self, leader: &Leader) -> Lease {
        let beat = self.read_heartbeat(leader).await.ok().flatten();
        let at = beat.as_ref().map_or(leader.since, |beat| beat.at);
        let running = beat.and_then(|beat| beat.operation);
        let takeover = i64::try_from(self.options().takeover.as_micros()).unwrap_or(i64::MAX);
        Lease {
            lease_id: leader.lease_id.to_string(),
            epoch: leader.epoch,
            holder: leader.holder.clone(),
            host: leader.host.clone(),
            actor_id: running
                .as_ref()
                .and_then(|r| r.actor.clone())
                .unwrap_or_default(),
            operation: running.map(|r| r.kind).unwrap_or_default(),
            acquired_at: Some(crate::timestamp(leader.since)),
            expires_at: Some(crate::timestamp(at.saturating_add(takeover))),
        }
    }

    async fn busy(&self) -> Error {
        let running = self.shared().running.lock().clone();
        let what = running.map_or_else(|| "another change runs".to_owned(), |r| r.to_string());
        let role = self.shared().role.borrow().clone();
        let lease = match &role {
            Role::Leading(leader) => Some(self.lease_of(leader).await),
            _ => None,
        };
        Error::new(ErrorKind::LeaseHeld, what)
            .with_hint("wait for it with --lock-timeout")
            .with_lease(lease)
    }

    async fn held(&self, leader: &Leader) -> Error {
        let lease = self.lease_of(leader).await;
        let doing = match lease.operation.as_str() {
            "" => "leads".to_owned(),
            operation => format!("runs {operation}"),
        };
        let message = format!("{} on {} {doing} this cluster", leader.holder, leader.host);
        let hint = match &leader.address {
            Some(address) => format!("send the change to {address}"),
            None => "wait for it with --lock-timeout".to_owned(),
        };
        Error::new(ErrorKind::LeaseHeld, message)
            .with_hint(hint)
            .with_lease(Some(lease))
    }

    async fn not_leader(&self, leader: Option<&Leader>) -> Error {
        let Some(leader) = leader else {
            return Error::new(ErrorKind::NotLeader, "this control plane does not lead")
                .with_hint("try again in some seconds");
        };
        let lease = self.lease_of(leader).await;
        let at = leader.address.as_deref().unwrap_or("an embedded process");
        let message = format!(
            "{} on {} leads this cluster ({at})",
            leader.holder, leader.host
        );
        Error::new(ErrorKind::NotLeader, message)
            .with_hint(format!("send the change to {at}"))
            .with_lease(Some(lease))
    }
}

impl Turn {
    /// Ends the operation: the next one may begin.
    pub(crate) async fn finish(mut self) {
        *self.plane.shared().running.lock() = None;
        let Some((beating, guard)) = self.embedded.take() else {
            // Others see at once that nothing runs any more.
            self.plane.show_life(&self.leader).await;
            return;
        };
        drop(guard);
        let _ = beating.await;
        if let Err(error) = self.plane.release(&self.leader).await {
            tracing::warn!(error = error.chain(), "the lead could not be released");
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *self.plane.shared().running.lock() = None;
    }
}

fn leads(state: &State, leader: &Leader) -> bool {
    state
        .leader
        .as_ref()
        .is_some_and(|now| now.lease_id == leader.lease_id)
}
