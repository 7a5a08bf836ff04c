//! What an apply tells its caller while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use omnigraph_engine::Clock;
use omnigraph_proto::common::v1::Diagnostic;
use omnigraph_proto::control::v1::apply_response::Event;
use omnigraph_proto::control::v1::step_event::Phase;
use omnigraph_proto::control::v1::{
    ApplyResponse, ApplyResult, Disposition, Plan, PlanChange, Rollout, StepEvent,
};
use tokio::sync::mpsc;
use tonic::Status;

/// How long a caller may keep an apply waiting. One that is slower hears nothing more.
const SLOW_CALLER: Duration = Duration::from_secs(10);

/// The way to the caller. An apply goes on when nobody listens any more.
pub(crate) struct Events {
    to: mpsc::Sender<Result<ApplyResponse, Status>>,
    clock: Arc<dyn Clock>,
    gone: AtomicBool,
}

impl Events {
    pub(crate) fn new(
        to: mpsc::Sender<Result<ApplyResponse, Status>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            to,
            clock,
            gone: AtomicBool::new(false),
        }
    }

    pub(crate) async fn plan(&self, plan: &Plan) {
        self.send(Event::Plan(plan.clone())).await;
    }

    pub(crate) async fn result(&self, result: &ApplyResult) {
        self.send(Event::Result(result.clone())).await;
    }

    pub(crate) async fn rollout(&self, rollout: Rollout) {
        self.send(Event::Rollout(rollout)).await;
    }

    pub(crate) async fn step(
        &self,
        change: &PlanChange,
        phase: Phase,
        elapsed: Duration,
        message: &str,
        diagnostic: Option<Diagnostic>,
    ) {
        self.send(Event::Step(StepEvent {
            resource: change.resource.clone(),
            operation: change.operation,
            phase: phase.into(),
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            message: message.to_owned(),
            diagnostic,
        }))
        .await;
    }

    /// A skipped step for each change that cannot be made now.
    pub(crate) async fn held_back(&self, plan: &Plan) {
        for change in &plan.changes {
            let disposition = change.disposition();
            if matches!(
                disposition,
                Disposition::Blocked | Disposition::ApprovalRequired
            ) {
                self.step(change, Phase::Skipped, Duration::ZERO, &change.reason, None)
                    .await;
            }
        }
    }

    /// The whole operation did not run.
    pub(crate) async fn refuse(&self, status: Status) {
        let told = self.to.send(Err(status));
        let _ = self.clock.timeout(SLOW_CALLER, told).await;
    }

    /// Whether nobody listens any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed) || self.to.is_closed()
    }

    async fn send(&self, event: Event) {
        if self.is_gone() {
            return;
        }
        let response = ApplyResponse { event: Some(event) };
        let told = self.to.send(Ok(response));
        if !matches!(self.clock.timeout(SLOW_CALLER, told).await, Ok(Ok(()))) {
            self.gone.store(true, Ordering::Relaxed);
        }
    }
}
