//! Stored queries: the catalog, and running one.

use std::sync::Arc;
use std::time::Instant;

use futures::stream;
use omnigraph_engine::{Authorship, ReadOptions, Snapshot, Target};
use omnigraph_lang::query::{CheckedQuery, Param};
use omnigraph_lang::schema::{DataType, Scalar};
use omnigraph_policy::{Action, Call};
use omnigraph_proto::common::v1::{ErrorReason, read_target};
use omnigraph_proto::data::v1::{
    InvokeQueryRequest, InvokeQueryResponse, ListQueriesResponse, MutationResult, QueryParam,
    StoredQuery as StoredQueryMessage, invoke_query_response,
};
use omnigraph_proto::error::WireError;
use tonic::codegen::BoxStream;

use super::asks;
use super::errors::{About, wire};
use super::query::{self, Encoding, Frame, Reading, encode, pin};
use super::{convert, mutate};
use crate::authorize::Guard;
use crate::generation::{Generation, StoredQuery};
use crate::replica::Inner;

pub(super) fn list(generation: &Generation) -> ListQueriesResponse {
    ListQueriesResponse {
        queries: generation.queries.values().map(described).collect(),
    }
}

fn described(query: &StoredQuery) -> StoredQueryMessage {
    StoredQueryMessage {
        name: query.name.clone(),
        tool_name: query.name.clone(),
        description: query.description.clone().unwrap_or_default(),
        instruction: query.instruction.clone().unwrap_or_default(),
        mutation: query.mutation,
        params: query.params.iter().map(param).collect(),
    }
}

fn param(param: &Param) -> QueryParam {
    let (kind, item_kind, vector_dim) = match &param.data_type {
        DataType::Scalar(scalar) => (scalar_kind(*scalar), "", 0),
        DataType::Enum(_) => ("string", "", 0),
        DataType::List(item) => ("list", scalar_kind(*item), 0),
        DataType::Vector(dim) => ("vector", "", *dim),
        DataType::Blob => ("blob", "", 0),
    };
    QueryParam {
        name: param.name.clone(),
        kind: kind.to_owned(),
        item_kind: item_kind.to_owned(),
        vector_dim,
        nullable: param.nullable,
    }
}

fn scalar_kind(scalar: Scalar) -> &'static str {
    match scalar {
        Scalar::String => "string",
        Scalar::Bool => "bool",
        Scalar::I32 | Scalar::U32 => "int",
        Scalar::I64 | Scalar::U64 => "bigint",
        Scalar::F32 | Scalar::F64 => "float",
        Scalar::Date => "date",
        Scalar::DateTime => "datetime",
    }
}

/// One invocation.
pub(super) struct Invocation {
    pub(super) inner: Arc<Inner>,
    pub(super) by: Authorship,
    pub(super) guard: Guard,
    pub(super) options: query::Options,
    pub(super) message: InvokeQueryRequest,
}

/// Runs a stored query. Where it does not check against the schema of the commit that it is to run
/// on, and that schema is newer than the generation, the newest revision is waited for: an apply
/// moves the schema just before it publishes the queries that fit it.
pub(super) async fn invoke(
    invocation: Invocation,
    mut generation: Arc<Generation>,
) -> Result<BoxStream<InvokeQueryResponse>, WireError> {
    loop {
        let attempt = invocation.attempt(&generation).await;
        let refused = match attempt {
            Err(Refusal::DoesNotCheck { error, newer: true }) => *error,
            Err(Refusal::DoesNotCheck { error, .. } | Refusal::Final(error)) => return Err(*error),
            Ok(answer) => return Ok(answer),
        };
        let inner = &invocation.inner;
        let until = invocation.options.deadline.unwrap_or_else(Instant::now);
        let graph_id = &invocation.message.graph_id;
        let newer = inner.newer_generation(graph_id, &generation, until.into());
        match newer.await {
            Some(newer) => generation = newer,
            None => return Err(refused),
        }
    }
}

/// A name that is not there, or not for this caller: nobody can tell which.
pub(super) fn unknown() -> WireError {
    WireError::not_found("no such stored query")
        .with_hint("GET …/queries (gRPC: ListQueries) lists them")
}

/// Why an attempt did not answer.
enum Refusal {
    Final(Box<WireError>),
    /// The query does not fit the schema that it met, which may be newer than the generation.
    DoesNotCheck {
        error: Box<WireError>,
        newer: bool,
    },
}

impl From<WireError> for Refusal {
    fn from(error: WireError) -> Self {
        Refusal::Final(Box::new(error))
    }
}

impl Invocation {
    async fn attempt(
        &self,
        generation: &Generation,
    ) -> Result<BoxStream<InvokeQueryResponse>, Refusal> {
        let name = &self.message.name;
        let stored = generation.queries.get(name).ok_or_else(unknown)?;
        self.check_kind(stored)?;
        match stored.mutation {
            true => self.mutate(generation, stored).await,
            false => self.read(generation, stored).await,
        }
    }

    fn check_kind(&self, stored: &StoredQuery) -> Result<(), WireError> {
        let name = &stored.name;
        let pinned = self.message.target.as_ref().is_some_and(|target| {
            !matches!(target.target, None | Some(read_target::Target::Branch(_)))
        });
        let refuse = |message: String| Err(WireError::new(ErrorReason::InvalidRequest, message));
        match (stored.mutation, self.message.expect_mutation) {
            (true, Some(false)) => refuse(format!(
                "stored query '{name}' is a mutation: use 'mutate' to run it"
            )),
            (false, Some(true)) => refuse(format!(
                "stored query '{name}' is a read: use 'query' to run it"
            )),
            (true, _) if pinned => refuse(format!(
                "stored query '{name}' is a mutation: it takes a branch, not a snapshot"
            )),
            (false, _) if self.message.require_mutation => refuse(format!(
                "stored query '{name}' is a read: it takes no condition"
            )),
            _ => Ok(()),
        }
    }

    async fn read(
        &self,
        generation: &Generation,
        stored: &StoredQuery,
    ) -> Result<BoxStream<InvokeQueryResponse>, Refusal> {
        let message = &self.message;
        let (target, snapshot) = pin(
            generation,
            message.target.clone(),
            message.read_options.clone(),
            self.options.deadline,
        )
        .await?;
        let read = Call::new(Action::Read).on(asks::branch_of(&target, &snapshot).as_str());
        self.guard.check(&read)?;
        let query = check(generation, stored, &snapshot).await?;
        query::may_read(&self.guard, &query, &target, &snapshot)?;
        let reading = Reading {
            query,
            target,
            snapshot,
            params_json: message.params_json.clone(),
            max_rows: message.max_rows,
            about: About::Stored,
        };
        let answered = reading.run(generation, self.options).await?;
        let encoding = Encoding::plain(message.encoding(), message.int64_as_string);
        Ok(encode(answered, encoding, |frame| InvokeQueryResponse {
            frame: Some(match frame {
                Frame::Header(header) => invoke_query_response::Frame::Header(header),
                Frame::Arrow(bytes) => invoke_query_response::Frame::ArrowIpc(bytes),
                Frame::Rows(rows) => invoke_query_response::Frame::JsonRows(rows),
                Frame::Trailer(trailer) => invoke_query_response::Frame::Trailer(trailer),
            }),
        }))
    }

    async fn mutate(
        &self,
        generation: &Generation,
        stored: &StoredQuery,
    ) -> Result<BoxStream<InvokeQueryResponse>, Refusal> {
        let message = &self.message;
        let branch = match convert::target(message.target.clone())? {
            Target::Branch(branch) => branch,
            _ => return Err(WireError::internal().into()),
        };
        self.guard
            .check(&Call::new(Action::Change).on(branch.as_str()))?;
        let params = convert::params(&message.params_json)?;
        let left = self.options.deadline.map_or_else(
            || self.inner.options.write_timeout,
            |deadline| deadline.saturating_duration_since(Instant::now()),
        );
        let mut options =
            convert::write_options(message.write_options.clone(), self.by.clone(), left)?;
        // A repeat is one by its name and parameters, even if the query was edited in between.
        options.operation = Some(format!("query {}", stored.name));
        options.types = self.guard.type_gate(branch.as_str());
        let graph = &generation.graph;
        let name = Some(stored.name.as_str());
        let outcome = graph
            .mutate(&branch, &stored.source, name, &params, &options)
            .await;
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                // Only where the query itself is at fault a newer revision can help.
                let target = Target::Branch(branch);
                if let Ok(head) = graph.snapshot(&target, &ReadOptions::default()).await {
                    check(generation, stored, &head).await?;
                }
                return Err(wire(error, About::Stored).into());
            }
        };
        let actor = self.by.actor.as_ref().map(ToString::to_string);
        Ok(single(mutate::result(outcome, actor)))
    }
}

async fn check(
    generation: &Generation,
    stored: &StoredQuery,
    snapshot: &Snapshot,
) -> Result<Arc<CheckedQuery>, Refusal> {
    let compiled = generation
        .graph
        .compile(snapshot, &stored.source, Some(&stored.name))
        .await;
    compiled.map_err(|error| Refusal::DoesNotCheck {
        error: Box::new(wire(error, About::Stored)),
        newer: snapshot.commit().schema_commit > generation.schema_commit,
    })
}

fn single(result: MutationResult) -> BoxStream<InvokeQueryResponse> {
    let frame = InvokeQueryResponse {
        frame: Some(invoke_query_response::Frame::Mutation(result)),
    };
    Box::pin(stream::iter([Ok(frame)]))
}
