//! What can go wrong with a log.

use super::Seq;
use crate::error::{Error as EngineError, ErrorKind};

/// Reading or truncating failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store answered with an error.
    #[error("the object store failed at {path}")]
    Store {
        /// The object.
        path: String,
        /// What the store said.
        #[source]
        source: object_store::Error,
    },
    /// The store did not answer in time.
    #[error("the object store did not answer in time at {path}")]
    TimedOut {
        /// The object.
        path: String,
    },
    /// The entry was written by a newer release.
    #[error("log entry {path} has format {format}, which this program cannot read")]
    Format {
        /// The object.
        path: String,
        /// The format that it names.
        format: u64,
    },
    /// The entry is damaged.
    #[error("log entry {path} cannot be read")]
    Decode {
        /// The object.
        path: String,
        /// Where it stopped making sense.
        #[source]
        source: serde_json::Error,
    },
    /// The entry cannot be written.
    #[error("log entry {path} cannot be encoded")]
    Encode {
        /// The object.
        path: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// An entry that should exist does not.
    #[error("log entry {path} is missing")]
    Missing {
        /// The object.
        path: String,
    },
}

impl Error {
    pub(super) fn is_not_found(&self) -> bool {
        let source = match self {
            Error::Store { source, .. } => source,
            _ => return false,
        };
        matches!(source, object_store::Error::NotFound { .. })
    }

    /// Whether asking again cannot help: the store understood and refused.
    pub(super) fn is_refusal(&self) -> bool {
        let source = match self {
            Error::Store { source, .. } => source,
            _ => return false,
        };
        matches!(
            source,
            object_store::Error::PermissionDenied { .. }
                | object_store::Error::Unauthenticated { .. }
                | object_store::Error::NotSupported { .. }
                | object_store::Error::NotImplemented { .. }
                | object_store::Error::InvalidPath { .. }
        )
    }
}

/// Why an append did not report success.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Somebody else's entry is at `seq`; ours has not landed and never will.
    #[error("log position {seq} is taken by another writer")]
    Conflict {
        /// The position.
        seq: Seq,
    },
    /// The entry may have landed, or may still land.
    #[error("it is not known whether the entry at log position {seq} was written")]
    OutcomeUnknown {
        /// The position.
        seq: Seq,
        /// What the store said last.
        #[source]
        cause: Option<Error>,
    },
    /// Nothing was sent, or what is at the position cannot be read.
    #[error(transparent)]
    Log(#[from] Error),
}

impl From<Error> for EngineError {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Store { .. } | Error::TimedOut { .. } => ErrorKind::Unavailable,
            Error::Format { .. } | Error::Decode { .. } | Error::Missing { .. } => {
                ErrorKind::Corrupt
            }
            Error::Encode { .. } => ErrorKind::Internal,
        };
        let remedy = matches!(error, Error::Format { .. });
        let shown = EngineError::new(kind, error.to_string()).with_source(error);
        match remedy {
            true => shown.with_hint(crate::error::UPGRADE),
            false => shown,
        }
    }
}
