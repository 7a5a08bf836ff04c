//! Ad-hoc mutations.

use axum::response::Response;
use omnigraph_proto::common::v1::WriteOptions;
use omnigraph_proto::data::v1::{MutateRequest, MutationResult};
use tonic::metadata::MetadataMap;

use crate::answer::Answer;
use crate::errors::ApiError;
use crate::extract::{Budget, GraphCall, JsonBody, branch_name, object_text};
use crate::shapes::{ChangeOutput, ChangeRequest};

pub(crate) async fn mutate(
    graph: GraphCall,
    JsonBody(mut body): JsonBody<ChangeRequest>,
) -> Result<Response, ApiError> {
    let options = graph.unconditional(body.message.take(), "POST …/mutate/if-graph-commit")?;
    run(graph, body, options).await
}

pub(crate) async fn mutate_if(
    graph: GraphCall,
    JsonBody(mut body): JsonBody<ChangeRequest>,
) -> Result<Response, ApiError> {
    let options = graph.conditional(body.message.take())?;
    run(graph, body, options).await
}

async fn run(
    graph: GraphCall,
    body: ChangeRequest,
    options: WriteOptions,
) -> Result<Response, ApiError> {
    let message = MutateRequest {
        graph_id: graph.graph_id.clone(),
        query: body.query,
        name: body.name.unwrap_or_default(),
        params_json: object_text("params", body.params)?,
        branch: branch_name(body.branch.as_deref(), "main")?,
        options: Some(options),
    };
    let request = graph.request(message, Budget::Write);
    let mut graphs = graph.graphs();
    let answer = graph.wait(Budget::Write, graphs.mutate(request)).await?;
    let (metadata, message, _) = answer.into_parts();
    changed(&metadata, message.result.unwrap_or_default())
}

/// The answer of a mutation.
pub(super) fn changed(
    metadata: &MetadataMap,
    result: MutationResult,
) -> Result<Response, ApiError> {
    let commit = result.commit.as_ref();
    let commit = commit.map_or("", |commit| commit.graph_commit_id.as_str());
    let answer = Answer::new(metadata)
        .commit(commit)
        .replayed(result.replayed);
    answer.json(&ChangeOutput {
        branch: result.branch,
        query_name: result.query_name,
        affected_nodes: result.affected_nodes,
        affected_edges: result.affected_edges,
        actor_id: result.actor_id,
        commit: result.commit.map(Into::into),
        statements: result.statements.into_iter().map(Into::into).collect(),
    })
}
