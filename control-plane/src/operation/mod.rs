//! Operations: changes of the cluster under their ids. An operation belongs to the process that
//! runs it, not to its caller: it is begun once, tells what happens to whoever listens, from its
//! first event on, and is remembered after it has ended.

mod record;
mod registry;

use omnigraph_proto::common::v1::Diagnostic;
use omnigraph_proto::control::v1 as pb;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tonic::Status;
use ulid::Ulid;

pub(crate) use record::{Ended, parse_id};
pub(crate) use registry::Operations;

use crate::error::Error;
use crate::lead::Running;

/// What an operation tells.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Plan(pb::Plan),
    Step(pb::StepEvent),
    Result(pb::ApplyResult),
    Restored(pb::RestoreResult),
}

/// How an operation ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// It did what it could; its result says what that was.
    Done,
    /// It did nothing, for this reason.
    Failed(Diagnostic, Box<Status>),
    /// It was cut off; a leader completes or undoes what had begun to move.
    Interrupted,
}

/// One operation of this process.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) running: Running,
    holder: String,
    told: Mutex<Told>,
    /// How much has been told: wakes those who follow.
    length: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Told {
    message: String,
    events: Vec<Event>,
    end: Option<(i64, End)>,
    /// Nothing more will be told.
    closed: bool,
}

impl Operation {
    pub(crate) fn new(running: Running, holder: &str) -> Self {
        Self {
            running,
            holder: holder.to_owned(),
            told: Mutex::default(),
            length: watch::Sender::new(0),
        }
    }

    pub(crate) fn id(&self) -> Ulid {
        self.running.operation_id
    }

    /// The caller's note.
    pub(crate) fn note(&self, message: &str) {
        message.clone_into(&mut self.told.lock().message);
    }

    pub(crate) fn tell(&self, event: Event) {
        self.told.lock().events.push(event);
        self.length.send_modify(|length| *length += 1);
    }

    /// The first end counts. Those who follow are told with [`Operation::close`].
    pub(crate) fn end(&self, at: i64, end: End) {
        self.told.lock().end.get_or_insert((at, end));
    }

    /// Everything is done that belongs to the operation: a process whose last one it was may end.
    pub(crate) fn close(&self) {
        self.told.lock().closed = true;
        self.length.send_modify(|length| *length += 1);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.told.lock().end.is_some()
    }

    /// Events that are kept.
    fn weight(&self) -> usize {
        self.told.lock().events.len()
    }

    /// The event at a place, waited for; `None` when the operation has ended before it.
    pub(crate) async fn event(&self, at: usize) -> Option<Event> {
        let mut length = self.length.subscribe();
        loop {
            length.mark_unchanged();
            {
                let told = self.told.lock();
                if let Some(event) = told.events.get(at) {
                    return Some(event.clone());
                }
                if told.closed {
                    return None;
                }
            }
            // The sender lives as long as we do.
            let _ = length.changed().await;
        }
    }

    /// Tells a caller everything from the first event on, until the operation has ended or the
    /// caller is gone.
    pub(crate) async fn follow<T>(
        &self,
        to: &mpsc::Sender<Result<T, Status>>,
        encode: impl Fn(Event) -> Option<T>,
    ) {
        let mut at = 0;
        loop {
            let event = tokio::select! {
                biased;
                event = self.event(at) => event,
                () = to.closed() => return,
            };
            let Some(event) = event else { return };
            at += 1;
            if let Some(frame) = encode(event)
                && to.send(Ok(frame)).await.is_err()
            {
                return;
            }
        }
    }

    /// The result, if there is one.
    pub(crate) fn result(&self) -> Option<pb::ApplyResult> {
        let told = self.told.lock();
        told.events.iter().rev().find_map(|event| match event {
            Event::Result(result) => Some(result.clone()),
            _ => None,
        })
    }

    /// What a caller is told when it failed as a whole.
    pub(crate) fn refusal(&self) -> Option<Status> {
        match &self.told.lock().end {
            Some((_, End::Failed(_, status))) => Some((**status).clone()),
            _ => None,
        }
    }

    /// As it travels.
    pub(crate) fn describe(&self) -> pb::Operation {
        let result = self.result();
        let told = self.told.lock();
        let restored = told.events.iter().rev().find_map(|event| match event {
            Event::Restored(restored) => Some(restored.clone()),
            _ => None,
        });
        let failure = match &told.end {
            Some((_, End::Failed(why, _))) => Some(why.clone()),
            _ => None,
        };
        pb::Operation {
            operation_id: self.id().to_string(),
            kind: self.running.kind.clone(),
            state: state(told.end.as_ref().map(|(_, end)| end), result.as_ref()).into(),
            actor_id: self.running.actor.clone().unwrap_or_default(),
            started_at: Some(crate::timestamp(self.running.since)),
            ended_at: told.end.as_ref().map(|(at, _)| crate::timestamp(*at)),
            holder: self.holder.clone(),
            message: told.message.clone(),
            revision: result
                .as_ref()
                .filter(|r| r.state_written)
                .map_or(0, |r| r.revision),
            pending_graphs: Vec::new(),
            result: result.filter(|_| told.end.is_some()),
            failure,
            restored,
            followable: true,
        }
    }
}

/// An apply that lost the lead in the middle was cut off: its leader goes on with what it began.
fn state(end: Option<&End>, result: Option<&pb::ApplyResult>) -> pb::OperationState {
    let lost = |result: &pb::ApplyResult| {
        let mut codes = result.diagnostics.iter().map(|found| found.code.as_str());
        codes.any(|code| code == "not_leader")
    };
    match (end, result) {
        (None, _) => pb::OperationState::Running,
        (Some(End::Interrupted), _) => pb::OperationState::Interrupted,
        (Some(End::Failed(..)), _) => pb::OperationState::Failed,
        (Some(End::Done), Some(result)) if !result.ok && lost(result) => {
            pb::OperationState::Interrupted
        }
        (Some(End::Done), Some(result)) if !result.ok => pb::OperationState::Failed,
        (Some(End::Done), _) => pb::OperationState::Succeeded,
    }
}

impl End {
    /// It was refused as a whole.
    pub(crate) fn refused(error: Error) -> Self {
        let why = crate::apply::of_error(&error);
        End::Failed(why, Box::new(error.into()))
    }
}
