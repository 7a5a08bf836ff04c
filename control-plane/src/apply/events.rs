//! What an apply tells while it runs.

use std::sync::Arc;
use std::time::Duration;

use omnigraph_proto::common::v1::Diagnostic;
use omnigraph_proto::control::v1::step_event::Phase;
use omnigraph_proto::control::v1::{ApplyResult, Disposition, Plan, PlanChange, StepEvent};
use parking_lot::Mutex;

use crate::operation::{Event, Operation};

/// The way to those who listen. Nobody can hold up an apply: events are kept by its operation.
#[derive(Debug)]
pub(crate) struct Events {
    to: To,
}

#[derive(Debug)]
enum To {
    Operation(Arc<Operation>),
    /// Nothing has to be done, so there is no operation.
    Kept(Mutex<Vec<Event>>),
}

impl Events {
    /// Events of an operation.
    pub(crate) fn of(operation: &Arc<Operation>) -> Self {
        Self {
            to: To::Operation(Arc::clone(operation)),
        }
    }

    /// Events that belong to no operation.
    pub(crate) fn kept() -> Self {
        Self {
            to: To::Kept(Mutex::default()),
        }
    }

    /// What was kept.
    pub(crate) fn into_kept(self) -> Vec<Event> {
        match self.to {
            To::Operation(_) => Vec::new(),
            To::Kept(events) => events.into_inner(),
        }
    }

    pub(crate) fn plan(&self, plan: &Plan) {
        self.tell(Event::Plan(plan.clone()));
    }

    pub(crate) fn result(&self, result: &ApplyResult) {
        self.tell(Event::Result(result.clone()));
    }

    pub(crate) async fn step(
        &self,
        change: &PlanChange,
        phase: Phase,
        elapsed: Duration,
        message: &str,
        diagnostic: Option<Diagnostic>,
    ) {
        self.tell(Event::Step(StepEvent {
            resource: change.resource.clone(),
            operation: change.operation,
            phase: phase.into(),
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            message: message.to_owned(),
            diagnostic,
        }));
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

    fn tell(&self, event: Event) {
        match &self.to {
            To::Operation(operation) => operation.tell(event),
            To::Kept(events) => events.lock().push(event),
        }
    }
}
