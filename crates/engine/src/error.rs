//! The engine's error: a small kind that callers branch on, and a message for people.

use std::fmt;

/// What a caller can do about an error. The wire tables of the daemons map each kind once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The named graph, branch, commit, type or query does not exist.
    NotFound,
    /// What should be created exists already.
    AlreadyExists,
    /// The request is malformed or breaks a rule of the languages; details in the diagnostics.
    Invalid,
    /// Rows of a load break the schema; details, with lines, in the diagnostics.
    LoadInvalid,
    /// An entity with this key exists already.
    KeyConflict,
    /// Other writers were faster until the tries were used up.
    WriteConflict,
    /// The idempotency key belongs to another request, or to one that is still running.
    IdempotencyConflict,
    /// A merge needs a decision, or the branches have diverged.
    MergeConflict,
    /// Changes cannot be listed entity by entity here; the detail says why.
    ChangeDiffRefused,
    /// The history that a request needs was reclaimed.
    ChangeFeedGap,
    /// A cursor or page token is damaged, or was made for something else.
    CursorRejected,
    /// The head is not the commit that the caller expected, or a commit is not visible yet.
    Precondition,
    /// A limit on size, memory or rows is exceeded.
    ResourceLimit,
    /// The object store did not answer; whether a write took effect may be unknown.
    Unavailable,
    /// The deadline passed.
    Deadline,
    /// Stored data contradicts itself or cannot be read.
    Corrupt,
    /// An external object that the graph admits cannot be read.
    ExternalBlobSource,
    /// The schema change is not supported or the data forbids it.
    Migration,
    /// A newer leader fenced this writer off.
    Fenced,
    /// A gate of the caller refuses what the request would touch.
    Denied,
    /// A defect of this program.
    Internal,
}

/// Facts that clients show or act on, beside the message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ErrorDetail {
    /// What to do about it, as one sentence without a full stop.
    pub hint: Option<String>,
    /// Findings of the languages or of data validation.
    pub diagnostics: Vec<omnigraph_lang::Diagnostic>,
    /// How many findings there are in all, when only the first are listed.
    pub diagnostics_total: usize,
    /// Type and id of the entity that a key conflict is about, and whether it is an edge.
    pub entity: Option<EntityName>,
    /// Expected and actual head of a failed precondition.
    pub precondition: Option<(String, Option<String>)>,
    /// URI of an external object, and why it cannot be read.
    pub external: Option<(String, String)>,
    /// What stands in the way of a merge or of a revert.
    pub merge_conflicts: Option<Box<crate::graph::Conflicts>>,
    /// Resource, limit and actual value.
    pub limit: Option<(String, u64, u64)>,
    /// What a write lost to.
    pub write_conflict: Option<WriteConflict>,
    /// The oldest commit that is kept, where an older one was asked for.
    pub oldest_retained: Option<String>,
    /// Why an idempotency key was refused.
    pub idempotency: Option<IdempotencyConflict>,
    /// Why changes cannot be listed.
    pub refusal: Option<DiffRefusal>,
    /// The cursor, if one was given, and the first commit that cannot be read any more.
    pub gap: Option<(Option<String>, String)>,
}

/// What a write lost to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteConflict {
    /// The commit that the write was last prepared on.
    pub base: String,
    /// The head that it met.
    pub head: String,
    /// Where both overlap, 100 at most.
    pub entities: Vec<Overlap>,
    /// Whether there are more.
    pub truncated: bool,
}

/// One overlap of a write with what others committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// The entity, or the type if single entities are not known.
    pub entity: EntityName,
    /// The rule that would have been checked against the other's change; none if both wrote it.
    pub constraint: Option<String>,
}

/// Why an idempotency key was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyConflict {
    /// The key.
    pub key: String,
    /// Why.
    pub cause: IdempotencyCause,
    /// The commit that was made with it, if there is one.
    pub commit: Option<String>,
}

/// Why an idempotency key was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdempotencyCause {
    /// It was used for another request.
    PayloadMismatch,
    /// The request runs at this moment.
    InProgress,
}

/// Why changes cannot be listed entity by entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCause {
    /// The commit has no parent.
    ParentlessCommit,
    /// The schema of a type moved in between.
    SchemaBoundary,
}

/// Which commit's changes cannot be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffRefusal {
    /// Why.
    pub cause: RefusalCause,
    /// The commit.
    pub commit: String,
    /// The type whose schema moved.
    pub type_name: Option<String>,
}

/// Names one entity for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityName {
    /// Whether the entity is an edge.
    pub edge: bool,
    /// The type's name.
    pub type_name: String,
    /// The entity's id, if it is about one entity and not about the type.
    pub id: Option<String>,
}

/// An error of the engine.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    detail: Box<ErrorDetail>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What to do about an object that a newer release wrote.
pub(crate) const UPGRADE: &str = "a newer release wrote it: upgrade this program";

/// The engine's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with a message that names the thing and, where it is not obvious, the remedy.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            detail: Box::default(),
            source: None,
        }
    }

    /// The request breaks a rule.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// A named thing is missing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// Stored data contradicts itself.
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// A defect of this program.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// An error made of the findings of the languages; the first error becomes the message.
    pub fn diagnostics(kind: ErrorKind, found: Vec<omnigraph_lang::Diagnostic>) -> Self {
        let errors: Vec<_> = found.iter().filter(|d| d.is_error()).collect();
        let message = match errors.as_slice() {
            [] => "invalid input".to_owned(),
            [one] => format!("{}: {}", one.code, one.message),
            [first, rest @ ..] => {
                format!(
                    "{}: {} (and {} more)",
                    first.code,
                    first.message,
                    rest.len()
                )
            }
        };
        let mut error = Self::new(kind, message);
        error.detail.diagnostics_total = found.len();
        error.detail.diagnostics = found;
        error
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.detail.hint = Some(hint.into());
        self
    }

    /// Adds the cause, for the log.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Changes the details.
    #[must_use]
    pub fn with_detail(mut self, change: impl FnOnce(&mut ErrorDetail)) -> Self {
        change(&mut self.detail);
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

    /// The facts beside the message.
    pub fn detail(&self) -> &ErrorDetail {
        &self.detail
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<lance::Error> for Error {
    fn from(error: lance::Error) -> Self {
        let (kind, message) = match &error {
            lance::Error::NotFound { .. } | lance::Error::DatasetNotFound { .. } => {
                (ErrorKind::Corrupt, "a file of the graph is missing")
            }
            lance::Error::IO { .. } => (ErrorKind::Unavailable, "the object store did not answer"),
            lance::Error::CorruptFile { .. } => {
                (ErrorKind::Corrupt, "a file of the graph is damaged")
            }
            _ => (ErrorKind::Internal, "a table operation failed"),
        };
        Self::new(kind, message).with_source(error)
    }
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        let (kind, message) = match &error {
            object_store::Error::NotFound { path, .. } => {
                (ErrorKind::Corrupt, format!("object {path} is missing"))
            }
            object_store::Error::PermissionDenied { path, .. }
            | object_store::Error::Unauthenticated { path, .. } => (
                ErrorKind::Unavailable,
                format!("the object store refused access to {path}"),
            ),
            _ => (
                ErrorKind::Unavailable,
                "the object store did not answer".to_owned(),
            ),
        };
        Self::new(kind, message).with_source(error)
    }
}

impl From<arrow_schema::ArrowError> for Error {
    fn from(error: arrow_schema::ArrowError) -> Self {
        Self::internal("a column operation failed").with_source(error)
    }
}
