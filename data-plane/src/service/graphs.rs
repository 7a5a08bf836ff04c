//! Identity, graphs and their schemas.

use omnigraph_engine::{ReadOptions, STORAGE_FORMAT, Target};
use omnigraph_proto::data::v1::{
    GetGraphResponse, GetSchemaRequest, GetSchemaResponse, GraphInfo, ListGraphsRequest,
    ListGraphsResponse, WhoAmIResponse,
};
use omnigraph_proto::error::WireError;

use super::call::Call;
use super::convert;
use super::errors::{About, wire};
use crate::generation::Generation;
use crate::replica::Replica;
use crate::state::View;

pub(super) fn who_am_i(call: &Call) -> WhoAmIResponse {
    let credential_source = match (call.is_open(), call.actor()) {
        (true, _) => "",
        (false, Some(_)) => "static",
        (false, None) => "embedded",
    };
    WhoAmIResponse {
        actor_id: call.actor().unwrap_or_default().to_owned(),
        groups: Vec::new(),
        credential_source: credential_source.to_owned(),
    }
}

pub(super) fn list(replica: &Replica, message: &ListGraphsRequest) -> ListGraphsResponse {
    let graphs = replica.inner().status.borrow().graphs.clone();
    let shown = graphs
        .iter()
        .filter(|(_, view)| message.include_all || view.is_served());
    ListGraphsResponse {
        graphs: shown.map(|(id, view)| info(id, view)).collect(),
    }
}

/// One graph in whatever state, with the head of `main` if it can be had.
pub(super) async fn get(
    graph_id: &str,
    view: View<Generation>,
) -> Result<GetGraphResponse, WireError> {
    let mut info = info(graph_id, &view);
    if let Some((_, generation)) = &view.served {
        let head = generation
            .graph
            .snapshot(&Target::default(), &ReadOptions::default())
            .await
            .map_err(|error| wire(error, About::Source))?;
        info.head = Some(convert::commit(head.commit()));
    }
    Ok(GetGraphResponse { graph: Some(info) })
}

fn info(id: &str, view: &View<Generation>) -> GraphInfo {
    let served = view.served.as_ref();
    let generation = served.map(|(_, generation)| generation);
    let trouble = view.trouble.as_ref();
    GraphInfo {
        graph_id: id.to_owned(),
        uri: generation.map_or(String::new(), |g| g.graph.uri()),
        state: convert::graph_state(view.phase).into(),
        reason_code: trouble.map_or(String::new(), |t| t.code.as_str().to_owned()),
        reason: trouble.map_or(String::new(), |t| t.message.clone()),
        remedy: trouble.map_or(String::new(), |t| t.code.remedy().to_owned()),
        served_revision: served.map_or(0, |(revision, _)| *revision),
        target_revision: view.target_revision,
        head: None,
        schema_digest: generation.map_or(String::new(), |g| g.schema.meaning.clone()),
        internal_schema_version: STORAGE_FORMAT,
        query_count: generation.map_or(0, |g| u32::try_from(g.queries.len()).unwrap_or(u32::MAX)),
    }
}

/// The schema of the generation, or of what is asked for.
pub(super) async fn schema(
    generation: &Generation,
    message: GetSchemaRequest,
) -> Result<GetSchemaResponse, WireError> {
    let schema = match message.target {
        None => generation.schema.clone(),
        target => {
            let target = convert::target(target)?;
            let snapshot = generation
                .graph
                .snapshot(&target, &ReadOptions::default())
                .await
                .map_err(|error| wire(error, About::Source))?;
            snapshot.schema().clone()
        }
    };
    Ok(GetSchemaResponse {
        schema_source: schema.source.clone(),
        schema_digest: schema.meaning.clone(),
    })
}
