//! Backups on demand.

use std::sync::Arc;

use futures::stream;
use omnigraph_engine::{BackupInfo, BackupOptions, BackupScope};
use omnigraph_proto::data::v1::{
    BackupRequest, BackupResponse, BackupResult, backup_response::Event,
};
use omnigraph_proto::error::WireError;
use tokio::sync::mpsc;
use tonic::codegen::BoxStream;

use super::cleanup::step;
use super::convert;
use super::errors::{About, wire};
use super::maintenance::stopping;
use crate::generation::Generation;
use crate::replica::Inner;

/// Reports on their way to a client; progress that finds no room is left out.
const WAITING_EVENTS: usize = 64;

/// Begins a backup; the stream ends with the result. It goes on only as long as the client listens
/// and the replica is not told to stop; what was copied is not copied again.
pub(super) fn backup(
    inner: &Arc<Inner>,
    generation: Arc<Generation>,
    message: BackupRequest,
) -> Result<BoxStream<BackupResponse>, WireError> {
    let destination = message.destination_uri;
    if destination.trim().is_empty() {
        return Err(WireError::invalid_request("a backup needs destination_uri"));
    }
    let scope = match (message.include_history, message.target) {
        (true, Some(_)) => {
            return Err(WireError::invalid_request(
                "a backup with history is of every branch: leave the target out",
            ));
        }
        (true, None) => BackupScope::History,
        (false, target) => BackupScope::Commit(convert::target(target)?),
    };
    let (sender, receiver) = mpsc::channel(WAITING_EVENTS);
    let told = sender.clone();
    let options = BackupOptions {
        scope,
        progress: Some(Arc::new(move |progress| {
            let _ = told.try_send(Ok(event(Event::Progress(step(progress)))));
        })),
    };
    let stop = inner.stop.clone();
    inner.tasks.spawn(async move {
        let work = generation.graph.backup(&destination, &options);
        let outcome = tokio::select! {
            outcome = Box::pin(work) => outcome.map_err(|error| wire(error, About::Source)),
            () = sender.closed() => return,
            () = stop.cancelled() => Err(stopping()),
        };
        let last = match outcome {
            Ok(made) => Ok(event(Event::Result(result(&made)))),
            Err(error) => Err(error.into()),
        };
        // Who does not listen any more needs no answer.
        let _ = sender.send(last).await;
    });
    Ok(Box::pin(stream::unfold(receiver, |mut receiver| async {
        let next = receiver.recv().await?;
        Some((next, receiver))
    })))
}

fn result(made: &BackupInfo) -> BackupResult {
    BackupResult {
        backup_id: made.id.to_string(),
        manifest_uri: made.manifest_uri.clone(),
        graph_commit_id: made.commit.to_string(),
        bytes: made.content.bytes,
        objects: made.content.objects,
        bytes_copied: made.copied.bytes,
        objects_copied: made.copied.objects,
    }
}

fn event(event: Event) -> BackupResponse {
    BackupResponse { event: Some(event) }
}
