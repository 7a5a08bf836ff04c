//! Exports: one pinned commit as load records.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use omnigraph_engine::{Error, ReadOptions};
use omnigraph_policy::{Action, Call};
use omnigraph_proto::common::v1::error_detail::Detail;
use omnigraph_proto::common::v1::{ErrorReason, ResourceLimit};
use omnigraph_proto::data::v1::{ExportRequest, ExportResponse, export_response::Frame};
use omnigraph_proto::error::WireError;
use tokio::sync::{OwnedSemaphorePermit, TryAcquireError};
use tonic::codegen::BoxStream;

use super::asks;
use super::convert;
use super::errors::{About, wire};
use crate::authorize::Guard;
use crate::generation::Generation;

pub(super) async fn export(
    generation: &Generation,
    message: ExportRequest,
    permit: Result<OwnedSemaphorePermit, TryAcquireError>,
    guard: &Guard,
) -> Result<BoxStream<ExportResponse>, WireError> {
    let permit = permit.map_err(|_| too_many())?;
    let target = convert::target(message.target)?;
    let graph = &generation.graph;
    let snapshot = graph
        .snapshot(&target, &ReadOptions::default())
        .await
        .map_err(|error| wire(error, About::Source))?;
    asks::pinned(guard, Action::Export, &target, &snapshot)?;
    let copy = Call::new(Action::Export).on(asks::branch_of(&target, &snapshot).as_str());
    asks::types(guard, copy, &message.type_names, &snapshot)?;
    let chunks = graph
        .export(&snapshot, &message.type_names)
        .await
        .map_err(|error| wire(error, About::Source))?;
    let first = frame(Frame::GraphCommitId(snapshot.commit_id().to_string()));
    let rest = Rest {
        chunks: Box::pin(chunks),
        records: 0,
        _permit: permit,
    };
    let rest = stream::try_unfold(Some(rest), |rest| async move {
        match rest {
            None => Ok(None),
            Some(rest) => rest.next().await.map(Some),
        }
    });
    Ok(Box::pin(stream::iter([Ok(first)]).chain(rest)))
}

/// What is still to be sent, and the right to send it.
struct Rest {
    chunks: Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>,
    records: u64,
    _permit: OwnedSemaphorePermit,
}

impl Rest {
    async fn next(mut self) -> Result<(ExportResponse, Option<Rest>), tonic::Status> {
        match self.chunks.next().await {
            Some(Ok(chunk)) => {
                let lines = chunk.iter().filter(|byte| **byte == b'\n').count();
                self.records += lines as u64;
                Ok((frame(Frame::Ndjson(chunk)), Some(self)))
            }
            Some(Err(error)) => Err(wire(error, About::Source).into()),
            None => Ok((frame(Frame::RecordCount(self.records)), None)),
        }
    }
}

fn frame(frame: Frame) -> ExportResponse {
    ExportResponse { frame: Some(frame) }
}

pub(super) fn too_many() -> WireError {
    const MAX: u64 = 16;
    let limit = ResourceLimit {
        resource: "stream_export_transport_bytes".to_owned(),
        limit: MAX,
        actual: MAX + 1,
    };
    WireError::new(
        ErrorReason::ResourceLimit,
        format!("{MAX} exports are running on this replica"),
    )
    .with_detail(Detail::ResourceLimit(limit))
    .with_retry_after(Duration::from_secs(1))
}
