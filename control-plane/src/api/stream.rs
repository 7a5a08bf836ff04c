//! Streams of operations. The operation runs in a task of its own, which ends by itself; the stream
//! only follows it, so that a caller who goes away stops nothing.

use std::sync::Arc;
use std::time::Duration;

use omnigraph_proto::control::v1 as pb;
use omnigraph_proto::control::v1::apply_response::Event as Apply;
use omnigraph_proto::control::v1::watch_operation_response::Event as Watch;
use tokio::sync::mpsc;
use tonic::Status;

use crate::apply::Admission;
use crate::error::{Error, Result as PlaneResult};
use crate::operation::{Event, Operation, parse_id};
use crate::plane::ControlPlane;

/// Frames that may wait for a slow caller.
pub(super) const FRAMES: usize = 256;

type To<T> = mpsc::Sender<Result<T, Status>>;

/// Answers an apply. An error instead of a first event means that it did not run.
pub(super) async fn apply(
    plane: ControlPlane,
    request: pb::ApplyRequest,
    actor: Option<String>,
    to: To<pb::ApplyResponse>,
) {
    let wait = request
        .wait
        .then(|| wait_of(&plane, request.wait_timeout_ms));
    let admission = plane.admit(request, actor.as_deref()).await;
    answer(&plane, admission, wait, &to, frame).await;
}

/// Answers a rollback in the same way.
pub(super) async fn rollback(
    plane: ControlPlane,
    request: pb::RollbackRequest,
    actor: Option<String>,
    to: To<pb::RollbackResponse>,
) {
    let wait = request
        .wait
        .then(|| wait_of(&plane, request.wait_timeout_ms));
    let admission = plane.admit_rollback(&request, actor.as_deref()).await;
    answer(&plane, admission, wait, &to, rolled_back).await;
}

async fn answer<T>(
    plane: &ControlPlane,
    admission: PlaneResult<Admission>,
    wait: Option<Duration>,
    to: &To<T>,
    frame: fn(Apply) -> T,
) {
    let outcome = match admission {
        Ok(admission) => run(plane, admission, to, frame).await,
        Err(error) => Err(error),
    };
    let revision = match outcome {
        Ok(Some(result)) => result.revision,
        Ok(None) => return,
        Err(error) => {
            let _ = to.send(Err(error.into())).await;
            return;
        }
    };
    if let Some(limit) = wait.filter(|_| revision > 0) {
        let rollout = |rollout| frame(Apply::Rollout(rollout));
        plane.watch_rollout(revision, limit, to, rollout).await;
    }
}

/// Runs what was admitted and tells of it; `None` if the caller has gone.
async fn run<T>(
    plane: &ControlPlane,
    admission: Admission,
    to: &To<T>,
    frame: fn(Apply) -> T,
) -> PlaneResult<Option<pb::ApplyResult>> {
    let admitted = match admission {
        Admission::Settled(events, result) => {
            for event in events {
                if let Some(event) = applied(event)
                    && to.send(Ok(frame(event))).await.is_err()
                {
                    return Ok(None);
                }
            }
            return Ok(Some(*result));
        }
        Admission::Admitted(admitted) => admitted,
    };
    if to.is_closed() {
        // Until now it was its caller's.
        admitted.give_back().await;
        return Ok(None);
    }
    let operation = Arc::clone(admitted.operation());
    plane.shared().tasks.spawn(admitted.run());
    let first = frame(Apply::Operation(operation.describe()));
    if to.send(Ok(first)).await.is_err() {
        return Ok(None);
    }
    operation
        .follow(to, |event| applied(event).map(frame))
        .await;
    if to.is_closed() {
        return Ok(None);
    }
    let cut_off = || Error::unavailable("the apply was cut off").with_hint("look at the status");
    operation.result().map(Some).ok_or_else(cut_off)
}

fn wait_of(plane: &ControlPlane, millis: u32) -> Duration {
    match millis {
        0 => plane.options().wait_timeout,
        millis => Duration::from_millis(millis.into()),
    }
}

fn frame(event: Apply) -> pb::ApplyResponse {
    pb::ApplyResponse { event: Some(event) }
}

fn rolled_back(event: Apply) -> pb::RollbackResponse {
    use pb::rollback_response::Event as Rollback;
    let event = match event {
        Apply::Plan(plan) => Rollback::Plan(plan),
        Apply::Step(step) => Rollback::Step(step),
        Apply::Result(result) => Rollback::Result(result),
        Apply::Rollout(rollout) => Rollback::Rollout(rollout),
        Apply::Operation(operation) => Rollback::Operation(operation),
    };
    pb::RollbackResponse { event: Some(event) }
}

fn applied(event: Event) -> Option<Apply> {
    match event {
        Event::Plan(plan) => Some(Apply::Plan(plan)),
        Event::Step(step) => Some(Apply::Step(step)),
        Event::Result(result) => Some(Apply::Result(result)),
        Event::Restored(_) => None,
    }
}

/// Answers a restoration.
pub(super) async fn restore(
    plane: ControlPlane,
    request: pb::RestoreGraphRequest,
    actor: Option<String>,
    to: To<pb::RestoreGraphResponse>,
) {
    use pb::restore_graph_response::Event as Restore;
    let frame = |event| pb::RestoreGraphResponse { event: Some(event) };
    let operation = match plane.admit_restore(&request, actor.as_deref()).await {
        Ok(admitted) if to.is_closed() => {
            admitted.give_back().await;
            return;
        }
        Ok(admitted) => {
            let operation = Arc::clone(admitted.operation());
            plane.shared().tasks.spawn(admitted.run());
            operation
        }
        Err(error) => {
            let _ = to.send(Err(error.into())).await;
            return;
        }
    };
    let first = frame(Restore::Operation(operation.describe()));
    if to.send(Ok(first)).await.is_err() {
        return;
    }
    let restored = |event| match event {
        Event::Restored(restored) => Some(frame(Restore::Result(restored))),
        _ => None,
    };
    operation.follow(&to, restored).await;
    if let Some(refusal) = operation.refusal() {
        let _ = to.send(Err(refusal)).await;
    }
}

/// Follows an operation from its first event on.
pub(super) async fn watch(
    plane: ControlPlane,
    request: pb::WatchOperationRequest,
    to: To<pb::WatchOperationResponse>,
) {
    if let Err(error) = follow(&plane, &request.operation_id, &to).await {
        let _ = to.send(Err(error.into())).await;
    }
}

async fn follow(
    plane: &ControlPlane,
    id: &str,
    to: &To<pb::WatchOperationResponse>,
) -> PlaneResult<()> {
    let frame = |event| pb::WatchOperationResponse { event: Some(event) };
    let id = parse_id(id)?;
    let own: Option<Arc<Operation>> = plane.shared().operations.get(id);
    let Some(operation) = own else {
        let found = plane.operation(id).await?;
        if found.state() == pb::OperationState::Running {
            // Only the process that runs it has its events.
            plane.only_as_leader().await?;
        }
        let _ = to.send(Ok(frame(Watch::Operation(found)))).await;
        return Ok(());
    };
    let first = frame(Watch::Operation(operation.describe()));
    if to.send(Ok(first)).await.is_err() {
        return Ok(());
    }
    let watched = |event| {
        Some(frame(match event {
            Event::Plan(plan) => Watch::Plan(plan),
            Event::Step(step) => Watch::Step(step),
            Event::Result(result) => Watch::Result(result),
            Event::Restored(restored) => Watch::Restored(restored),
        }))
    };
    operation.follow(to, watched).await;
    let last = plane.operation(id).await?;
    let _ = to.send(Ok(frame(Watch::Operation(last)))).await;
    Ok(())
}
