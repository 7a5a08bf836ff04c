//! Ad-hoc reads.

use axum::Extension;
use axum::response::Response;
use omnigraph_proto::data::v1::QueryRequest as QueryMessage;

use crate::errors::ApiError;
use crate::extract::{Budget, GraphCall, JsonBody, RequestId, Selector, object_text};
use crate::formats::{Frame, Frames, negotiate};
use crate::shapes::{Int64Style, QueryRequest};

pub(crate) async fn query(
    graph: GraphCall,
    Extension(id): Extension<RequestId>,
    JsonBody(body): JsonBody<QueryRequest>,
) -> Result<Response, ApiError> {
    let format = negotiate(graph.headers())?;
    let selector = Selector {
        branch: body.branch,
        snapshot: body.snapshot,
        tag: body.tag,
        as_of: body.as_of,
    };
    let pinned = selector.is_pinned();
    let message = QueryMessage {
        graph_id: graph.graph_id.clone(),
        query: body.query,
        name: body.name.unwrap_or_default(),
        params_json: object_text("params", body.params)?,
        target: Some(selector.target()?),
        options: Some(graph.read_options(pinned)?),
        encoding: format.encoding().into(),
        batch_rows: 0,
        max_rows: graph.max_rows()?,
        int64_as_string: body.int64 == Some(Int64Style::String),
    };
    let request = graph.request(message, Budget::Read);
    let mut graphs = graph.graphs();
    let respond = async {
        let mut frames = Frames::new(graph.wait(Budget::Read, graphs.query(request)).await?);
        let Some(Frame::Header(header)) = frames.next().await? else {
            return Err(ApiError::broken_off());
        };
        let json_max = graph.options().json_result_max;
        let id = id.as_str().to_owned();
        format.respond(header, frames, id, json_max).await
    };
    respond.await
}
