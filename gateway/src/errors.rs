//! What a handler refuses with. The body is written in one place, when the request id is known.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use omnigraph_proto::common::v1::ErrorReason;
use omnigraph_proto::error::{ErrorOutput, WireError};
use tonic::Code;

use crate::answer::passed_headers;

/// A refusal on its way out.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    error: Box<WireError>,
    /// Where HTTP has an error of its own.
    own: Option<(StatusCode, &'static str)>,
    /// What the replica said beside the error: the actor, the graph's state.
    headers: Box<HeaderMap>,
    /// The request was refused before a replica saw its credential.
    undecoded: bool,
}

impl ApiError {
    /// A request that was refused before a replica looked at the credential, which has to be done
    /// before the answer is given: 401 comes first.
    pub(crate) fn undecoded(error: WireError) -> Self {
        ApiError {
            undecoded: true,
            ..ApiError::from(error)
        }
    }

    /// A malformed request: 400.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::undecoded(WireError::invalid_request(message))
    }

    /// A wrong or missing `Content-Type`.
    pub(crate) fn unsupported_media(message: impl Into<String>) -> Self {
        Self::undecoded(WireError::new(ErrorReason::UnsupportedMedia, message))
    }

    /// Something that no replica was asked about and that does not exist.
    pub(crate) fn no_route(message: impl Into<String>) -> Self {
        WireError::not_found(message).into()
    }

    /// A path that exists, with another method.
    pub(crate) fn method_not_allowed(message: impl Into<String>) -> Self {
        ApiError {
            own: Some((StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed")),
            ..ApiError::from(WireError::invalid_request(message))
        }
    }

    /// The same refusal with a status and code of its own in HTTP.
    pub(crate) fn with_code(mut self, status: StatusCode, code: &'static str) -> Self {
        self.own = Some((status, code));
        self
    }

    /// The budget of the request is used up.
    pub(crate) fn deadline() -> Self {
        WireError::new(
            ErrorReason::DeadlineExceeded,
            "the request's time budget is used up",
        )
        .with_hint("send a larger Omnigraph-Timeout-Ms, or ask for less")
        .into()
    }

    /// A replica's stream ended in the middle.
    pub(crate) fn broken_off() -> Self {
        WireError::new(
            ErrorReason::Unavailable,
            "the replica's answer broke off before its end",
        )
        .into()
    }

    /// Whether the credential is still to be looked at.
    pub(crate) fn is_undecoded(&self) -> bool {
        self.undecoded
    }

    /// Whether the credential was refused.
    pub(crate) fn is_unauthenticated(&self) -> bool {
        self.error.reason == ErrorReason::Unauthenticated
    }

    /// The HTTP status.
    pub(crate) fn status(&self) -> StatusCode {
        match self.own {
            Some((status, _)) => status,
            None => StatusCode::from_u16(self.error.http_status())
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// The body.
    pub(crate) fn output(&self, request_id: &str) -> ErrorOutput {
        let mut output = ErrorOutput::from(self.error.as_ref());
        if let Some((_, code)) = self.own {
            output.code = Some(code.to_owned());
        }
        request_id.clone_into(&mut output.request_id);
        output
    }

    /// The complete answer.
    pub(crate) fn render(&self, request_id: &str) -> Response {
        let text = serde_json::to_string(&self.output(request_id)).unwrap_or_default();
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.extend(HeaderMap::clone(&self.headers));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(after) = self.error.retry_after {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if self.is_unauthenticated() {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }

    /// What went wrong inside, for the log. Fixed texts hide it from the caller.
    pub(crate) fn wire(&self) -> &WireError {
        &self.error
    }
}

impl From<WireError> for ApiError {
    fn from(error: WireError) -> Self {
        ApiError {
            error: Box::new(error),
            own: None,
            headers: Box::default(),
            undecoded: false,
        }
    }
}

impl From<tonic::Status> for ApiError {
    fn from(status: tonic::Status) -> Self {
        // The transport reports its own expiry as a cancellation, without details.
        if status.code() == Code::Cancelled && status.details().is_empty() {
            return Self::deadline();
        }
        if status.code() == Code::Unimplemented {
            return Self::no_route(status.message());
        }
        ApiError {
            headers: Box::new(passed_headers(status.metadata())),
            ..ApiError::from(WireError::from(&status))
        }
    }
}

impl IntoResponse for ApiError {
    /// The status alone; `app::finish` writes the body, because it knows the request id.
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status();
        response.extensions_mut().insert(self);
        response
    }
}
