//! Leadership. The lead is an entry of the ledger, so an old leader's next append conflicts: state
//! and lock cannot disagree. Heartbeats serve liveness only.
//!
//! | module | subject |
//! |---|---|
//! | here | the turn: the right to change the cluster, for one operation |
//! | `term` | taking the lead, keeping it, losing it, giving it up |
//! | `heartbeat` | one object per epoch; whether a leader still lives |
//! | `process` | whether a process of this machine still lives |
//! | `refusal` | what those are told who may not change the cluster |

mod heartbeat;
mod process;
mod refusal;
mod term;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use ulid::Ulid;

pub(crate) use heartbeat::Running;
pub(crate) use process::ProcessMark;

use crate::error::{Error, Result};
use crate::ledger::{Leader, State};
use crate::operation::{End, Operation};
use crate::plane::ControlPlane;
use heartbeat::{Life, Watcher};

/// How long a change waits for this process to take a lead that nobody has.
const FREE_LEAD_WAIT: Duration = Duration::from_secs(5);
/// How long a change waits while this process resolves what an earlier leader left.
const TIDY_WAIT: Duration = Duration::from_secs(5);

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
    /// What others see of it.
    pub(crate) operation: Arc<Operation>,
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
        let role = self.shared().role.borrow().clone();
        let standby = match &role {
            Role::Embedded => false,
            Role::Standby => true,
            Role::Leading(leader) => self.has_lost(leader).await?,
        };
        if standby {
            // Before the turn: who is about to lead needs it to resolve what was left.
            self.await_lead(until).await?;
        }
        let Some(guard) = self.turn_within(patience).await else {
            return Err(self.busy().await);
        };
        let running = Running {
            kind: kind.to_owned(),
            operation_id: self.clock().fresh_id(),
            actor: actor.map(str::to_owned),
            since: self.store().clock().now_micros(),
        };
        *self.shared().running.lock() = Some(running.clone());
        match self.lead_for_change(until).await {
            Ok((leader, embedded)) => {
                let operation = Arc::new(Operation::new(running, &self.options().holder));
                self.shared().operations.add(&operation);
                if embedded.is_none() {
                    self.show_life(&leader).await;
                }
                Ok(Turn {
                    leader,
                    operation_id: operation.id(),
                    operation,
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
                let leader = self.take_lead(Some(until)).await?;
                let stop = CancellationToken::new();
                let guard = stop.clone().drop_guard();
                let (plane, of) = (self.clone(), leader.clone());
                let beating = tokio::spawn(async move {
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => {}
                        () = plane.beat(&of) => {}
                    }
                });
                Ok((leader, Some((beating, guard))))
            }
        }
    }

    /// A leader that slept, or that gave the lead up to take it again, learns here that it does not
    /// lead, and stands down at once.
    async fn has_lost(&self, leader: &Leader) -> Result<bool> {
        let state = self.shared().ledger.state().await?;
        if leads(&state, leader) {
            return Ok(false);
        }
        self.step_down(leader);
        Ok(true)
    }

    /// A daemon that does not lead yet: if nobody else does, it is about to.
    async fn await_lead(&self, until: Instant) -> Result<Leader> {
        let mut watcher = Watcher::new(false);
        let state = self.shared().ledger.state().await?;
        let about_to = match &state.leader {
            Some(leader) => match watcher.look(self, leader).await? {
                Life::Alive => Duration::ZERO,
                Life::Doubtful => self.options().takeover + FREE_LEAD_WAIT,
                Life::Ended => FREE_LEAD_WAIT,
            },
            None => FREE_LEAD_WAIT,
        };
        let until = until.max(self.clock().after(about_to));
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

    /// Whether `leader` still leads, as the ledger says now.
    pub(crate) async fn check_lead(&self, leader: &Leader) -> Result<State> {
        let state = self.shared().ledger.state().await?;
        if leads(&state, leader) {
            return Ok(state);
        }
        self.shared().lost.notify_one();
        Err(self.not_leader(state.leader.as_ref()).await)
    }
}

impl Turn {
    /// Ends the operation: the next one may begin.
    pub(crate) async fn finish(self) {
        self.end(End::Done).await;
    }

    /// Ends an operation with what it came to; one that was refused has not been one.
    pub(crate) async fn conclude<T>(self, outcome: Result<T>) -> Result<T> {
        match outcome {
            Ok(_) => self.finish().await,
            Err(_) => self.give_back().await,
        }
        outcome
    }

    /// Ends an operation that was refused as a whole.
    pub(crate) async fn fail(self, error: Error) {
        self.end(End::refused(error)).await;
    }

    /// Ends a turn in which nothing was begun: there was no operation.
    pub(crate) async fn give_back(self) {
        self.plane.shared().operations.remove(self.operation_id);
        self.end(End::Done).await;
    }

    async fn end(mut self, end: End) {
        let at = self.plane.store().clock().now_micros();
        self.operation.end(at, end);
        *self.plane.shared().running.lock() = None;
        let Some((beating, guard)) = self.embedded.take() else {
            // Others see at once that nothing runs any more.
            if self.still_leads() {
                self.plane.show_life(&self.leader).await;
            }
            self.operation.close();
            return;
        };
        drop(guard);
        let _ = beating.await;
        if let Err(error) = self.plane.release(&self.leader).await {
            tracing::warn!(error = error.chain(), "the lead could not be released");
        }
        self.operation.close();
    }

    /// As far as this process knows.
    fn still_leads(&self) -> bool {
        let role = self.plane.shared().role.borrow();
        matches!(&*role, Role::Leading(now) if now.lease_id == self.leader.lease_id)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let at = self.plane.store().clock().now_micros();
        self.operation.end(at, End::Interrupted);
        self.operation.close();
        *self.plane.shared().running.lock() = None;
    }
}

fn leads(state: &State, leader: &Leader) -> bool {
    state
        .leader
        .as_ref()
        .is_some_and(|now| now.lease_id == leader.lease_id)
}
