//! Answers: headers that come from the replica's metadata, and JSON bodies.

use axum::body::Body;
use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use tonic::metadata::MetadataMap;

use crate::errors::ApiError;
use omnigraph_proto::error::WireError;

pub(crate) const GRAPH_COMMIT: HeaderName = HeaderName::from_static("omnigraph-graph-commit");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Response metadata of a replica that becomes response headers.
const PASSED: [&str; 2] = ["omnigraph-actor", "omnigraph-graph-status"];

/// Picks the metadata that clients of HTTP see.
pub(crate) fn passed_headers(metadata: &MetadataMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in PASSED {
        if let Some(value) = metadata.get(name) {
            let value = HeaderValue::from_bytes(value.as_encoded_bytes());
            if let Ok(value) = value {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }
    headers
}

/// An answer under construction.
pub(crate) struct Answer {
    headers: HeaderMap,
    status: StatusCode,
}

impl Answer {
    pub(crate) fn new(metadata: &MetadataMap) -> Self {
        Answer {
            headers: passed_headers(metadata),
            status: StatusCode::OK,
        }
    }

    /// Names the commit that was read or written; an empty id names none.
    pub(crate) fn commit(mut self, id: &str) -> Self {
        if let Some(value) = HeaderValue::from_str(id).ok().filter(|_| !id.is_empty()) {
            self.headers.insert(GRAPH_COMMIT, value);
        }
        self
    }

    /// Says that a stored answer is repeated.
    pub(crate) fn replayed(mut self, replayed: bool) -> Self {
        if replayed {
            let value = HeaderValue::from_static("true");
            self.headers.insert(REPLAYED, value);
        }
        self
    }

    /// The answer without a body.
    pub(crate) fn empty(self, status: StatusCode) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        *response.headers_mut() = self.headers;
        response
    }

    /// The answer with a body.
    pub(crate) fn body(self, content_type: &'static str, body: impl Into<Body>) -> Response {
        let mut response = Response::new(body.into());
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        let value = HeaderValue::from_static(content_type);
        response.headers_mut().insert(CONTENT_TYPE, value);
        response
    }

    /// The answer with a JSON body.
    pub(crate) fn json<T: Serialize>(self, body: &T) -> Result<Response, ApiError> {
        let text = serde_json::to_string(body).map_err(|error| {
            tracing::error!(%error, "an answer could not be written as json");
            WireError::internal()
        })?;
        Ok(self.body("application/json", text))
    }
}
