//! Ad-hoc reads.

use axum::Extension;
use axum::response::Response;
use omnigraph_proto::common::v1::{ReadTarget, read_target};
use omnigraph_proto::data::v1::QueryRequest as QueryMessage;

use crate::errors::ApiError;
use crate::extract::{Budget, GraphCall, JsonBody, RequestId, branch_name, object_text};
use crate::formats::{Frame, Frames, negotiate};
use crate::shapes::{Int64Style, QueryRequest};

pub(crate) async fn query(
    graph: GraphCall,
    Extension(id): Extension<RequestId>,
    JsonBody(body): JsonBody<QueryRequest>,
) -> Result<Response, ApiError> {
    let format = negotiate(graph.headers())?;
    let pinned = body.snapshot.is_some();
    let message = QueryMessage {
        graph_id: graph.graph_id.clone(),
        query: body.query,
        name: body.name.unwrap_or_default(),
        params_json: object_text("params", body.params)?,
        target: Some(read_target(body.branch, body.snapshot)?),
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

/// A branch or a snapshot; `main` if neither is named.
pub(super) fn read_target(
    branch: Option<String>,
    snapshot: Option<String>,
) -> Result<ReadTarget, ApiError> {
    let target = match (branch, snapshot) {
        (Some(_), Some(_)) => {
            return Err(ApiError::bad_request(
                "'branch' and 'snapshot' exclude each other",
            ));
        }
        (_, Some(snapshot)) => match snapshot.trim() {
            "" => return Err(ApiError::bad_request("'snapshot' is empty")),
            id => read_target::Target::CommitId(id.to_owned()),
        },
        (branch, None) => read_target::Target::Branch(branch_name(branch.as_deref(), "main")?),
    };
    Ok(ReadTarget {
        target: Some(target),
    })
}
