//! Stored queries.

use axum::Extension;
use axum::response::Response;
use omnigraph_proto::common::v1::WriteOptions;
use omnigraph_proto::data::v1::{InvokeQueryRequest, ListQueriesRequest, QueryParam, StoredQuery};

use super::mutate::changed;
use crate::answer::Answer;
use crate::errors::ApiError;
use crate::extract::{Budget, GraphCall, OptionalJsonBody, RequestId, Selector, object_text};
use crate::formats::{Frame, Frames, negotiate};
use crate::shapes::{
    Int64Style, InvokeStoredQueryRequest, ParamDescriptor, QueriesCatalogOutput, StoredQueryOutput,
    present,
};

pub(crate) async fn list(graph: GraphCall) -> Result<Response, ApiError> {
    let message = ListQueriesRequest {
        graph_id: graph.graph_id.clone(),
        invocable_only: false,
    };
    let request = graph.request(message, Budget::Read);
    let mut graphs = graph.graphs();
    let answer = graph
        .wait(Budget::Read, graphs.list_queries(request))
        .await?;
    let (metadata, message, _) = answer.into_parts();
    let queries = message.queries.into_iter().map(described).collect();
    Answer::new(&metadata).json(&QueriesCatalogOutput { queries })
}

pub(crate) async fn invoke(
    graph: GraphCall,
    Extension(id): Extension<RequestId>,
    OptionalJsonBody(mut body): OptionalJsonBody<InvokeStoredQueryRequest>,
) -> Result<Response, ApiError> {
    let conditional = "POST …/queries/{name}/if-graph-commit";
    let options = graph.unconditional(body.message.take(), conditional)?;
    run(graph, id, body, options, false).await
}

pub(crate) async fn invoke_if(
    graph: GraphCall,
    Extension(id): Extension<RequestId>,
    OptionalJsonBody(mut body): OptionalJsonBody<InvokeStoredQueryRequest>,
) -> Result<Response, ApiError> {
    let options = graph.conditional(body.message.take())?;
    run(graph, id, body, options, true).await
}

async fn run(
    graph: GraphCall,
    id: RequestId,
    body: InvokeStoredQueryRequest,
    options: WriteOptions,
    require_mutation: bool,
) -> Result<Response, ApiError> {
    let format = negotiate(graph.headers())?;
    let selector = Selector {
        branch: body.branch,
        snapshot: body.snapshot,
        tag: body.tag,
        as_of: body.as_of,
    };
    let pinned = selector.is_pinned();
    let message = InvokeQueryRequest {
        graph_id: graph.graph_id.clone(),
        name: graph.segment("name").to_owned(),
        params_json: object_text("params", body.params)?,
        target: Some(selector.target()?),
        read_options: Some(graph.read_options(pinned)?),
        write_options: Some(options),
        encoding: format.encoding().into(),
        expect_mutation: body.expect_mutation,
        require_mutation,
        max_rows: graph.max_rows()?,
        int64_as_string: body.int64 == Some(Int64Style::String),
    };
    let request = graph.request(message, Budget::ReadOrWrite);
    let mut graphs = graph.graphs();
    let invoke = graphs.invoke_query(request);
    let answer = graph.wait(Budget::ReadOrWrite, invoke).await?;
    let mut frames = Frames::new(answer);
    match frames.next().await? {
        Some(Frame::Mutation(result)) => changed(frames.metadata(), *result),
        Some(Frame::Header(header)) => {
            let json_max = graph.options().json_result_max;
            let id = id.as_str().to_owned();
            format.respond(header, frames, id, json_max).await
        }
        _ => Err(ApiError::broken_off()),
    }
}

fn described(query: StoredQuery) -> StoredQueryOutput {
    StoredQueryOutput {
        name: query.name,
        tool_name: query.tool_name,
        description: present(query.description),
        instruction: present(query.instruction),
        mutation: query.mutation,
        params: query.params.into_iter().map(param).collect(),
    }
}

fn param(param: QueryParam) -> ParamDescriptor {
    ParamDescriptor {
        name: param.name,
        kind: param.kind,
        item_kind: present(param.item_kind),
        vector_dim: Some(param.vector_dim).filter(|dim| *dim > 0),
        nullable: param.nullable,
    }
}
