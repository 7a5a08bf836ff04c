//! Mutations.

use std::time::Duration;

use omnigraph_engine::{Authorship, MutationOutcome, StatementOutcome};
use omnigraph_proto::data::v1::{MutateRequest, MutateResponse, MutationResult, StatementResult};
use omnigraph_proto::error::WireError;

use super::convert;
use super::errors::{About, wire};
use crate::authorize::Guard;
use crate::generation::Generation;

pub(super) async fn mutate(
    generation: &Generation,
    message: MutateRequest,
    by: Authorship,
    left: Duration,
    guard: &Guard,
) -> Result<MutateResponse, WireError> {
    let branch = convert::branch(&message.branch)?;
    let params = convert::params(&message.params_json)?;
    let actor = by.actor.as_ref().map(ToString::to_string);
    let mut options = convert::write_options(message.options, by, left)?;
    options.types = guard.type_gate(branch.as_str());
    let name = convert::present(message.name);
    let outcome = generation
        .graph
        .mutate(&branch, &message.query, name.as_deref(), &params, &options)
        .await
        .map_err(|error| wire(error, About::Source))?;
    Ok(MutateResponse {
        result: Some(result(outcome, actor)),
    })
}

/// What a mutation did, on the wire.
pub(super) fn result(outcome: MutationOutcome, actor_id: Option<String>) -> MutationResult {
    MutationResult {
        branch: outcome.branch.to_string(),
        query_name: outcome.query_name,
        affected_nodes: outcome.affected_nodes,
        affected_edges: outcome.affected_edges,
        actor_id,
        commit: outcome.commit.as_ref().map(convert::commit),
        replayed: outcome.replayed,
        statements: outcome.statements.iter().map(statement).collect(),
    }
}

fn statement(outcome: &StatementOutcome) -> StatementResult {
    StatementResult {
        kind: outcome.kind.to_string(),
        type_name: outcome.type_name.clone(),
        nodes: outcome.nodes,
        edges: outcome.edges,
    }
}
