//! A term: taking the lead, keeping it, losing it, giving it up.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::heartbeat::{Life, Watcher};
use super::{ProcessMark, Role, leads};
use crate::error::Result;
use crate::ledger::{AppendFailure, Event, Leader};
use crate::plane::ControlPlane;

/// How long a stopping leader waits for the change that it runs.
const STOP_WAIT: Duration = Duration::from_secs(20);
/// Every so many heartbeats the leader looks for operations that nobody finished.
const SWEEP_INTERVAL: u32 = 12;

impl ControlPlane {
    /// Takes the lead as soon as nobody alive has it; `None` waits for ever.
    ///
    /// Whoever runs one command does not wait for a leader that shows life. One whose clock says
    /// that it has been silent for long is watched for some heartbeats first, whatever the command's
    /// patience: clocks may be wrong, and a leader that lives is not to be disturbed.
    pub(super) async fn take_lead(&self, until: Option<Instant>) -> Result<Leader> {
        let mut watcher = Watcher::new(until.is_some());
        let began = self.clock().instant();
        loop {
            let state = self.shared().ledger.state().await?;
            if let Some(leader) = &state.leader {
                let life = watcher.look(self, leader).await?;
                let bound = until.map(|until| match life {
                    Life::Doubtful => until.max(began + self.options().takeover * 2),
                    Life::Alive | Life::Ended => until,
                });
                if life != Life::Ended {
                    if bound.is_some_and(|bound| self.clock().instant() >= bound) {
                        return Err(self.held(leader).await);
                    }
                    let pause = (self.options().heartbeat / 5).max(Duration::from_millis(10));
                    self.clock().sleep(pause).await;
                    continue;
                }
            }
            let earlier = self.last_heartbeat(&state).await?;
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
                    if let Some(earlier) = earlier {
                        self.succeed(earlier, state.leader.as_ref(), &leader).await;
                    }
                    return Ok(leader);
                }
                Err(AppendFailure::Conflict) => {}
                Err(AppendFailure::Unknown(error)) => return Err(error),
            }
        }
    }

    /// Gives the lead up, if it is still ours.
    pub(super) async fn release(&self, leader: &Leader) -> Result<()> {
        // The last word of this epoch: what was done in it.
        self.show_life(leader).await;
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
                Ok(_) => return Ok(()),
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
                taken = self.take_lead(None) => taken,
            };
            match taken {
                Ok(leader) => self.serve_term(&leader, &stop).await,
                Err(error) => {
                    tracing::warn!(error = error.chain(), "the lead could not be taken");
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => return,
                        () = self.clock().sleep(self.options().heartbeat) => {}
                    }
                }
            }
        }
    }

    /// From taking the lead to losing it or giving it up. Life is shown all the time: neither the
    /// resolution of what was left nor the last change may cost the lead.
    async fn serve_term(&self, leader: &Leader, stop: &CancellationToken) {
        let (plane, of) = (self.clone(), leader.clone());
        let mut beating =
            AbortOnDropHandle::new(tokio::spawn(async move { plane.beat(&of).await }));
        let leads = tokio::select! {
            biased;
            () = stop.cancelled() => false,
            _ = &mut beating => false,
            () = self.tidy(leader) => true,
        };
        if leads {
            let role = Role::Leading(leader.clone());
            self.shared().role.send_replace(role);
            let plane = self.clone();
            let house =
                AbortOnDropHandle::new(tokio::spawn(async move { plane.keep_house().await }));
            let (plane, of) = (self.clone(), leader.clone());
            let sweeping =
                AbortOnDropHandle::new(tokio::spawn(async move { plane.keep_sweeping(&of).await }));
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                _ = &mut beating => {}
            }
            drop((house, sweeping));
            self.shared().role.send_replace(Role::Standby);
        }
        if stop.is_cancelled() {
            // The change that runs is finished first; whoever is slower is recovered.
            let turn = self.shared().turn.lock();
            let _ = self.clock().timeout(STOP_WAIT, turn).await;
            drop(beating);
            if let Err(error) = self.release(leader).await {
                tracing::warn!(error = error.chain(), "the lead could not be released");
            }
        } else {
            tracing::warn!(
                epoch = leader.epoch,
                "another process leads now: standing by"
            );
        }
    }

    /// What an earlier leader left is resolved before anybody may change anything.
    async fn tidy(&self, leader: &Leader) {
        let _turn = self.shared().turn.lock().await;
        self.sweep_as(leader).await;
    }

    async fn keep_sweeping(&self, leader: &Leader) {
        loop {
            let pause = self.options().heartbeat * SWEEP_INTERVAL;
            self.clock().sleep(pause).await;
            if let Ok(_turn) = self.shared().turn.try_lock() {
                self.sweep_as(leader).await;
            }
        }
    }

    async fn sweep_as(&self, leader: &Leader) {
        let swept = async {
            self.check_lead(leader).await?;
            self.sweep(leader).await
        };
        if let Err(error) = swept.await {
            tracing::warn!(error = error.chain(), "an operation could not be resolved");
        }
    }

    /// Shows life until another process leads. A store that does not answer changes nothing: who
    /// leads is decided by the ledger alone.
    pub(super) async fn beat(&self, leader: &Leader) {
        let patience = self.options().takeover;
        loop {
            let shown = self.clock().timeout(patience, self.show_life(leader)).await;
            if shown.is_err() {
                tracing::warn!("the heartbeat could not be written in time");
            }
            tokio::select! {
                biased;
                () = self.shared().lost.notified() => {}
                () = self.clock().sleep(self.options().heartbeat) => {}
            }
            let state = self.shared().ledger.state();
            if let Ok(Ok(state)) = self.clock().timeout(patience, state).await
                && !leads(&state, leader)
            {
                return;
            }
        }
    }
}
