//! Graphs and their states.

use axum::response::Response;
use omnigraph_proto::data::v1::{GetGraphRequest, GraphInfo, ListGraphsRequest};

use crate::answer::Answer;
use crate::errors::ApiError;
use crate::extract::{Budget, Call, GraphCall, QueryParams};
use crate::shapes::{GraphListResponse, GraphOutput, GraphSummary, present};

pub(crate) async fn list(call: Call, params: QueryParams) -> Result<Response, ApiError> {
    let include_all = match params.one("include")? {
        None => false,
        Some("all") => true,
        Some(_) => {
            return Err(ApiError::bad_request(
                "query parameter 'include' must be 'all'",
            ));
        }
    };
    let request = call.request(ListGraphsRequest { include_all }, Budget::Read);
    let mut graphs = call.graphs();
    let answer = call.wait(Budget::Read, graphs.list_graphs(request)).await?;
    let (metadata, message, _) = answer.into_parts();
    let graphs = message.graphs.into_iter().map(summary).collect();
    Answer::new(&metadata).json(&GraphListResponse { graphs })
}

pub(crate) async fn get(graph: GraphCall, params: QueryParams) -> Result<Response, ApiError> {
    params.only(&[])?;
    let message = GetGraphRequest {
        graph_id: graph.graph_id.clone(),
    };
    let request = graph.request(message, Budget::Read);
    let mut graphs = graph.graphs();
    let answer = graph.wait(Budget::Read, graphs.get_graph(request)).await?;
    let (metadata, message, _) = answer.into_parts();
    Answer::new(&metadata).json(&graph_output(message.graph.unwrap_or_default()))
}

pub(super) fn summary(graph: GraphInfo) -> GraphSummary {
    GraphSummary {
        status: graph.state().label().to_owned(),
        graph_id: graph.graph_id,
        uri: graph.uri,
        reason_code: present(graph.reason_code),
        served_revision: revision(graph.served_revision),
    }
}

pub(super) fn graph_output(graph: GraphInfo) -> GraphOutput {
    GraphOutput {
        status: graph.state().label().to_owned(),
        graph_id: graph.graph_id,
        uri: graph.uri,
        reason_code: present(graph.reason_code),
        reason: present(graph.reason),
        remedy: present(graph.remedy),
        served_revision: revision(graph.served_revision),
        target_revision: graph.target_revision,
        head: graph.head.map(Into::into),
        schema_digest: graph.schema_digest,
        internal_schema_version: graph.internal_schema_version,
        query_count: graph.query_count,
        replica_id: None,
    }
}

/// 0 on the wire: nothing is served yet.
fn revision(number: u64) -> Option<u64> {
    (number > 0).then_some(number)
}
