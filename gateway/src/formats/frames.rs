//! The frames of a result, whichever RPC they come from.

use bytes::Bytes;
use omnigraph_proto::data::v1::{
    InvokeQueryResponse, MutationResult, QueryResponse, ResultHeader, ResultTrailer,
    invoke_query_response, query_response,
};
use tonic::Streaming;
use tonic::metadata::MetadataMap;

use crate::errors::ApiError;

/// One frame.
pub(crate) enum Frame {
    Header(ResultHeader),
    Arrow(Bytes),
    Rows(Vec<String>),
    Trailer(ResultTrailer),
    Mutation(Box<MutationResult>),
}

/// A message that carries one frame.
pub(crate) trait Framed: Send + 'static {
    fn frame(self) -> Option<Frame>;
}

impl Framed for QueryResponse {
    fn frame(self) -> Option<Frame> {
        use query_response::Frame as F;
        Some(match self.frame? {
            F::Header(header) => Frame::Header(header),
            F::ArrowIpc(bytes) => Frame::Arrow(bytes),
            F::JsonRows(rows) => Frame::Rows(rows.rows),
            F::Trailer(trailer) => Frame::Trailer(trailer),
        })
    }
}

impl Framed for InvokeQueryResponse {
    fn frame(self) -> Option<Frame> {
        use invoke_query_response::Frame as F;
        Some(match self.frame? {
            F::Header(header) => Frame::Header(header),
            F::ArrowIpc(bytes) => Frame::Arrow(bytes),
            F::JsonRows(rows) => Frame::Rows(rows.rows),
            F::Trailer(trailer) => Frame::Trailer(trailer),
            F::Mutation(result) => Frame::Mutation(Box::new(result)),
        })
    }
}

/// A result as it arrives.
pub(crate) struct Frames<M> {
    metadata: MetadataMap,
    messages: Streaming<M>,
}

impl<M: Framed> Frames<M> {
    pub(crate) fn new(answer: tonic::Response<Streaming<M>>) -> Self {
        let (metadata, messages, _) = answer.into_parts();
        Frames { metadata, messages }
    }

    /// What the replica said before the first frame.
    pub(crate) fn metadata(&self) -> &MetadataMap {
        &self.metadata
    }

    /// The next frame; `None` at the end. Frames that this version does not know are skipped.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>, ApiError> {
        while let Some(message) = self.messages.message().await? {
            if let Some(frame) = message.frame() {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }
}
