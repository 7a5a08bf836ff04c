//! The schema: read here, changed through the control plane.

use axum::response::Response;
use omnigraph_proto::data::v1::{ApplySchemaRequest, GetSchemaRequest};
use tonic::metadata::MetadataMap;

use crate::answer::Answer;
use crate::errors::ApiError;
use crate::extract::{Budget, GraphCall, JsonBody, QueryParams};
use crate::shapes::{SchemaApplyRequest, SchemaOutput};

pub(crate) async fn get(graph: GraphCall, params: QueryParams) -> Result<Response, ApiError> {
    // Without a target it is the schema of the served generation, which the replica knows.
    let selector = params.selector()?;
    let target = match selector.branch.is_some() || selector.is_pinned() {
        false => None,
        true => Some(selector.target()?),
    };
    let message = GetSchemaRequest {
        graph_id: graph.graph_id.clone(),
        target,
    };
    let request = graph.request(message, Budget::Read);
    let mut graphs = graph.graphs();
    let answer = graph.wait(Budget::Read, graphs.get_schema(request)).await?;
    let (metadata, schema, _) = answer.into_parts();
    Answer::new(&metadata).json(&SchemaOutput {
        schema_source: schema.schema_source,
        schema_digest: schema.schema_digest,
    })
}

/// The replica authorizes and then refuses, always.
pub(crate) async fn apply(
    graph: GraphCall,
    _: JsonBody<SchemaApplyRequest>,
) -> Result<Response, ApiError> {
    let message = ApplySchemaRequest {
        graph_id: graph.graph_id.clone(),
    };
    let request = graph.request(message, Budget::Read);
    let mut graphs = graph.graphs();
    let apply = graphs.apply_schema(request);
    graph.wait(Budget::Read, apply).await?;
    Answer::new(&MetadataMap::new()).json(&serde_json::json!({}))
}
