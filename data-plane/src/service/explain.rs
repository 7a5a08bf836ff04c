//! Plans, and what they cost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use omnigraph_engine::{
    Authorship, Explanation, PlanNode, QueryLimits, QueryResult, Snapshot, Target, rows_to_json,
};
use omnigraph_gateway::shapes::{ChangeOutput, TargetOutput};
use omnigraph_lang::query::{CheckedQuery, ResultColumn, ResultKind, TypeRef};
use omnigraph_policy::{Action, Call};
use omnigraph_proto::common::v1 as pb;
use omnigraph_proto::common::v1::ErrorReason;
use omnigraph_proto::data::v1 as data;
use omnigraph_proto::data::v1::{ExecutionStats, ExplainMode, ExplainRequest, ExplainResponse};
use omnigraph_proto::error::WireError;
use serde_json::{Map, Value as Json, json};

use super::errors::{About, diagnostic, entity_kind, wire};
use super::query::{self, pin};
use super::{asks, convert, mutate};
use crate::authorize::Guard;
use crate::generation::{Generation, is_mutation};

/// A request whose query has been checked.
pub(super) struct Prepared {
    guard: Guard,
    message: ExplainRequest,
    source: String,
    query: Arc<CheckedQuery>,
    target: Target,
    snapshot: Snapshot,
    params: Map<String, Json>,
    about: About,
}

pub(super) async fn prepare(
    generation: &Generation,
    message: ExplainRequest,
    deadline: Option<Instant>,
    guard: Guard,
) -> Result<Prepared, WireError> {
    let (source, about) = match message.query.as_str() {
        "" => {
            let stored = generation.queries.get(&message.name).ok_or_else(|| {
                WireError::not_found("no such stored query")
                    .with_hint("GET …/queries (gRPC: ListQueries) lists them")
            })?;
            (stored.source.to_string(), About::Stored)
        }
        source => (source.to_owned(), About::Source),
    };
    let (target, snapshot) = pin(generation, message.target.clone(), None, deadline).await?;
    asks::pinned(&guard, Action::Read, &target, &snapshot)?;
    let name = convert::present(message.name.clone());
    let query = generation
        .graph
        .compile(&snapshot, &source, name.as_deref())
        .await
        .map_err(|error| wire(error, about))?;
    may_explain(&guard, &query, &target, &snapshot)?;
    let params = convert::params(&message.params_json)?;
    let prepared = Prepared {
        guard,
        message,
        source,
        query,
        target,
        snapshot,
        params,
        about,
    };
    if prepared.commits() && !matches!(prepared.target, Target::Branch(_)) {
        let message = format!(
            "query '{}' is a mutation: it takes a branch, not a snapshot",
            prepared.query.name
        );
        return Err(WireError::new(ErrorReason::InvalidRequest, message));
    }
    if let (true, Target::Branch(branch)) = (prepared.commits(), &prepared.target) {
        let change = Call::new(Action::Change).on(branch.as_str());
        prepared.guard.check(&change)?;
    }
    Ok(prepared)
}

/// A plan tells how much there is of every type that it names.
fn may_explain(
    guard: &Guard,
    query: &CheckedQuery,
    target: &Target,
    snapshot: &Snapshot,
) -> Result<(), WireError> {
    query::may_read(guard, query, target, snapshot)?;
    let branch = asks::branch_of(target, snapshot).as_str();
    let written = query.operation.writes.iter();
    let written = written.map(|written| written.type_name.as_str());
    guard.check_types(Call::new(Action::Read).on(branch), written)
}

impl Prepared {
    fn profiles(&self) -> bool {
        self.message.mode() == ExplainMode::Profile
    }

    /// The request changes the graph.
    pub(super) fn commits(&self) -> bool {
        self.profiles() && is_mutation(&self.query)
    }

    /// Plans, or runs a read and measures it.
    pub(super) async fn read(
        self,
        generation: &Generation,
        options: query::Options,
    ) -> Result<ExplainResponse, WireError> {
        let graph = &generation.graph;
        if !self.profiles() {
            let explained = graph.explain(&self.snapshot, &self.query, &self.params);
            let explained = explained.await.map_err(|error| wire(error, self.about))?;
            return Ok(self.response(&explained));
        }
        let limits = QueryLimits {
            deadline: options.deadline,
            max_rows: None,
            memory_bytes: options.memory_bytes,
        };
        let before = graph.requests();
        let profiled = graph.profile(&self.snapshot, &self.query, &self.params, &limits);
        let (explained, result) = profiled.await.map_err(|error| wire(error, self.about))?;
        let used = graph.requests() - before;
        let mut response = self.response(&explained);
        response.totals = Some(ExecutionStats {
            elapsed_us: result.stats.elapsed_us,
            rows_scanned: result.stats.rows_scanned,
            bytes_read: used.bytes_read,
            object_store_requests: used.total(),
            peak_memory_bytes: result.stats.peak_memory_bytes,
        });
        response.result_json = self.rows(&result);
        Ok(response)
    }

    /// Runs a mutation, which commits, and measures it as a whole.
    pub(super) async fn profile_mutation(
        self,
        generation: &Generation,
        by: Authorship,
        left: Duration,
    ) -> Result<ExplainResponse, WireError> {
        let graph = &generation.graph;
        let explained = graph.explain(&self.snapshot, &self.query, &self.params);
        let mut explained = explained.await.map_err(|error| wire(error, self.about))?;
        let Target::Branch(branch) = &self.target else {
            return Err(WireError::internal());
        };
        let actor = by.actor.as_ref().map(ToString::to_string);
        let mut options = convert::write_options(self.message.write_options.clone(), by, left)?;
        options.types = self.guard.type_gate(branch.as_str());
        let started = Instant::now();
        let before = graph.requests();
        let name = Some(self.query.name.as_str());
        let outcome = graph
            .mutate(branch, &self.source, name, &self.params, &options)
            .await
            .map_err(|error| wire(error, self.about))?;
        let used = graph.requests() - before;
        explained.measured(&outcome.statements);
        let mut response = self.response(&explained);
        response.totals = Some(ExecutionStats {
            elapsed_us: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
            bytes_read: used.bytes_read,
            object_store_requests: used.total(),
            ..ExecutionStats::default()
        });
        if let Some(commit) = &outcome.commit {
            response.graph_commit_id = commit.id.to_string();
        }
        let result = mutate::result(outcome, actor);
        let output = ChangeOutput {
            branch: result.branch,
            query_name: result.query_name,
            affected_nodes: result.affected_nodes,
            affected_edges: result.affected_edges,
            actor_id: result.actor_id,
            commit: result.commit.map(Into::into),
            statements: result.statements.into_iter().map(Into::into).collect(),
        };
        response.result_json = json!(output).to_string();
        Ok(response)
    }

    /// Everything that does not depend on a run.
    fn response(&self, explained: &Explanation) -> ExplainResponse {
        let query = &self.query;
        let params = query.params.iter().map(|param| {
            let mark = if param.nullable { "?" } else { "" };
            (param.name.clone(), format!("{}{mark}", param.data_type))
        });
        let operation = &query.operation;
        let refs = |types: &[TypeRef]| types.iter().map(entity_ref).collect();
        ExplainResponse {
            query_name: query.name.clone(),
            graph_commit_id: self.snapshot.commit_id().to_string(),
            params: params.collect(),
            operation: Some(data::Operation {
                result: operation.result.iter().map(column).collect(),
                reads: refs(&operation.reads),
                writes: refs(&operation.writes),
            }),
            warnings: query.warnings.iter().map(diagnostic).collect(),
            plan: Some(node(&explained.plan)),
            totals: None,
            result_json: String::new(),
            text: explained.text(),
            logical_plan: Some(node(&explained.logical)),
        }
    }

    /// The result as `POST …/query` gives it.
    fn rows(&self, result: &QueryResult) -> String {
        let branch = match &self.target {
            Target::Branch(name) => Some(name.to_string()),
            _ => None,
        };
        let commit = self.snapshot.commit_id().to_string();
        let target = TargetOutput {
            snapshot: branch.is_none().then(|| commit.clone()),
            branch,
        };
        let names: Vec<&str> = result.columns.iter().map(|c| c.name.as_str()).collect();
        let rows: Vec<String> = rows_to_json(result, false).collect();
        format!(
            r#"{{"query_name":{},"target":{},"columns":{},"rows":[{}],"row_count":{},"graph_commit_id":{}}}"#,
            json!(self.query.name),
            json!(target),
            json!(names),
            rows.join(","),
            rows.len(),
            json!(commit),
        )
    }
}

fn node(node: &PlanNode) -> data::PlanNode {
    data::PlanNode {
        op: node.op.to_owned(),
        args_json: Json::Object(node.args.clone()).to_string(),
        est_rows: node.est_rows.unwrap_or_default(),
        rows: node.rows,
        ms: node.ms,
        children: node.children.iter().map(self::node).collect(),
    }
}

fn entity_ref(of: &TypeRef) -> pb::EntityRef {
    let edge = of.kind == omnigraph_lang::schema::EntityKind::Edge;
    pb::EntityRef {
        kind: entity_kind(edge).into(),
        type_name: of.type_name.clone(),
        ..pb::EntityRef::default()
    }
}

fn column(column: &ResultColumn) -> data::ResultColumn {
    let word = |kind: ResultKind| {
        // The words of the language are those of the wire.
        let json = json!(kind);
        json.as_str().unwrap_or_default().to_owned()
    };
    data::ResultColumn {
        name: column.name.clone(),
        kind: word(column.kind),
        item_kind: column.item_kind.map(word).unwrap_or_default(),
        vector_dim: column.vector_dim.unwrap_or_default(),
        nullable: column.nullable,
    }
}
