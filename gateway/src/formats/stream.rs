//! Streamed bodies. What fails after the status was sent must not look complete.

use std::io;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use omnigraph_proto::data::v1::ResultHeader;
use serde::Serialize;

use super::{Frame, Framed, Frames, target, text};
use crate::errors::ApiError;
use crate::shapes::{ErrorOutput, TargetOutput};

/// The first line.
#[derive(Serialize)]
struct Metadata<'a> {
    #[serde(rename = "$metadata")]
    metadata: MetadataFields<'a>,
}

#[derive(Serialize)]
struct MetadataFields<'a> {
    query_name: &'a str,
    target: TargetOutput,
    columns: &'a [String],
    graph_commit_id: &'a str,
}

/// The last line of a result that is not complete.
#[derive(Serialize)]
struct Failure {
    #[serde(rename = "$error")]
    error: ErrorOutput,
}

/// One control line, the rows, and a control line that says whether that was all.
pub(super) fn ndjson<M: Framed>(
    header: ResultHeader,
    frames: Frames<M>,
    request_id: String,
) -> Result<Body, ApiError> {
    let mut first = text(&Metadata {
        metadata: MetadataFields {
            query_name: &header.query_name,
            target: target(&header),
            columns: &header.columns,
            graph_commit_id: &header.graph_commit_id,
        },
    })?;
    first.push('\n');
    let lines = stream::unfold(Some(frames), move |state| {
        let request_id = request_id.clone();
        async move {
            let mut frames = state?;
            let (line, more) = match frames.next().await {
                Ok(Some(Frame::Rows(rows))) => (lines(&rows), true),
                Ok(Some(Frame::Trailer(trailer))) => {
                    let count = trailer.row_count;
                    (format!("{{\"$end\":{{\"row_count\":{count}}}}}\n"), false)
                }
                Ok(_) => (failure(&ApiError::broken_off(), &request_id), false),
                Err(error) => (failure(&error, &request_id), false),
            };
            let line = Ok::<_, io::Error>(Bytes::from(line));
            Some((line, more.then_some(frames)))
        }
    });
    let first = stream::iter([Ok(Bytes::from(first))]);
    Ok(Body::from_stream(futures::StreamExt::chain(first, lines)))
}

fn lines(rows: &[String]) -> String {
    let size = rows.iter().map(|row| row.len() + 1).sum();
    let mut lines = String::with_capacity(size);
    for row in rows {
        lines.push_str(row);
        lines.push('\n');
    }
    lines
}

fn failure(error: &ApiError, request_id: &str) -> String {
    let failure = Failure {
        error: error.output(request_id),
    };
    let mut line = serde_json::to_string(&failure).unwrap_or_default();
    line.push('\n');
    line
}

/// The replica's IPC stream. A failure aborts the body, so that it has no end-of-stream marker.
pub(super) fn arrow<M: Framed>(frames: Frames<M>) -> Body {
    let chunks = stream::unfold(Some(frames), |state| async move {
        let mut frames = state?;
        match frames.next().await {
            Ok(Some(Frame::Arrow(bytes))) => Some((Ok(bytes), Some(frames))),
            Ok(Some(Frame::Trailer(_))) => None,
            Ok(_) => Some((Err(aborted(&ApiError::broken_off())), None)),
            Err(error) => Some((Err(aborted(&error)), None)),
        }
    });
    Body::from_stream(chunks)
}

/// The error that makes the server drop the connection in the middle of a body.
pub(crate) fn aborted(error: &ApiError) -> io::Error {
    io::Error::other(error.wire().clone())
}
