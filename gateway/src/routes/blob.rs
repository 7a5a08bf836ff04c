//! Blob cells: the whole, a range of it, or what it is (RFC 9110, sections 13 and 14).

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use futures::stream;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LOCATION,
};
use http::{HeaderName, HeaderValue, StatusCode};
use omnigraph_proto::common::v1::error_detail::Detail;
use omnigraph_proto::common::v1::{EntityKind, ErrorReason, ReadOptions, ReadTarget, read_target};
use omnigraph_proto::data::v1::blob_descriptor::Content;
use omnigraph_proto::data::v1::get_blob_response::Frame;
use omnigraph_proto::data::v1::{
    BlobDescriptor, BlobHeader, BlobSelector, GetBlobRequest, GetBlobResponse, ManagedBlob,
    StatBlobRequest,
};
use omnigraph_proto::error::WireError;
use tonic::Streaming;
use tonic::metadata::MetadataMap;

use crate::answer::Answer;
use crate::errors::ApiError;
use crate::extract::{Budget, GraphCall, QueryParams};
use crate::formats::aborted;

mod conditions;

use conditions::{Conditions, Range};

const SNAPSHOT: HeaderName = HeaderName::from_static("omnigraph-snapshot-id");

/// Which cell, and of which commit.
struct Wanted {
    selector: BlobSelector,
    target: ReadTarget,
    options: ReadOptions,
}

pub(crate) async fn get(graph: GraphCall, params: QueryParams) -> Result<Response, ApiError> {
    let mut wanted = Wanted::of(&graph, &params)?;
    let conditions = Conditions::of(graph.headers());
    if conditions.any() {
        // They come before the range, which the replica would look at first.
        let (metadata, descriptor) = stat(&graph, &wanted).await?;
        if let Some(answer) = unconditional(&conditions, &metadata, &descriptor)? {
            return Ok(answer);
        }
        let commit = descriptor.resolved_commit_id.clone();
        wanted.target.target = Some(read_target::Target::CommitId(commit));
        wanted.options = ReadOptions::default();
    }
    let message = GetBlobRequest {
        graph_id: graph.graph_id.clone(),
        selector: Some(wanted.selector),
        target: Some(wanted.target),
        range: conditions.range.map(Range::wire),
        if_range_etag: conditions.if_range.unwrap_or_default(),
        options: Some(wanted.options),
    };
    let request = graph.request(message, Budget::Unbounded);
    let mut graphs = graph.graphs();
    let answer = match graph.wait(Budget::Read, graphs.get_blob(request)).await {
        Ok(answer) => answer,
        Err(error) => return Err(error).or_else(unsatisfiable),
    };
    let (metadata, mut frames, _) = answer.into_parts();
    let first = graph.wait(Budget::Read, frames.message()).await?;
    let Some(Frame::Header(header)) = first.and_then(|first| first.frame) else {
        return Err(ApiError::broken_off());
    };
    let descriptor = header.descriptor.clone().unwrap_or_default();
    match &descriptor.content {
        Some(Content::ExternalUri(uri)) => redirect(&metadata, &descriptor, uri),
        Some(Content::Managed(blob)) => {
            let left = header.end.saturating_sub(header.start);
            let body = payload(frames, left);
            partial_or_whole(&metadata, &descriptor, blob, &header, body)
        }
        None => Err(ApiError::broken_off()),
    }
}

/// Everything but the payload, which is not read.
pub(crate) async fn head(graph: GraphCall, params: QueryParams) -> Result<Response, ApiError> {
    let wanted = Wanted::of(&graph, &params)?;
    let conditions = Conditions::of(graph.headers());
    let (metadata, descriptor) = stat(&graph, &wanted).await?;
    if let Some(answer) = unconditional(&conditions, &metadata, &descriptor)? {
        return Ok(answer);
    }
    match &descriptor.content {
        Some(Content::ExternalUri(uri)) => redirect(&metadata, &descriptor, uri),
        Some(Content::Managed(blob)) => {
            let header = BlobHeader {
                end: blob.size,
                ..BlobHeader::default()
            };
            partial_or_whole(&metadata, &descriptor, blob, &header, Body::empty())
        }
        None => Err(ApiError::broken_off()),
    }
}

impl Wanted {
    fn of(graph: &GraphCall, params: &QueryParams) -> Result<Self, ApiError> {
        let kind = match params.one("entity")? {
            Some("node") => EntityKind::Node,
            Some("edge") => EntityKind::Edge,
            _ => {
                return Err(ApiError::bad_request(
                    "query parameter 'entity' must be 'node' or 'edge'",
                ));
            }
        };
        let named = |name: &str| match params.one(name)? {
            Some(value) if !value.is_empty() => Ok(value.to_owned()),
            _ => Err(ApiError::bad_request(format!(
                "query parameter '{name}' is missing"
            ))),
        };
        let selector = BlobSelector {
            kind: kind.into(),
            type_name: named("type")?,
            id: named("id")?,
            property: named("property")?,
        };
        let chosen = params.selector()?;
        let options = graph.read_options(chosen.is_pinned())?;
        Ok(Wanted {
            selector,
            target: chosen.target()?,
            options,
        })
    }
}

async fn stat(
    graph: &GraphCall,
    wanted: &Wanted,
) -> Result<(MetadataMap, BlobDescriptor), ApiError> {
    let message = StatBlobRequest {
        graph_id: graph.graph_id.clone(),
        selector: Some(wanted.selector.clone()),
        target: Some(wanted.target.clone()),
        options: Some(wanted.options.clone()),
    };
    let request = graph.request(message, Budget::Read);
    let mut graphs = graph.graphs();
    let answer = graph.wait(Budget::Read, graphs.stat_blob(request)).await?;
    let (metadata, stat, _) = answer.into_parts();
    let descriptor = stat.descriptor.ok_or_else(ApiError::broken_off)?;
    Ok((metadata, descriptor))
}

/// The answer that the conditions give instead of the blob. External objects have no tag, so
/// nothing can be said of them.
fn unconditional(
    conditions: &Conditions,
    metadata: &MetadataMap,
    descriptor: &BlobDescriptor,
) -> Result<Option<Response>, ApiError> {
    let Some(Content::Managed(blob)) = &descriptor.content else {
        return Ok(None);
    };
    if !conditions.matches(&blob.etag) {
        let error = ApiError::blob_changed("the blob's tag is not one of If-Match");
        let mut response = error.into_response();
        tag(&mut response, &blob.etag)?;
        name_snapshot(&mut response, descriptor)?;
        return Ok(Some(response));
    }
    if conditions.is_known(&blob.etag) {
        let mut response = bare(metadata, descriptor, StatusCode::NOT_MODIFIED)?;
        tag(&mut response, &blob.etag)?;
        length(&mut response, blob.size);
        return Ok(Some(response));
    }
    Ok(None)
}

fn partial_or_whole(
    metadata: &MetadataMap,
    descriptor: &BlobDescriptor,
    blob: &ManagedBlob,
    header: &BlobHeader,
    body: Body,
) -> Result<Response, ApiError> {
    let status = match header.partial {
        true => StatusCode::PARTIAL_CONTENT,
        false => StatusCode::OK,
    };
    let mut response = bare(metadata, descriptor, status)?;
    *response.body_mut() = body;
    tag(&mut response, &blob.etag)?;
    length(&mut response, header.end.saturating_sub(header.start));
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if header.partial {
        let (first, last) = (header.start, header.end.saturating_sub(1));
        let value = format!("bytes {first}-{last}/{}", blob.size);
        headers.insert(CONTENT_RANGE, text(&value)?);
    }
    Ok(response)
}

/// Where an external object is. It is never opened, signed or passed through.
fn redirect(
    metadata: &MetadataMap,
    descriptor: &BlobDescriptor,
    uri: &str,
) -> Result<Response, ApiError> {
    let mut response = bare(metadata, descriptor, StatusCode::FOUND)?;
    let headers = response.headers_mut();
    headers.insert(LOCATION, text(uri)?);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// A refused range also says in a header how long the blob is.
fn unsatisfiable(error: ApiError) -> Result<Response, ApiError> {
    let Some(Detail::BlobRange(range)) = error.wire().detail.as_deref() else {
        return Err(error);
    };
    let value = text(&format!("bytes */{}", range.length))?;
    let mut response = error.into_response();
    response.headers_mut().insert(CONTENT_RANGE, value);
    Ok(response)
}

fn bare(
    metadata: &MetadataMap,
    descriptor: &BlobDescriptor,
    status: StatusCode,
) -> Result<Response, ApiError> {
    let answer = Answer::new(metadata).commit(&descriptor.resolved_commit_id);
    let mut response = answer.empty(status);
    name_snapshot(&mut response, descriptor)?;
    Ok(response)
}

fn name_snapshot(response: &mut Response, descriptor: &BlobDescriptor) -> Result<(), ApiError> {
    let value = text(&descriptor.resolved_commit_id)?;
    response.headers_mut().insert(SNAPSHOT, value);
    Ok(())
}

fn tag(response: &mut Response, etag: &str) -> Result<(), ApiError> {
    let value = text(&format!("\"{etag}\""))?;
    response.headers_mut().insert(ETAG, value);
    Ok(())
}

fn length(response: &mut Response, bytes: u64) {
    let value = HeaderValue::from(bytes);
    response.headers_mut().insert(CONTENT_LENGTH, value);
}

fn text(value: &str) -> Result<HeaderValue, ApiError> {
    HeaderValue::from_str(value).map_err(|_| WireError::internal().into())
}

/// The payload, of which so many bytes are promised. Fewer abort the body.
fn payload(frames: Streaming<GetBlobResponse>, left: u64) -> Body {
    let chunks = stream::unfold(Some((frames, left)), |state| async move {
        let (mut frames, left) = state?;
        let frame = match frames.message().await {
            Ok(message) => message.and_then(|message| message.frame),
            Err(status) => return Some((Err(aborted(&status.into())), None)),
        };
        match frame {
            Some(Frame::Chunk(bytes)) if bytes.len() as u64 <= left => {
                let left = left - bytes.len() as u64;
                Some((Ok(bytes), Some((frames, left))))
            }
            None if left == 0 => None,
            _ => Some((Err(aborted(&ApiError::broken_off())), None)),
        }
    });
    Body::from_stream(chunks)
}

/// A blob that is another one now.
impl ApiError {
    fn blob_changed(message: &str) -> Self {
        let error = WireError::new(ErrorReason::PreconditionFailed, message)
            .with_hint("read it again and decide");
        ApiError::from(error).with_code(StatusCode::PRECONDITION_FAILED, "conflict")
    }
}
