//! An error as it travels: one value that becomes a `tonic::Status` or an HTTP body, and is read
//! back from a `Status`.

mod output;
mod status;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

pub use output::*;
pub use table::{Origin, ROWS, Retry, Row, reason_of_code, reason_of_diagnostic, row};

use crate::common::v1::error_detail::Detail;
use crate::common::v1::{
    Diagnostic, Diagnostics, ErrorReason, GraphState, GraphUnavailable, IdempotencyConflict,
    PreconditionFailure, ResourceLimit, idempotency_conflict,
};

/// `ErrorInfo.domain` of every error.
pub const DOMAIN: &str = "omnigraph";

/// Lists in errors hold at most so many items; totals count all.
pub const LIST_MAX: usize = 100;

/// The text of internal errors: what happened goes to the log, under the request id.
pub const INTERNAL_TEXT: &str = "internal error: the server's log has it under this request id";

/// An error on the wire. The reason decides codes and statuses; the rest tells people and programs
/// what to do.
#[derive(Clone, Debug, PartialEq)]
pub struct WireError {
    /// What callers branch on.
    pub reason: ErrorReason,
    /// Lower case, no full stop, names the resource.
    pub message: String,
    /// The remedy, if the message does not say it.
    pub hint: Option<String>,
    /// The structured part that belongs to the reason.
    pub detail: Option<Box<Detail>>,
    /// `graph_id`, `branch` and the like.
    pub metadata: BTreeMap<String, String>,
    /// Set by the layer that knows it.
    pub request_id: Option<Box<str>>,
    /// When to try again. On [`ErrorReason::ResourceLimit`] its presence makes the limit transient.
    pub retry_after: Option<Duration>,
}

impl WireError {
    /// An error with the default retry time of its reason.
    pub fn new(reason: ErrorReason, message: impl Into<String>) -> Self {
        WireError {
            reason,
            message: message.into(),
            hint: None,
            detail: None,
            metadata: BTreeMap::new(),
            request_id: None,
            retry_after: row(reason).retry_after_s.map(Duration::from_secs),
        }
    }

    /// An internal error. The cause must have been logged: the text is fixed.
    pub fn internal() -> Self {
        Self::new(ErrorReason::Internal, INTERNAL_TEXT)
    }

    /// A request that cannot be understood.
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(ErrorReason::InvalidRequest, message)
    }

    /// Something in the graph, or the graph itself, that does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorReason::NotFound, message)
    }

    /// No such graph.
    pub fn graph_not_found(graph_id: &str) -> Self {
        let message = format!("graph '{graph_id}' not found");
        Self::new(ErrorReason::GraphNotFound, message).with_graph(graph_id)
    }

    /// A graph that is known and not served.
    pub fn graph_unavailable(graph_id: &str, state: GraphState, code: &str, message: &str) -> Self {
        let (reason, text) = match state {
            GraphState::Quarantined => (
                ErrorReason::GraphQuarantined,
                format!("graph '{graph_id}' is quarantined: {message}"),
            ),
            _ => (
                ErrorReason::GraphLoading,
                format!("graph '{graph_id}' is loading"),
            ),
        };
        let detail = Detail::GraphUnavailable(GraphUnavailable {
            graph_id: graph_id.to_owned(),
            state: state.into(),
            reason_code: code.to_owned(),
            message: message.to_owned(),
        });
        Self::new(reason, text)
            .with_graph(graph_id)
            .with_detail(detail)
    }

    /// A limit that was exceeded, for good.
    pub fn resource_limit(resource: &str, limit: u64, actual: u64) -> Self {
        let message = format!("{resource} is limited to {limit}, got {actual}");
        let detail = Detail::ResourceLimit(ResourceLimit {
            resource: resource.to_owned(),
            limit,
            actual,
        });
        Self::new(ErrorReason::ResourceLimit, message).with_detail(detail)
    }

    /// The head is not the commit that the caller named. `actual` is empty on an empty branch.
    pub fn precondition_failed(branch: &str, expected: &str, actual: &str) -> Self {
        let message = match actual {
            "" => format!("branch '{branch}' has no commit, expected {expected}"),
            head => format!("branch '{branch}' has moved: expected {expected}, head is {head}"),
        };
        let detail = Detail::PreconditionFailure(PreconditionFailure {
            expected: expected.to_owned(),
            actual: actual.to_owned(),
        });
        Self::new(ErrorReason::PreconditionFailed, message)
            .with_hint("read again and decide; nothing was written")
            .with_metadata("branch", branch)
            .with_detail(detail)
    }

    /// Diagnostics, of which at most [`LIST_MAX`] are kept.
    pub fn diagnostics(
        reason: ErrorReason,
        message: impl Into<String>,
        mut diagnostics: Vec<Diagnostic>,
    ) -> Self {
        let total = diagnostics.len() as u64;
        diagnostics.truncate(LIST_MAX);
        Self::new(reason, message)
            .with_detail(Detail::Diagnostics(Diagnostics { diagnostics, total }))
    }

    /// Adds the remedy.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the structured part.
    pub fn with_detail(mut self, detail: Detail) -> Self {
        self.detail = Some(Box::new(detail));
        self
    }

    /// Names the graph.
    pub fn with_graph(self, graph_id: &str) -> Self {
        self.with_metadata("graph_id", graph_id)
    }

    /// Adds a fact for programs.
    pub fn with_metadata(mut self, key: &str, value: impl Into<String>) -> Self {
        self.metadata.insert(key.to_owned(), value.into());
        self
    }

    /// Names the request.
    pub fn with_request_id(mut self, id: &str) -> Self {
        self.request_id = Some(id.into());
        self
    }

    /// Says when to try again.
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// The gRPC code.
    pub fn grpc_code(&self) -> tonic::Code {
        match (self.reason, self.retry_after) {
            (ErrorReason::ResourceLimit, Some(_)) => tonic::Code::ResourceExhausted,
            _ => row(self.reason).grpc,
        }
    }

    /// The HTTP status. What never crosses HTTP would be a fault of the gateway: 500.
    pub fn http_status(&self) -> u16 {
        row(self.reason).http.unwrap_or(500)
    }

    /// The `code` word of the HTTP body.
    pub fn code_str(&self) -> Option<&'static str> {
        row(self.reason).code
    }

    /// Whether sending the same request again can help.
    pub fn retry(&self) -> Retry {
        match (self.reason, self.detail.as_deref()) {
            (ErrorReason::ResourceLimit, _) if self.retry_after.is_some() => Retry::Later,
            (ErrorReason::IdempotencyConflict, Some(Detail::IdempotencyConflict(conflict)))
                if in_progress(conflict) =>
            {
                Retry::Later
            }
            _ => row(self.reason).retry,
        }
    }

    /// The reason as callers see it: `WRITE_CONFLICT`.
    pub fn reason_str(&self) -> &'static str {
        let name = self.reason.as_str_name();
        name.strip_prefix("ERROR_REASON_").unwrap_or(name)
    }
}

fn in_progress(conflict: &IdempotencyConflict) -> bool {
    conflict.cause() == idempotency_conflict::Cause::InProgress
}

impl std::fmt::Display for WireError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for WireError {}
