//! Maintenance on demand.

use axum::response::Response;
use omnigraph_proto::data::v1::{OptimizeRequest as OptimizeMessage, optimize_response::Event};

use crate::answer::Answer;
use crate::errors::ApiError;
use crate::extract::{Budget, GraphCall, OptionalJsonBody, branch_name};
use crate::shapes::{OptimizeOutput, OptimizeRequest};

/// Answers when the work is done. A caller that goes away ends it.
pub(crate) async fn optimize(
    graph: GraphCall,
    OptionalJsonBody(body): OptionalJsonBody<OptimizeRequest>,
) -> Result<Response, ApiError> {
    let message = OptimizeMessage {
        graph_id: graph.graph_id.clone(),
        branch: branch_name(body.branch.as_deref(), "main")?,
        type_names: body.type_names.unwrap_or_default(),
        dry_run: body.dry_run,
    };
    let request = graph.request(message, Budget::Unbounded);
    let mut maintenance = graph.maintenance();
    let answer = graph
        .wait(Budget::Write, maintenance.optimize(request))
        .await?;
    let (metadata, mut events, _) = answer.into_parts();
    let mut datasets = Vec::new();
    while let Some(message) = graph.wait(Budget::Unbounded, events.message()).await? {
        match message.event {
            Some(Event::Dataset(table)) => datasets.push(table.into()),
            Some(Event::Result(result)) => {
                let commit = result.commit.as_ref();
                let commit = commit.map_or("", |commit| commit.graph_commit_id.as_str());
                let answer = Answer::new(&metadata).commit(commit);
                return answer.json(&OptimizeOutput {
                    datasets,
                    commit: result.commit.map(Into::into),
                });
            }
            Some(Event::Progress(_)) | None => {}
        }
    }
    Err(ApiError::broken_off())
}
