//! Reverts.

use axum::response::Response;
use omnigraph_proto::data::v1::{RevertBranchRequest, revert_branch_request::Mode};

use crate::answer::Answer;
use crate::errors::ApiError;
use crate::extract::{Budget, GraphCall, JsonBody, branch_name};
use crate::shapes::{RevertOutput, RevertRequest};

pub(crate) async fn revert(
    graph: GraphCall,
    JsonBody(body): JsonBody<RevertRequest>,
) -> Result<Response, ApiError> {
    let mode = match (body.to, body.undo) {
        (Some(to), None) => Mode::ToCommitId(to),
        (None, Some(undo)) => Mode::UndoCommitId(undo),
        _ => {
            return Err(ApiError::bad_request(
                "give 'to', the commit to go back to, or 'undo', the commit to undo",
            ));
        }
    };
    let message = RevertBranchRequest {
        graph_id: graph.graph_id.clone(),
        branch: branch_name(Some(graph.segment("branch")), "")?,
        mode: Some(mode),
        dry_run: body.dry_run,
        options: Some(graph.maybe_conditional(body.message)?),
    };
    let request = graph.request(message, Budget::Write);
    let mut graphs = graph.graphs();
    let answer = graph
        .wait(Budget::Write, graphs.revert_branch(request))
        .await?;
    let (metadata, reverted, _) = answer.into_parts();
    let commit = reverted.commit.as_ref();
    let commit = commit.map_or("", |commit| commit.graph_commit_id.as_str());
    let answer = Answer::new(&metadata)
        .commit(commit)
        .replayed(reverted.replayed);
    let found = reverted.conflicts.unwrap_or_default();
    answer.json(&RevertOutput {
        branch: reverted.branch,
        commit: reverted.commit.map(Into::into),
        changes: reverted.changes.into_iter().map(Into::into).collect(),
        conflicts_total: found.truncated.then_some(found.total),
        conflicts: found.conflicts.iter().map(Into::into).collect(),
        dry_run: reverted.dry_run.then_some(true),
    })
}
