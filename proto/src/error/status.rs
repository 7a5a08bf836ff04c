//! [`WireError`] ⇄ `tonic::Status` with `google.rpc.Status` details.

use std::time::Duration;

use prost::Message as _;
use prost::bytes::Bytes;
use prost_types::Any;
use tonic::Status;
use tonic_types::pb;

use super::{DOMAIN, WireError, reason_of_code, row};
use crate::common::v1::error_detail::Detail;
use crate::common::v1::{ErrorDetail, ErrorReason, MergeConflict};

/// Details travel in a header, and widespread clients refuse headers above 16 KiB in all. So many
/// bytes before base64 leave room for the message and the rest.
const DETAIL_BYTES_MAX: usize = 6 * 1024;
/// Percent-encoding may triple a message.
const MESSAGE_BYTES_MAX: usize = 768;

const ERROR_DETAIL_URL: &str = "type.googleapis.com/omnigraph.common.v1.ErrorDetail";
const ERROR_INFO_URL: &str = "type.googleapis.com/google.rpc.ErrorInfo";
const REQUEST_INFO_URL: &str = "type.googleapis.com/google.rpc.RequestInfo";
const RETRY_INFO_URL: &str = "type.googleapis.com/google.rpc.RetryInfo";

impl From<WireError> for Status {
    fn from(error: WireError) -> Status {
        let code = error.grpc_code();
        let message = clip(&error.message, MESSAGE_BYTES_MAX);
        let details = pb::Status {
            code: code as i32,
            message: message.clone(),
            details: details(&error),
        };
        Status::with_details(code, message, Bytes::from(details.encode_to_vec()))
    }
}

impl From<&Status> for WireError {
    /// Reads what the details say. Without details of ours the code alone decides.
    fn from(status: &Status) -> WireError {
        let mut error = WireError::new(reason_of_code(status.code()), status.message());
        let Ok(rich) = pb::Status::decode(status.details()) else {
            return error;
        };
        error.retry_after = None;
        let mut ours = false;
        for any in &rich.details {
            ours |= read_detail(any, &mut error);
        }
        if !ours {
            let retry_after = row(error.reason).retry_after_s.map(Duration::from_secs);
            error.retry_after = error.retry_after.or(retry_after);
        }
        error
    }
}

impl From<Status> for WireError {
    fn from(status: Status) -> WireError {
        WireError::from(&status)
    }
}

fn details(error: &WireError) -> Vec<Any> {
    let request_id = error.request_id.as_deref().unwrap_or_default().to_owned();
    let info = pb::ErrorInfo {
        reason: error.reason_str().to_owned(),
        domain: DOMAIN.to_owned(),
        metadata: error.metadata.clone().into_iter().collect(),
    };
    let detail = ErrorDetail {
        reason: error.reason.into(),
        request_id: request_id.clone(),
        hint: clip(error.hint.as_deref().unwrap_or_default(), MESSAGE_BYTES_MAX),
        detail: error.detail.as_deref().cloned().and_then(fit),
    };
    let mut any = vec![pack(ERROR_INFO_URL, &info), pack(ERROR_DETAIL_URL, &detail)];
    if !request_id.is_empty() {
        let info = pb::RequestInfo {
            request_id,
            serving_data: String::new(),
        };
        any.push(pack(REQUEST_INFO_URL, &info));
    }
    if let Some(after) = error.retry_after {
        let retry_delay = prost_types::Duration::try_from(after).ok();
        any.push(pack(RETRY_INFO_URL, &pb::RetryInfo { retry_delay }));
    }
    any
}

/// Takes one detail over; true if it names one of our reasons.
fn read_detail(any: &Any, error: &mut WireError) -> bool {
    match any.type_url.as_str() {
        ERROR_DETAIL_URL => {
            let Ok(detail) = ErrorDetail::decode(any.value.as_slice()) else {
                return false;
            };
            set_request_id(error, &detail.request_id);
            error.hint = Some(detail.hint.clone()).filter(|hint| !hint.is_empty());
            let reason = detail.reason();
            error.detail = detail.detail.map(Box::new);
            set_reason(error, reason)
        }
        ERROR_INFO_URL => {
            let Ok(info) = pb::ErrorInfo::decode(any.value.as_slice()) else {
                return false;
            };
            if info.domain != DOMAIN {
                return false;
            }
            error.metadata = info.metadata.into_iter().collect();
            let name = format!("ERROR_REASON_{}", info.reason);
            let reason = ErrorReason::from_str_name(&name).unwrap_or_default();
            set_reason(error, reason)
        }
        REQUEST_INFO_URL => {
            if let Ok(info) = pb::RequestInfo::decode(any.value.as_slice()) {
                set_request_id(error, &info.request_id);
            }
            false
        }
        RETRY_INFO_URL => {
            let info = pb::RetryInfo::decode(any.value.as_slice()).unwrap_or_default();
            error.retry_after = info.retry_delay.and_then(|d| Duration::try_from(d).ok());
            false
        }
        _ => false,
    }
}

/// A reason that this version does not know leaves what the code said.
fn set_reason(error: &mut WireError, reason: ErrorReason) -> bool {
    let known = reason != ErrorReason::Unspecified;
    if known {
        error.reason = reason;
    }
    known
}

fn set_request_id(error: &mut WireError, id: &str) {
    if !id.is_empty() {
        error.request_id = Some(id.into());
    }
}

fn pack(type_url: &str, message: &impl prost::Message) -> Any {
    Any {
        type_url: type_url.to_owned(),
        value: message.encode_to_vec(),
    }
}

/// Shortens the detail's list until the whole fits into a header; drops what cannot be shortened.
fn fit(mut detail: Detail) -> Option<Detail> {
    loop {
        let size = ErrorDetail {
            detail: Some(detail.clone()),
            ..ErrorDetail::default()
        }
        .encoded_len();
        if size <= DETAIL_BYTES_MAX {
            return Some(detail);
        }
        if lighten(&mut detail) {
            continue;
        }
        let kept = list_len(&detail) / 2;
        if kept == 0 {
            return None;
        }
        shorten(&mut detail, kept);
    }
}

/// Leaves the values of entities out of the latter half of those conflicts that still show them:
/// naming the conflicts matters more. False: there is nothing left to leave out.
fn lighten(detail: &mut Detail) -> bool {
    let Detail::MergeConflicts(conflicts) = detail else {
        return false;
    };
    let shows = |c: &MergeConflict| c.base.is_some() || c.ours.is_some() || c.theirs.is_some();
    let mut shown: Vec<_> = conflicts
        .conflicts
        .iter_mut()
        .filter(|c| shows(c))
        .collect();
    let kept = shown.len() / 2;
    for conflict in shown.iter_mut().skip(kept) {
        (conflict.base, conflict.ours, conflict.theirs) = (None, None, None);
    }
    !shown.is_empty()
}

fn list_len(detail: &Detail) -> usize {
    match detail {
        Detail::Diagnostics(d) => d.diagnostics.len(),
        Detail::MergeConflicts(c) => c.conflicts.len(),
        Detail::WriteConflict(c) => c.entities.len(),
        _ => 0,
    }
}

fn shorten(detail: &mut Detail, kept: usize) {
    match detail {
        Detail::Diagnostics(d) => d.diagnostics.truncate(kept),
        Detail::MergeConflicts(c) => {
            c.conflicts.truncate(kept);
            c.truncated = true;
        }
        Detail::WriteConflict(c) => {
            c.entities.truncate(kept);
            c.truncated = true;
        }
        _ => {}
    }
}

/// At most `max` bytes of a text, cut between characters.
fn clip(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let mut end = max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}
