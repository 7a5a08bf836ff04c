//! Results of reads: one JSON object, NDJSON, or an Arrow stream. Rows are passed through as the
//! replica wrote them.

mod frames;
mod negotiate;
mod stream;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use omnigraph_proto::common::v1::ErrorReason;
use omnigraph_proto::common::v1::read_target::Target;
use omnigraph_proto::data::v1::{ResultEncoding, ResultHeader};
use omnigraph_proto::error::WireError;
use serde::Serialize;

pub(crate) use frames::{Frame, Framed, Frames};
pub(crate) use negotiate::negotiate;
pub(crate) use stream::aborted;

use crate::answer::Answer;
use crate::errors::ApiError;
use crate::shapes::TargetOutput;

/// How a result is written. The order is that of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// One object, buffered, because `row_count` precedes `rows`.
    Json,
    /// One row per line, between control lines.
    Ndjson,
    /// An Arrow IPC stream.
    Arrow,
}

impl Format {
    /// What the replica is asked for.
    pub(crate) fn encoding(self) -> ResultEncoding {
        match self {
            Format::Json | Format::Ndjson => ResultEncoding::JsonRows,
            Format::Arrow => ResultEncoding::ArrowIpc,
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Ndjson => "application/x-ndjson",
            Format::Arrow => "application/vnd.apache.arrow.stream",
        }
    }

    /// The answer to a read whose header frame has arrived.
    pub(crate) async fn respond<M: Framed>(
        self,
        header: ResultHeader,
        frames: Frames<M>,
        request_id: String,
        json_max: u64,
    ) -> Result<Response, ApiError> {
        let answer = Answer::new(frames.metadata()).commit(&header.graph_commit_id);
        let body = match self {
            Format::Json => Body::from(json(&header, frames, json_max).await?),
            Format::Ndjson => stream::ndjson(header, frames, request_id)?,
            Format::Arrow => stream::arrow(frames),
        };
        Ok(answer.body(self.content_type(), body))
    }
}

/// What stands before the rows, in the order of the contract.
#[derive(Serialize)]
struct Head<'a> {
    query_name: &'a str,
    target: TargetOutput,
    row_count: u64,
    columns: &'a [String],
}

async fn json<M: Framed>(
    header: &ResultHeader,
    mut frames: Frames<M>,
    max: u64,
) -> Result<Bytes, ApiError> {
    let mut rows = String::new();
    let row_count = loop {
        match frames.next().await? {
            Some(Frame::Rows(batch)) => {
                for row in batch {
                    if !rows.is_empty() {
                        rows.push(',');
                    }
                    rows.push_str(&row);
                }
                check_size(rows.len() as u64, max)?;
            }
            Some(Frame::Trailer(trailer)) => break trailer.row_count,
            _ => return Err(ApiError::broken_off()),
        }
    };
    let head = Head {
        query_name: &header.query_name,
        target: target(header),
        row_count,
        columns: &header.columns,
    };
    let head = text(&head)?;
    let commit = text(&header.graph_commit_id)?;
    let open = head.strip_suffix('}').unwrap_or(&head);
    Ok(format!(r#"{open},"rows":[{rows}],"graph_commit_id":{commit}}}"#).into())
}

fn check_size(actual: u64, max: u64) -> Result<(), ApiError> {
    if actual <= max {
        return Ok(());
    }
    Err(WireError::resource_limit("result_json_bytes", max, actual)
        .with_hint("ask for a streamed format: 'Accept: application/x-ndjson'")
        .into())
}

fn target(header: &ResultHeader) -> TargetOutput {
    let target = header.target.as_ref().and_then(|t| t.target.as_ref());
    match target {
        None => TargetOutput::default(),
        Some(Target::Branch(branch)) => TargetOutput {
            branch: Some(branch.clone()),
            snapshot: None,
        },
        Some(Target::CommitId(id)) => TargetOutput {
            branch: None,
            snapshot: Some(id.clone()),
        },
        // Replicas name the commit that these have meant.
        Some(Target::Tag(_) | Target::AsOf(_) | Target::Name(_)) => TargetOutput::default(),
    }
}

fn text<T: Serialize + ?Sized>(value: &T) -> Result<String, ApiError> {
    serde_json::to_string(value).map_err(|error| {
        tracing::error!(%error, "a result could not be written as json");
        WireError::new(ErrorReason::Internal, "").into()
    })
}
