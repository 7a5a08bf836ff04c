//! Liveness and readiness.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use omnigraph_proto::common::v1::GraphState;
use omnigraph_proto::data::v1::{
    GetGraphRequest, GetReadinessRequest, GraphReadiness, ListGraphsRequest, Readiness,
};
use tonic::metadata::MetadataMap;

use super::graphs::{graph_output, summary};
use crate::INTERNAL_SCHEMA_VERSION;
use crate::answer::Answer;
use crate::app::AppState;
use crate::errors::ApiError;
use crate::extract::{Budget, Call, QueryParams};
use crate::shapes::{HealthOutput, ReadinessOutput};

pub(crate) async fn healthz() -> Result<Response, ApiError> {
    Answer::new(&MetadataMap::new()).json(&HealthOutput {
        status: "ok".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        internal_schema_version: INTERNAL_SCHEMA_VERSION,
        source_version: option_env!("OMNIGRAPH_SOURCE_VERSION").map(str::to_owned),
    })
}

pub(crate) async fn livez() -> Response {
    Answer::new(&MetadataMap::new()).body("application/json", r#"{"status":"ok"}"#)
}

pub(crate) async fn readyz(
    State(state): State<AppState>,
    call: Call,
    params: QueryParams,
) -> Result<Response, ApiError> {
    if let Some(graph_id) = params.text("graph")? {
        return graph_ready(&call, graph_id).await;
    }
    let mut output = overall(&state, &call).await;
    if params.switch("verbose")? {
        let request = call.request(ListGraphsRequest { include_all: true }, Budget::Read);
        let mut graphs = call.graphs();
        let answer = call.wait(Budget::Read, graphs.list_graphs(request)).await?;
        let graphs = answer.into_inner().graphs;
        output.graphs = Some(graphs.into_iter().map(summary).collect());
    }
    let ready = output.status == "ready";
    let answer = Answer::new(&MetadataMap::new()).json(&output)?;
    Ok(with_readiness(answer, ready))
}

async fn graph_ready(call: &Call, graph_id: String) -> Result<Response, ApiError> {
    let request = call.request(GetGraphRequest { graph_id }, Budget::Read);
    let mut graphs = call.graphs();
    let answer = call.wait(Budget::Read, graphs.get_graph(request)).await?;
    let (metadata, message, _) = answer.into_parts();
    let graph = message.graph.unwrap_or_default();
    let ready = matches!(graph.state(), GraphState::Ready | GraphState::Stale);
    let answer = Answer::new(&metadata).json(&graph_output(graph))?;
    Ok(with_readiness(answer, ready))
}

fn with_readiness(mut answer: Response, ready: bool) -> Response {
    if !ready {
        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    answer.into_response()
}

/// What the replica says about itself. One that does not answer serves nothing.
async fn overall(state: &AppState, call: &Call) -> ReadinessOutput {
    let request = call.request(GetReadinessRequest::default(), Budget::Read);
    let mut client = state.upstream.readiness();
    let answer = call.wait(Budget::Read, client.get_readiness(request)).await;
    match answer {
        Ok(answer) => counted(answer.into_inner().readiness.unwrap_or_default()),
        Err(_) => counted(Readiness {
            not_ready_because: vec!["no_healthy_graph".to_owned()],
            ..Readiness::default()
        }),
    }
}

fn counted(readiness: Readiness) -> ReadinessOutput {
    let count = |state: GraphState| {
        let is = |graph: &&GraphReadiness| graph.state() == state;
        readiness.graphs.iter().filter(is).count()
    };
    let status = if readiness.ready {
        "ready"
    } else {
        "not_ready"
    };
    ReadinessOutput {
        status: status.to_owned(),
        revision: readiness.revision,
        graphs_total: readiness.graphs.len(),
        graphs_ready: count(GraphState::Ready),
        graphs_stale: count(GraphState::Stale),
        graphs_quarantined: count(GraphState::Quarantined),
        not_ready_because: readiness.not_ready_because,
        graphs: None,
    }
}
