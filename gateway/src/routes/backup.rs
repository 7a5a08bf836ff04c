//! Backups on demand.

use axum::response::Response;
use omnigraph_proto::common::v1::{ReadTarget, read_target};
use omnigraph_proto::data::v1::{BackupRequest as BackupMessage, backup_response::Event};

use crate::answer::Answer;
use crate::errors::ApiError;
use crate::extract::{Budget, GraphCall, JsonBody, branch_name};
use crate::shapes::{BackupOutput, BackupRequest};

/// Answers when the backup is complete. A caller that goes away ends it.
pub(crate) async fn backup(
    graph: GraphCall,
    JsonBody(body): JsonBody<BackupRequest>,
) -> Result<Response, ApiError> {
    let message = BackupMessage {
        graph_id: graph.graph_id.clone(),
        target: target(&body)?,
        destination_uri: body.destination_uri,
        include_history: body.include_history,
    };
    let request = graph.request(message, Budget::Unbounded);
    let mut maintenance = graph.maintenance();
    let answer = graph
        .wait(Budget::Write, maintenance.backup(request))
        .await?;
    let (metadata, mut events, _) = answer.into_parts();
    while let Some(message) = graph.wait(Budget::Unbounded, events.message()).await? {
        match message.event {
            Some(Event::Result(result)) => {
                let answer = Answer::new(&metadata).commit(&result.graph_commit_id);
                return answer.json(&BackupOutput {
                    backup_id: result.backup_id,
                    manifest_uri: result.manifest_uri,
                    graph_commit_id: result.graph_commit_id.clone(),
                    bytes: result.bytes,
                    objects: result.objects,
                    bytes_copied: result.bytes_copied,
                    objects_copied: result.objects_copied,
                });
            }
            Some(Event::Progress(_)) | None => {}
        }
    }
    Err(ApiError::broken_off())
}

fn target(body: &BackupRequest) -> Result<Option<ReadTarget>, ApiError> {
    let target = match (&body.branch, &body.snapshot) {
        (Some(_), Some(_)) => {
            return Err(ApiError::bad_request(
                "give 'branch' or 'snapshot', not both",
            ));
        }
        (Some(branch), None) => read_target::Target::Branch(branch_name(Some(branch), "main")?),
        (None, Some(commit)) => read_target::Target::CommitId(commit.clone()),
        (None, None) => return Ok(None),
    };
    Ok(Some(ReadTarget {
        target: Some(target),
    }))
}
