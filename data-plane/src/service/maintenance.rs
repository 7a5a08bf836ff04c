//! Maintenance on demand.

use std::sync::Arc;

use futures::stream;
use omnigraph_engine::{
    Authorship, OptimizeOptions, OptimizeOutcome, OptimizeProgress, TableMaintenance,
};
use omnigraph_proto::common::v1::ErrorReason;
use omnigraph_proto::data::v1::{
    DatasetMaintenance, MaintenanceProgress, OptimizeRequest, OptimizeResponse, OptimizeResult,
    optimize_response::Event,
};
use omnigraph_proto::error::WireError;
use tokio::sync::mpsc;
use tonic::Status;
use tonic::codegen::BoxStream;

use super::convert;
use super::errors::{About, entity_kind, wire};
use crate::generation::Generation;
use crate::replica::Inner;

/// Reports on their way to a client; progress that finds no room is left out.
const WAITING_EVENTS: usize = 64;

/// Begins to optimize; the stream ends with the result. It goes on only as long as the client
/// listens and the replica is not told to stop.
pub(super) fn optimize(
    inner: &Arc<Inner>,
    generation: Arc<Generation>,
    message: OptimizeRequest,
    by: Authorship,
) -> Result<BoxStream<OptimizeResponse>, WireError> {
    let branch = convert::branch(&message.branch)?;
    let options = OptimizeOptions {
        types: message.type_names,
        dry_run: message.dry_run,
        incremental: false,
        by,
    };
    let (sender, receiver) = mpsc::channel(WAITING_EVENTS);
    let stop = inner.stop.clone();
    inner.tasks.spawn(async move {
        let told = sender.clone();
        let tell = move |progress| {
            let _ = told.try_send(Ok(event(Event::Progress(step(progress)))));
        };
        let work = generation.graph.optimize(&branch, &options, &tell);
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
    sender: &mpsc::Sender<Result<OptimizeResponse, Status>>,
    outcome: Result<OptimizeOutcome, WireError>,
) {
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            // Who does not listen any more needs no answer; so below.
            let _ = sender.send(Err(error.into())).await;
            return;
        }
    };
    for table in outcome.tables {
        let _ = sender.send(Ok(event(Event::Dataset(dataset(table))))).await;
    }
    let result = OptimizeResult {
        commit: outcome.commit.as_ref().map(convert::commit),
    };
    let _ = sender.send(Ok(event(Event::Result(result)))).await;
}

fn step(progress: OptimizeProgress) -> MaintenanceProgress {
    MaintenanceProgress {
        step: progress.type_name.unwrap_or_else(|| "commit".to_owned()),
        done: progress.done as u64,
        total: progress.total as u64,
        bytes: 0,
    }
}

fn dataset(table: TableMaintenance) -> DatasetMaintenance {
    let pending = table.pending_indexes.into_iter();
    let (pending_indexes, pending_reasons) = pending.map(|p| (p.name, p.reason)).unzip();
    DatasetMaintenance {
        kind: entity_kind(table.edge).into(),
        type_name: table.type_name,
        fragments_removed: table.fragments_removed,
        fragments_added: table.fragments_added,
        indexes_extended: table.indexes_extended,
        pending_indexes,
        pending_reasons,
        bytes_removed: 0,
        objects_removed: 0,
        error: table.error.unwrap_or_default(),
    }
}

fn event(event: Event) -> OptimizeResponse {
    OptimizeResponse { event: Some(event) }
}

pub(super) fn stopping() -> WireError {
    WireError::new(
        ErrorReason::Unavailable,
        "the replica is stopping; what was not committed has no effect",
    )
}
