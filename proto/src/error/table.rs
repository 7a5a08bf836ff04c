//! Reason → gRPC code, HTTP status, `code` word, repeatability. Nothing else in the tree knows these.

use tonic::Code;

use crate::common::v1::ErrorReason;

/// Whether sending the same request again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It cannot.
    No,
    /// Only after the caller has changed something: the request, a token, the graph, the address.
    AfterChange,
    /// Yes, after a while.
    Later,
    /// Reads yes; writes only with an idempotency key, because the outcome is not known.
    Idempotent,
    /// Nobody knows.
    Unknown,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The reason that this row is about.
    pub reason: ErrorReason,
    /// gRPC code.
    pub grpc: Code,
    /// HTTP status; `None` for what never crosses HTTP.
    pub http: Option<u16>,
    /// The `code` word of the HTTP body; `None` where older clients expect it to be absent.
    pub code: Option<&'static str>,
    /// Whether to send it again.
    pub retry: Retry,
    /// Seconds after which to send it again, where a default makes sense.
    pub retry_after_s: Option<u64>,
}

/// The row of a reason. Unspecified counts as internal.
pub fn row(reason: ErrorReason) -> &'static Row {
    ROWS.iter()
        .find(|row| row.reason == reason)
        .unwrap_or(&ROWS[0])
}

/// The reason that a bare gRPC code stands for, when an error comes without details.
pub fn reason_of_code(code: Code) -> ErrorReason {
    use ErrorReason as R;
    match code {
        Code::Unauthenticated => R::Unauthenticated,
        Code::PermissionDenied => R::PermissionDenied,
        Code::InvalidArgument => R::InvalidRequest,
        Code::NotFound => R::NotFound,
        Code::AlreadyExists => R::AlreadyExists,
        Code::Aborted => R::WriteConflict,
        Code::FailedPrecondition => R::PreconditionFailed,
        Code::OutOfRange => R::ResourceLimit,
        Code::ResourceExhausted => R::RateLimited,
        Code::Unavailable => R::Unavailable,
        Code::DeadlineExceeded => R::DeadlineExceeded,
        Code::Cancelled => R::Cancelled,
        Code::DataLoss => R::Integrity,
        Code::Ok | Code::Unknown | Code::Unimplemented | Code::Internal => R::Internal,
    }
}

/// Where a diagnostic of the languages came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A query or mutation sent as source.
    Source,
    /// A stored query.
    Stored,
    /// Loaded data.
    Load,
    /// A configuration bundle.
    Bundle,
}

/// The reason for a diagnostic code of the languages (`Q203`, `R415`, …). An id that the graph has
/// already (R415 against the graph, not within the input) is a key conflict, which only the caller
/// can tell.
pub fn reason_of_diagnostic(code: &str, origin: Origin) -> ErrorReason {
    use ErrorReason as R;
    let invalid = match origin {
        Origin::Bundle => R::ConfigInvalid,
        Origin::Source | Origin::Stored | Origin::Load => R::InvalidQuery,
    };
    let (family, number) = code.split_at_checked(1).unwrap_or((code, ""));
    match (family, number.parse::<u16>()) {
        ("P" | "S" | "Q" | "W", _) => invalid,
        ("M", _) => R::UnsupportedMigration,
        ("R", Ok(401..=420 | 423)) if origin == Origin::Load => R::LoadInvalid,
        ("R", Ok(434)) if origin == Origin::Stored => R::NotFound,
        ("R", Ok(401..=420 | 423 | 430..=435 | 440..=443 | 445 | 446)) => invalid,
        ("R", Ok(421)) => R::ExternalBlobPolicy,
        ("R", Ok(422 | 452)) => R::ResourceLimit,
        ("R", Ok(444)) => R::Unavailable,
        ("R", Ok(450)) => R::DeadlineExceeded,
        ("R", Ok(451)) => R::Cancelled,
        ("R", Ok(460)) => R::WriteConflict,
        ("R", Ok(461)) => R::PreconditionFailed,
        _ => R::Internal,
    }
}

/// Every reason once, one line each.
#[rustfmt::skip]
pub const ROWS: &[Row] = {
    use ErrorReason as R;
    use Retry::{AfterChange, Idempotent, Later, No, Unknown};
    &[
        http(R::Internal, Code::Internal, 500, "internal", Unknown),
        http(R::Integrity, Code::DataLoss, 500, "internal", Unknown),
        http(R::Unauthenticated, Code::Unauthenticated, 401, "unauthorized", AfterChange),
        http(R::PermissionDenied, Code::PermissionDenied, 403, "forbidden", No),
        http(R::InvalidRequest, Code::InvalidArgument, 400, "bad_request", No),
        http(R::ConfigInvalid, Code::InvalidArgument, 400, "bad_request", No),
        http(R::InvalidQuery, Code::InvalidArgument, 400, "bad_request", No),
        http(R::UnsupportedMigration, Code::InvalidArgument, 400, "bad_request", No),
        http(R::LoadInvalid, Code::InvalidArgument, 400, "bad_request", AfterChange),
        http(R::CursorRejected, Code::InvalidArgument, 400, "bad_request", AfterChange),
        http(R::ExternalBlobPolicy, Code::InvalidArgument, 400, "bad_request", No),
        http(R::UnsupportedMedia, Code::InvalidArgument, 415, "bad_request", No),
        http(R::NotAcceptable, Code::InvalidArgument, 406, "bad_request", No),
        http(R::NotFound, Code::NotFound, 404, "not_found", No),
        http(R::GraphNotFound, Code::NotFound, 404, "not_found", No),
        http(R::AlreadyExists, Code::AlreadyExists, 409, "conflict", No),
        http(R::KeyConflict, Code::AlreadyExists, 409, "conflict", AfterChange),
        http(R::WriteConflict, Code::Aborted, 409, "conflict", Later).after(1),
        http(R::MergeConflict, Code::FailedPrecondition, 409, "conflict", AfterChange),
        http(R::IdempotencyConflict, Code::Aborted, 409, "conflict", No),
        http(R::ChangeDiffRefused, Code::FailedPrecondition, 409, "conflict", No),
        http(R::SchemaManaged, Code::FailedPrecondition, 409, "conflict", No),
        wordless(R::ChangeFeedGap, Code::FailedPrecondition, 410, No),
        wordless(R::PreconditionFailed, Code::FailedPrecondition, 412, AfterChange),
        http(R::ResourceLimit, Code::OutOfRange, 413, "bad_request", No),
        http(R::BlobRange, Code::OutOfRange, 416, "bad_request", No),
        wordless(R::ExternalBlobSource, Code::FailedPrecondition, 424, Later),
        http(R::RateLimited, Code::ResourceExhausted, 429, "too_many_requests", Later).after(1),
        http(R::GraphLoading, Code::Unavailable, 503, "graph_loading", Later).after(1),
        http(R::GraphQuarantined, Code::Unavailable, 503, "graph_quarantined", AfterChange),
        http(R::Unavailable, Code::Unavailable, 503, "unavailable", Idempotent).after(1),
        http(R::DeadlineExceeded, Code::DeadlineExceeded, 504, "deadline_exceeded", Idempotent),
        grpc_only(R::Cancelled, Code::Cancelled, No),
        grpc_only(R::LeaseHeld, Code::FailedPrecondition, Later),
        grpc_only(R::NotLeader, Code::Unavailable, AfterChange),
        grpc_only(R::PlanStale, Code::Aborted, AfterChange),
        grpc_only(R::ApprovalRequired, Code::FailedPrecondition, AfterChange),
        grpc_only(R::RecoveryPending, Code::FailedPrecondition, AfterChange),
    ]
};

const fn http(reason: ErrorReason, grpc: Code, http: u16, code: &'static str, retry: Retry) -> Row {
    Row {
        reason,
        grpc,
        http: Some(http),
        code: Some(code),
        retry,
        retry_after_s: None,
    }
}

/// A row whose HTTP body has no `code`: recognised by status and field.
const fn wordless(reason: ErrorReason, grpc: Code, http: u16, retry: Retry) -> Row {
    Row {
        reason,
        grpc,
        http: Some(http),
        code: None,
        retry,
        retry_after_s: None,
    }
}

const fn grpc_only(reason: ErrorReason, grpc: Code, retry: Retry) -> Row {
    Row {
        reason,
        grpc,
        http: None,
        code: None,
        retry,
        retry_after_s: None,
    }
}

impl Row {
    const fn after(mut self, seconds: u64) -> Row {
        self.retry_after_s = Some(seconds);
        self
    }
}
