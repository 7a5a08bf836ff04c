//! Reclaiming of history on demand.

use axum::response::Response;
use omnigraph_proto::data::v1::{
    CleanupRequest as CleanupMessage, CleanupResult, DatasetMaintenance, cleanup_response::Event,
};

use crate::answer::Answer;
use crate::errors::ApiError;
use crate::extract::{Budget, GraphCall, JsonBody};
use crate::shapes::{CleanupOutput, CleanupRequest, present};

/// Answers when the work is done. A caller that goes away ends it, and the next one carries it on.
pub(crate) async fn cleanup(
    graph: GraphCall,
    JsonBody(body): JsonBody<CleanupRequest>,
) -> Result<Response, ApiError> {
    let message = CleanupMessage {
        graph_id: graph.graph_id.clone(),
        keep_commits: body.keep_commits,
        older_than_seconds: body.older_than_seconds,
        dry_run: body.dry_run,
    };
    let request = graph.request(message, Budget::Unbounded);
    let mut maintenance = graph.maintenance();
    let answer = graph
        .wait(Budget::Write, maintenance.cleanup(request))
        .await?;
    let (metadata, mut events, _) = answer.into_parts();
    let mut datasets = Vec::new();
    while let Some(message) = graph.wait(Budget::Unbounded, events.message()).await? {
        match message.event {
            Some(Event::Dataset(table)) => datasets.push(table),
            Some(Event::Result(result)) => {
                return Answer::new(&metadata).json(&output(result, datasets));
            }
            Some(Event::Progress(_)) | None => {}
        }
    }
    Err(ApiError::broken_off())
}

fn output(result: CleanupResult, datasets: Vec<DatasetMaintenance>) -> CleanupOutput {
    CleanupOutput {
        dry_run: result.dry_run,
        objects_removed: result.objects_removed,
        bytes_removed: result.bytes_removed,
        condemned_objects: result.condemned_objects,
        condemned_bytes: result.condemned_bytes,
        removable_at: result.removable_at_us,
        log_entries_removed: result.log_entries_removed,
        oldest_retained_commit_id: present(result.oldest_retained_commit_id),
        datasets: datasets.into_iter().map(Into::into).collect(),
    }
}
