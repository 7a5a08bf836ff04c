//! The control plane's error: a small kind that callers branch on, and what to do about it.

use omnigraph_proto::common::v1::{
    Diagnostic, ErrorReason, Lease, PlanStale, error_detail::Detail,
};
use omnigraph_proto::error::WireError;

use crate::finding;

/// What a caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request cannot be understood.
    Invalid,
    /// The configuration has errors; the findings say where.
    ConfigInvalid,
    /// Something named does not exist.
    NotFound,
    /// The caller may not do this.
    PermissionDenied,
    /// Somebody else runs an operation.
    LeaseHeld,
    /// Another process leads.
    NotLeader,
    /// The world has moved since the plan was made.
    PlanStale,
    /// An operation that was begun must be resolved first.
    RecoveryPending,
    /// This release does not offer the operation.
    Unsupported,
    /// The storage did not answer; whether a change took effect may be unknown.
    Unavailable,
    /// What is stored contradicts itself.
    Corrupt,
    /// The schema change is not supported, or entities that exist forbid it.
    Migration,
    /// A defect of this program.
    Internal,
}

/// An error of the control plane.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    extra: Box<Extra>,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

#[derive(Debug, Default)]
struct Extra {
    hint: Option<String>,
    findings: Vec<Diagnostic>,
    lease: Option<Lease>,
    stale: Option<PlanStale>,
}

/// The control plane's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error whose message names the thing.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            extra: Box::default(),
            source: None,
        }
    }

    pub(crate) fn config(findings: Vec<Diagnostic>) -> Self {
        let message = match findings.as_slice() {
            [] => "the configuration has errors".to_owned(),
            [one] => one.message.clone(),
            [first, rest @ ..] => format!("{} (and {} more)", first.message, rest.len()),
        };
        let mut error = Self::new(ErrorKind::ConfigInvalid, message);
        error.extra.findings = findings;
        error
    }

    pub(crate) fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    #[must_use]
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.extra.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub(crate) fn with_lease(mut self, lease: Option<Lease>) -> Self {
        self.extra.lease = lease;
        self
    }

    #[must_use]
    pub(crate) fn with_stale(mut self, stale: PlanStale) -> Self {
        self.extra.stale = Some(stale);
        self
    }

    #[must_use]
    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The message without the cause.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The remedy, where the message does not say it.
    pub fn hint(&self) -> Option<&str> {
        self.extra.hint.as_deref()
    }

    /// Findings about the configuration.
    pub fn findings(&self) -> &[Diagnostic] {
        &self.extra.findings
    }

    /// The message and its causes, for the log.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl From<omnigraph_engine::Error> for Error {
    fn from(error: omnigraph_engine::Error) -> Self {
        use omnigraph_engine::ErrorKind as K;
        let kind = match error.kind() {
            K::Unavailable | K::Deadline | K::WriteConflict => ErrorKind::Unavailable,
            K::NotFound | K::Corrupt => ErrorKind::Corrupt,
            K::Fenced => ErrorKind::NotLeader,
            K::Invalid | K::ResourceLimit => ErrorKind::Invalid,
            K::Migration => ErrorKind::Migration,
            _ => ErrorKind::Internal,
        };
        let mut ours = Error::new(kind, error.message());
        ours.extra.hint.clone_from(&error.detail().hint);
        if kind == ErrorKind::Migration {
            let found = error.detail().diagnostics.iter();
            ours.extra.findings = found.map(|d| finding::of_language(d, "")).collect();
        }
        ours.with_source(error)
    }
}

impl From<omnigraph_engine::log::Error> for Error {
    fn from(error: omnigraph_engine::log::Error) -> Self {
        omnigraph_engine::Error::from(error).into()
    }
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        omnigraph_engine::Error::from(error).into()
    }
}

impl From<Error> for tonic::Status {
    fn from(error: Error) -> Self {
        if error.kind == ErrorKind::Unsupported {
            return tonic::Status::unimplemented(error.message);
        }
        if error.kind == ErrorKind::Internal {
            tracing::error!(error = error.chain(), "internal error");
            return WireError::internal().into();
        }
        let reason = match error.kind {
            ErrorKind::Invalid => ErrorReason::InvalidRequest,
            ErrorKind::ConfigInvalid => ErrorReason::ConfigInvalid,
            ErrorKind::NotFound => ErrorReason::NotFound,
            ErrorKind::PermissionDenied => ErrorReason::PermissionDenied,
            ErrorKind::LeaseHeld => ErrorReason::LeaseHeld,
            ErrorKind::NotLeader => ErrorReason::NotLeader,
            ErrorKind::PlanStale => ErrorReason::PlanStale,
            ErrorKind::RecoveryPending => ErrorReason::RecoveryPending,
            ErrorKind::Unavailable => ErrorReason::Unavailable,
            ErrorKind::Corrupt => ErrorReason::Integrity,
            ErrorKind::Migration => ErrorReason::UnsupportedMigration,
            ErrorKind::Unsupported | ErrorKind::Internal => ErrorReason::Internal,
        };
        let extra = *error.extra;
        let mut wire = if extra.findings.is_empty() {
            WireError::new(reason, error.message)
        } else {
            WireError::diagnostics(reason, error.message, extra.findings)
        };
        wire.hint = extra.hint;
        if let Some(lease) = extra.lease {
            wire = wire.with_detail(Detail::LeaseHeld(lease));
        }
        if let Some(stale) = extra.stale {
            wire = wire.with_detail(Detail::PlanStale(stale));
        }
        wire.into()
    }
}
