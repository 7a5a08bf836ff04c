//! Blob cells: what one holds, and its content by range.

use std::ops::Range;
use std::time::Instant;

use futures::{StreamExt as _, stream};
use omnigraph_engine::{BlobContent, BlobInfo, BlobSelector, ByteRange};
use omnigraph_policy::{Action, Call};
use omnigraph_proto::common::v1 as common;
use omnigraph_proto::common::v1::error_detail::Detail;
use omnigraph_proto::common::v1::{EntityKind, ErrorReason, ReadTarget};
use omnigraph_proto::data::v1 as pb;
use omnigraph_proto::data::v1::get_blob_response::Frame;
use omnigraph_proto::data::v1::{GetBlobRequest, GetBlobResponse};
use omnigraph_proto::data::v1::{StatBlobRequest, StatBlobResponse};
use omnigraph_proto::error::WireError;
use tonic::codegen::BoxStream;

use super::asks;
use super::convert;
use super::errors::{About, wire};
use crate::authorize::Guard;
use crate::generation::Generation;

/// A cell at one commit.
struct Cell {
    descriptor: pb::BlobDescriptor,
    content: Option<(BlobContent, String)>,
}

pub(super) async fn stat(
    generation: &Generation,
    message: StatBlobRequest,
    deadline: Option<Instant>,
    guard: &Guard,
) -> Result<StatBlobResponse, WireError> {
    let place = (message.target, message.options);
    let cell = cell(generation, message.selector, place, deadline, guard).await?;
    Ok(StatBlobResponse {
        descriptor: Some(cell.descriptor),
    })
}

pub(super) async fn get(
    generation: &Generation,
    message: GetBlobRequest,
    deadline: Option<Instant>,
    guard: &Guard,
) -> Result<BoxStream<GetBlobResponse>, WireError> {
    let wanted = range_of(message.range)?;
    let place = (message.target, message.options);
    let cell = cell(generation, message.selector, place, deadline, guard).await?;
    let Some((content, etag)) = cell.content else {
        let header = frame(Frame::Header(pb::BlobHeader {
            descriptor: Some(cell.descriptor),
            start: 0,
            end: 0,
            partial: false,
        }));
        return Ok(Box::pin(stream::iter([Ok(header)])));
    };
    let unchanged = message.if_range_etag.is_empty() || message.if_range_etag == etag;
    let size = content.size();
    let range = match wanted.filter(|_| unchanged) {
        None => 0..size,
        Some(wanted) => wanted.of(size).ok_or_else(|| unsatisfiable(wanted, size))?,
    };
    let header = frame(Frame::Header(pb::BlobHeader {
        descriptor: Some(cell.descriptor),
        start: range.start,
        end: range.end,
        partial: wanted.is_some() && unchanged,
    }));
    Ok(Box::pin(
        stream::iter([Ok(header)]).chain(chunks(&content, range)),
    ))
}

fn chunks(
    content: &BlobContent,
    range: Range<u64>,
) -> impl futures::Stream<Item = Result<GetBlobResponse, tonic::Status>> + Send + use<> {
    content.read(range).map(|piece| match piece {
        Ok(bytes) => Ok(frame(Frame::Chunk(bytes))),
        Err(error) => Err(wire(error, About::Source).into()),
    })
}

async fn cell(
    generation: &Generation,
    selector: Option<pb::BlobSelector>,
    place: (Option<ReadTarget>, Option<common::ReadOptions>),
    deadline: Option<Instant>,
    guard: &Guard,
) -> Result<Cell, WireError> {
    let selector = selector_of(selector)?;
    let target = convert::target(place.0)?;
    let options = convert::read_options(place.1, deadline)?;
    let graph = &generation.graph;
    let refused = |error| wire(error, About::Source);
    let snapshot = graph.snapshot(&target, &options).await.map_err(refused)?;
    let read = Call::new(Action::Read).on(asks::branch_of(&target, &snapshot).as_str());
    asks::pinned(guard, Action::Read, &target, &snapshot)?;
    guard.check_types(read, [selector.type_name.as_str()])?;
    let opened = graph.open_blob(&snapshot, &selector).await;
    let (info, content) = opened.map_err(refused)?;
    use pb::blob_descriptor::Content;
    let (described, etag) = match info {
        BlobInfo::Managed { size, etag } => (
            Content::Managed(pb::ManagedBlob {
                size,
                etag: etag.clone(),
            }),
            etag,
        ),
        BlobInfo::External { uri } => (Content::ExternalUri(uri), String::new()),
    };
    Ok(Cell {
        descriptor: pb::BlobDescriptor {
            content: Some(described),
            resolved_commit_id: snapshot.commit_id().to_string(),
        },
        content: content.map(|content| (content, etag)),
    })
}

fn selector_of(selector: Option<pb::BlobSelector>) -> Result<BlobSelector, WireError> {
    let selector = selector
        .ok_or_else(|| WireError::invalid_request("the selector of the blob is missing"))?;
    let edge = match selector.kind() {
        EntityKind::Node => false,
        EntityKind::Edge => true,
        EntityKind::Unspecified => {
            return Err(WireError::invalid_request(
                "the selector does not say whether it is about a node or an edge",
            ));
        }
    };
    for (part, value) in [
        ("type", &selector.type_name),
        ("id", &selector.id),
        ("property", &selector.property),
    ] {
        if value.is_empty() {
            return Err(WireError::invalid_request(format!(
                "the selector names no {part}"
            )));
        }
    }
    Ok(BlobSelector {
        edge,
        type_name: selector.type_name,
        id: selector.id,
        property: selector.property,
    })
}

fn range_of(range: Option<pb::ByteRange>) -> Result<Option<ByteRange>, WireError> {
    use pb::byte_range::Range as Wire;
    let Some(range) = range.and_then(|range| range.range) else {
        return Ok(None);
    };
    Ok(Some(match range {
        Wire::Suffix(last) => ByteRange::Suffix(last),
        Wire::Span(span) if span.end.is_some_and(|end| end <= span.start) => {
            return Err(WireError::invalid_request(
                "the range ends before it begins",
            ));
        }
        Wire::Span(span) => ByteRange::Span(span.start, span.end),
    }))
}

fn unsatisfiable(wanted: ByteRange, length: u64) -> WireError {
    let (start, end) = match wanted {
        ByteRange::Span(start, end) => (start, end.unwrap_or(start.max(length))),
        ByteRange::Suffix(last) => (length.saturating_sub(last), length),
    };
    WireError::new(
        ErrorReason::BlobRange,
        format!("the blob has {length} bytes, and none in the range that was asked for"),
    )
    .with_detail(Detail::BlobRange(common::BlobRange { start, end, length }))
}

fn frame(frame: Frame) -> GetBlobResponse {
    GetBlobResponse { frame: Some(frame) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_mean_nothing_say_what_was_asked() {
        let cases = [
            (ByteRange::Span(10, None), 10, (10, 10)),
            (ByteRange::Span(12, Some(20)), 10, (12, 20)),
            (ByteRange::Suffix(0), 10, (10, 10)),
            (ByteRange::Suffix(5), 0, (0, 0)),
            (ByteRange::Span(0, None), 0, (0, 0)),
        ];
        for (wanted, length, (start, end)) in cases {
            assert_eq!(wanted.of(length), None, "{wanted:?}");
            let error = unsatisfiable(wanted, length);
            assert_eq!(error.http_status(), 416);
            let expected = common::BlobRange { start, end, length };
            assert_eq!(error.detail.as_deref(), Some(&Detail::BlobRange(expected)));
        }
    }

    #[test]
    fn a_selector_names_everything() {
        let whole = pb::BlobSelector {
            kind: EntityKind::Node.into(),
            type_name: "Doc".to_owned(),
            id: "a".to_owned(),
            property: "body".to_owned(),
        };
        assert!(selector_of(Some(whole.clone())).is_ok());
        assert!(selector_of(None).is_err());
        let mut parts = vec![whole.clone(), whole.clone(), whole.clone(), whole];
        parts[0].kind = 0;
        parts[1].type_name.clear();
        parts[2].id.clear();
        parts[3].property.clear();
        for part in parts {
            assert!(selector_of(Some(part)).is_err());
        }
    }
}
