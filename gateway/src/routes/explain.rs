//! Plans, and what they cost.

use axum::response::Response;
use omnigraph_proto::data::v1::{
    ExplainMode as Mode, ExplainRequest as ExplainMessage, ExplainResponse,
};
use serde_json::value::RawValue;

use crate::answer::Answer;
use crate::errors::ApiError;
use crate::extract::{Budget, GraphCall, JsonBody, Selector, object_text};
use crate::shapes::{ExplainMode, ExplainOutput, ExplainRequest, PlanNodeOutput, TotalsOutput};

pub(crate) async fn explain(
    graph: GraphCall,
    JsonBody(body): JsonBody<ExplainRequest>,
) -> Result<Response, ApiError> {
    let options = graph.unconditional(body.message, "POST …/mutate/if-graph-commit")?;
    let selector = Selector {
        branch: body.branch,
        snapshot: body.snapshot,
        tag: body.tag,
        as_of: body.as_of,
    };
    let (mode, budget) = match body.mode {
        ExplainMode::Explain => (Mode::Explain, Budget::Read),
        ExplainMode::Profile => (Mode::Profile, Budget::Write),
    };
    let message = ExplainMessage {
        graph_id: graph.graph_id.clone(),
        query: body.query.unwrap_or_default(),
        name: body.name.unwrap_or_default(),
        params_json: object_text("params", body.params)?,
        target: Some(selector.target()?),
        mode: mode.into(),
        write_options: Some(options),
    };
    let request = graph.request(message, budget);
    let mut graphs = graph.graphs();
    let answer = graph.wait(budget, graphs.explain(request)).await?;
    let (metadata, message, _) = answer.into_parts();
    let commit = message.graph_commit_id.clone();
    let output = shape(body.mode, message).ok_or_else(ApiError::broken_off)?;
    Answer::new(&metadata).commit(&commit).json(&output)
}

/// `None` if the replica's answer lacks a part.
fn shape(mode: ExplainMode, message: ExplainResponse) -> Option<ExplainOutput> {
    let totals = message.totals.map(|totals| TotalsOutput {
        elapsed_us: totals.elapsed_us,
        rows_scanned: totals.rows_scanned,
        bytes_read: totals.bytes_read,
        object_store_requests: totals.object_store_requests,
        peak_memory_bytes: totals.peak_memory_bytes,
    });
    let result = match message.result_json.is_empty() {
        true => None,
        false => Some(RawValue::from_string(message.result_json).ok()?),
    };
    Some(ExplainOutput {
        mode,
        query_name: message.query_name,
        graph_commit_id: message.graph_commit_id,
        params: message.params.into_iter().collect(),
        operation: message.operation.unwrap_or_default().into(),
        warnings: message.warnings.iter().map(Into::into).collect(),
        plan: PlanNodeOutput::of(message.plan?, true)?,
        logical_plan: PlanNodeOutput::of(message.logical_plan?, false)?,
        totals,
        result,
        text: message.text,
    })
}
