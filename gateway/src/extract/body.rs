//! JSON bodies with a size limit.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use omnigraph_proto::error::WireError;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::app::AppState;
use crate::errors::ApiError;

const MIB: usize = 1024 * 1024;

/// A JSON body of at most `LIMIT_MIB`.
pub(crate) struct JsonBody<T, const LIMIT_MIB: usize = 1>(pub(crate) T);

/// A JSON body that may be absent, empty or `null`; then it is the default.
pub(crate) struct OptionalJsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned, const LIMIT_MIB: usize> FromRequest<AppState> for JsonBody<T, LIMIT_MIB> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        require_json(&parts.headers)?;
        let bytes = read(&parts.headers, body, LIMIT_MIB * MIB, state).await?;
        Ok(JsonBody(decode(&bytes)?))
    }
}

impl<T: DeserializeOwned + Default> FromRequest<AppState> for OptionalJsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = read(&parts.headers, body, MIB, state).await?;
        if bytes.trim_ascii().is_empty() || bytes.trim_ascii() == b"null" {
            return Ok(OptionalJsonBody(T::default()));
        }
        require_json(&parts.headers)?;
        Ok(OptionalJsonBody(decode(&bytes)?))
    }
}

/// Whether the body says that it is JSON.
fn is_json(headers: &HeaderMap) -> bool {
    let essence = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(|value| value.trim().to_ascii_lowercase());
    essence.is_some_and(|essence| {
        essence == "application/json"
            || (essence.starts_with("application/") && essence.ends_with("+json"))
    })
}

fn require_json(headers: &HeaderMap) -> Result<(), ApiError> {
    if !is_json(headers) {
        return Err(ApiError::unsupported_media(
            "the body must have 'Content-Type: application/json'",
        ));
    }
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(ApiError::unsupported_media(
            "this route takes no 'Content-Encoding'",
        ));
    }
    Ok(())
}

/// The text of an object that is passed on as it was written; empty if it is absent.
pub(crate) fn object_text(name: &str, raw: Option<Box<RawValue>>) -> Result<String, ApiError> {
    match raw {
        None => Ok(String::new()),
        Some(raw) if raw.get().starts_with('{') => Ok(String::from(Box::<str>::from(raw))),
        Some(_) => Err(ApiError::bad_request(format!("'{name}' must be an object"))),
    }
}

async fn read(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    state: &AppState,
) -> Result<Bytes, ApiError> {
    let declared = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u64>().ok());
    let too_large = || {
        let actual = declared.unwrap_or(limit as u64 + 1);
        let error = WireError::resource_limit("request_body_bytes", limit as u64, actual);
        ApiError::undecoded(error)
    };
    if declared.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let read = Limited::new(body, limit).collect();
    match tokio::time::timeout(state.options.write_timeout, read).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(ApiError::bad_request(format!(
            "the body could not be read: {error}"
        ))),
        Err(_) => Err(ApiError::deadline()),
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(bytes)
        .map_err(|error| ApiError::bad_request(format!("the request body does not fit: {error}")))
}
