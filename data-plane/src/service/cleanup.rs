//! Reclaiming what no kept commit needs.

use std::sync::Arc;
use std::time::Duration;

use futures::stream;
use omnigraph_engine::{
    CollectOptions, CollectOutcome, CollectProgress, CollectedTable, Retention,
};
use omnigraph_proto::data::v1::{
    CleanupRequest, CleanupResponse, CleanupResult, DatasetMaintenance, MaintenanceProgress,
    cleanup_response::Event,
};
use omnigraph_proto::error::WireError;
use tokio::sync::mpsc;
use tonic::Status;
use tonic::codegen::BoxStream;

use super::errors::{About, entity_kind, wire};
use super::maintenance::stopping;
use crate::generation::Generation;
use crate::replica::Inner;

/// Reports on their way to a client; progress that finds no room is left out.
const WAITING_EVENTS: usize = 64;

/// Begins to reclaim; the stream ends with the result. It goes on only as long as the client
/// listens and the replica is not told to stop: the next one carries it on.
pub(super) fn cleanup(
    inner: &Arc<Inner>,
    generation: Arc<Generation>,
    message: CleanupRequest,
) -> Result<BoxStream<CleanupResponse>, WireError> {
    if message.keep_commits.is_none() && message.older_than_seconds.is_none() {
        return Err(WireError::invalid_request(
            "a cleanup needs keep_commits, older_than_seconds, or both",
        ));
    }
    let (sender, receiver) = mpsc::channel(WAITING_EVENTS);
    let told = sender.clone();
    let options = CollectOptions {
        retention: Retention {
            commits: message.keep_commits.map(u64::from),
            age: message.older_than_seconds.map(Duration::from_secs),
        },
        dry_run: message.dry_run,
        progress: Some(Arc::new(move |progress| {
            let _ = told.try_send(Ok(event(Event::Progress(step(progress)))));
        })),
    };
    let stop = inner.stop.clone();
    inner.tasks.spawn(async move {
        let work = generation.graph.collect(&options);
        let outcome = tokio::select! {
            outcome = Box::pin(work) => outcome.map_err(|error| wire(error, About::Source)),
            () = sender.closed() => return,
            () = stop.cancelled() => Err(stopping()),
        };
        answer(&sender, outcome).await;
    });
    Ok(Box::pin(stream::unfold(receiver, |mut receiver| async {
        let next = receiver.recv().await?;
        Some((next, receiver))
    })))
}

async fn answer(
    sender: &mpsc::Sender<Result<CleanupResponse, Status>>,
    outcome: Result<CollectOutcome, WireError>,
) {
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            // Who does not listen any more needs no answer; so below.
            let _ = sender.send(Err(error.into())).await;
            return;
        }
    };
    for table in &outcome.tables {
        let _ = sender.send(Ok(event(Event::Dataset(dataset(table))))).await;
    }
    let _ = sender
        .send(Ok(event(Event::Result(result(&outcome)))))
        .await;
}

fn result(outcome: &CollectOutcome) -> CleanupResult {
    CleanupResult {
        bytes_removed: outcome.removed.bytes,
        objects_removed: outcome.removed.objects,
        oldest_retained_commit_id: outcome
            .oldest_retained
            .map_or(String::new(), |id| id.to_string()),
        dry_run: outcome.dry_run,
        condemned_objects: outcome.condemned.objects,
        condemned_bytes: outcome.condemned.bytes,
        removable_at_us: outcome.removable_at,
        log_entries_removed: outcome.log_entries,
    }
}

fn dataset(table: &CollectedTable) -> DatasetMaintenance {
    DatasetMaintenance {
        kind: entity_kind(table.edge).into(),
        type_name: table.type_name.clone(),
        bytes_removed: table.removed.bytes,
        objects_removed: table.removed.objects,
        ..DatasetMaintenance::default()
    }
}

pub(super) fn step(progress: CollectProgress) -> MaintenanceProgress {
    MaintenanceProgress {
        step: progress.step.to_owned(),
        done: progress.done,
        total: progress.total,
        bytes: progress.bytes,
    }
}

fn event(event: Event) -> CleanupResponse {
    CleanupResponse { event: Some(event) }
}
