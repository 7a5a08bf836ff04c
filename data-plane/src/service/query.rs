//! Reads: one pinned commit, checked against its schema, answered in frames.

mod frames;

use std::sync::Arc;
use std::time::Instant;

use omnigraph_engine::{QueryLimits, QueryResult, Snapshot, Target};
use omnigraph_lang::query::CheckedQuery;
use omnigraph_policy::{Action, Call};
use omnigraph_proto::common::v1::{ErrorReason, ReadOptions, ReadTarget};
use omnigraph_proto::data::v1::{QueryRequest, QueryResponse, ResultEncoding, query_response};
use omnigraph_proto::error::WireError;
use tonic::codegen::BoxStream;

use super::asks;
use super::convert;
use super::errors::{About, wire};
use crate::authorize::Guard;
use crate::generation::{Generation, is_mutation};

pub(super) use frames::{Encoding, Frame, encode};

/// Bounds of a read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) deadline: Option<Instant>,
    pub(super) memory_bytes: u64,
}

/// A read that has run.
pub(super) struct Answered {
    pub(super) query: Arc<CheckedQuery>,
    pub(super) target: Target,
    pub(super) snapshot: Snapshot,
    pub(super) result: QueryResult,
}

pub(super) async fn query(
    generation: &Generation,
    message: QueryRequest,
    options: Options,
    guard: &Guard,
) -> Result<BoxStream<QueryResponse>, WireError> {
    let encoding = Encoding::of(
        message.encoding(),
        message.int64_as_string,
        message.batch_rows,
    );
    let (target, snapshot) = pin(
        generation,
        message.target,
        message.options,
        options.deadline,
    )
    .await?;
    asks::pinned(guard, Action::Read, &target, &snapshot)?;
    let name = convert::present(message.name);
    let query = generation
        .graph
        .compile(&snapshot, &message.query, name.as_deref())
        .await
        .map_err(|error| wire(error, About::Source))?;
    if is_mutation(&query) {
        return Err(WireError::new(
            ErrorReason::InvalidRequest,
            format!("query '{}' is a mutation", query.name),
        )
        .with_hint("send it to POST /mutate (gRPC: Mutate)"));
    }
    may_read(guard, &query, &target, &snapshot)?;
    let reading = Reading {
        query,
        target,
        snapshot,
        params_json: message.params_json,
        max_rows: message.max_rows,
        about: About::Source,
    };
    let answered = reading.run(generation, options).await?;
    Ok(encode(answered, encoding, |frame| QueryResponse {
        frame: Some(match frame {
            Frame::Header(header) => query_response::Frame::Header(header),
            Frame::Arrow(bytes) => query_response::Frame::ArrowIpc(bytes),
            Frame::Rows(rows) => query_response::Frame::JsonRows(rows),
            Frame::Trailer(trailer) => query_response::Frame::Trailer(trailer),
        }),
    }))
}

/// Decides about every type that the query may look at.
pub(super) fn may_read(
    guard: &Guard,
    query: &CheckedQuery,
    target: &Target,
    snapshot: &Snapshot,
) -> Result<(), WireError> {
    let branch = asks::branch_of(target, snapshot).as_str();
    let types = query.operation.reads.iter();
    let types = types.map(|read| read.type_name.as_str());
    guard.check_types(Call::new(Action::Read).on(branch), types)
}

/// The commit that the whole request sees.
pub(super) async fn pin(
    generation: &Generation,
    target: Option<ReadTarget>,
    options: Option<ReadOptions>,
    deadline: Option<Instant>,
) -> Result<(Target, Snapshot), WireError> {
    let target = convert::target(target)?;
    let options = convert::read_options(options, deadline)?;
    let snapshot = generation
        .graph
        .snapshot(&target, &options)
        .await
        .map_err(|error| wire(error, About::Source))?;
    Ok((target, snapshot))
}

/// A checked read.
pub(super) struct Reading {
    pub(super) query: Arc<CheckedQuery>,
    pub(super) target: Target,
    pub(super) snapshot: Snapshot,
    pub(super) params_json: String,
    /// 0: no limit.
    pub(super) max_rows: u64,
    pub(super) about: About,
}

impl Reading {
    pub(super) async fn run(
        self,
        generation: &Generation,
        options: Options,
    ) -> Result<Answered, WireError> {
        let params = convert::params(&self.params_json)?;
        // `@timeout` lowers the budget and never raises it.
        let own = self
            .query
            .timeout
            .and_then(|t| Instant::now().checked_add(t));
        let limits = QueryLimits {
            deadline: match (own, options.deadline) {
                (Some(own), Some(asked)) => Some(own.min(asked)),
                (own, asked) => own.or(asked),
            },
            max_rows: Some(self.max_rows).filter(|rows| *rows > 0),
            memory_bytes: options.memory_bytes,
        };
        let result = generation
            .graph
            .query(&self.snapshot, &self.query, &params, &limits)
            .await
            .map_err(|error| wire(error, self.about))?;
        Ok(Answered {
            query: self.query,
            target: self.target,
            snapshot: self.snapshot,
            result,
        })
    }
}

impl Encoding {
    fn of(encoding: ResultEncoding, int64_as_string: bool, batch_rows: u32) -> Self {
        match encoding {
            ResultEncoding::JsonRows => Encoding::Json { int64_as_string },
            ResultEncoding::ArrowIpc | ResultEncoding::Unspecified => Encoding::Arrow {
                batch_rows: batch_rows as usize,
            },
        }
    }

    /// The encoding of a request without a say about batches.
    pub(super) fn plain(encoding: ResultEncoding, int64_as_string: bool) -> Self {
        Self::of(encoding, int64_as_string, 0)
    }
}
