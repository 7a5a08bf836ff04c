//! Exports: one pinned commit as load records.

use axum::body::Body;
use axum::response::Response;
use futures::stream;
use omnigraph_proto::data::v1::{ExportRequest as ExportMessage, ExportResponse, export_response};
use tonic::Streaming;

use crate::answer::Answer;
use crate::errors::ApiError;
use crate::extract::{Budget, GraphCall, JsonBody, Selector};
use crate::formats::aborted;
use crate::shapes::ExportRequest;

pub(crate) async fn export(
    graph: GraphCall,
    JsonBody(body): JsonBody<ExportRequest>,
) -> Result<Response, ApiError> {
    let selector = Selector {
        branch: body.branch,
        snapshot: body.snapshot,
        tag: body.tag,
        as_of: body.as_of,
    };
    let message = ExportMessage {
        graph_id: graph.graph_id.clone(),
        target: Some(selector.target()?),
        type_names: body.type_names.unwrap_or_default(),
    };
    let request = graph.request(message, Budget::Unbounded);
    let mut graphs = graph.graphs();
    // The first frame comes before any record is read, so it has the budget of a write at most.
    let answer = graph.wait(Budget::Write, graphs.export(request)).await?;
    let (metadata, mut frames, _) = answer.into_parts();
    let first = graph.wait(Budget::Write, frames.message()).await?;
    let Some(export_response::Frame::GraphCommitId(commit)) = first.and_then(|f| f.frame) else {
        return Err(ApiError::broken_off());
    };
    let answer = Answer::new(&metadata).commit(&commit);
    Ok(answer.body("application/x-ndjson; charset=utf-8", records(frames)))
}

/// The records. The count at the end proves that they are all; without it the body is aborted.
fn records(frames: Streaming<ExportResponse>) -> Body {
    let chunks = stream::unfold(Some(frames), |state| async move {
        let mut frames = state?;
        let frame = match frames.message().await {
            Ok(message) => message.and_then(|message| message.frame),
            Err(status) => return Some((Err(aborted(&status.into())), None)),
        };
        match frame {
            Some(export_response::Frame::Ndjson(bytes)) => Some((Ok(bytes), Some(frames))),
            Some(export_response::Frame::RecordCount(_)) => None,
            _ => Some((Err(aborted(&ApiError::broken_off())), None)),
        }
    });
    Body::from_stream(chunks)
}
