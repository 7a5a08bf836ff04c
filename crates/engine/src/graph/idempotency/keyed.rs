//! A request with a key, and what may be wrong with the key.

use std::sync::Arc;

use super::Fingerprint;
use crate::error::{Error, ErrorKind, IdempotencyCause, IdempotencyConflict, Result};
use crate::graph::{ActorId, Commit, CommitId, Idempotency, WriteOptions};

/// What a request with a key is, for the record.
#[derive(Clone, Debug)]
pub(crate) struct Keyed {
    pub(crate) key: String,
    pub(crate) actor: Option<ActorId>,
    pub(crate) operation: String,
    pub(crate) fingerprint: String,
}

impl Keyed {
    /// The request of these options, if it has a key. The caller's operation and fingerprint count
    /// more than the engine's own.
    pub(crate) fn of(
        options: &WriteOptions,
        operation: &str,
        fingerprint: impl FnOnce(Fingerprint) -> Fingerprint,
    ) -> Result<Option<Self>> {
        let Some(key) = &options.idempotency_key else {
            return Ok(None);
        };
        check_key(key)?;
        let operation = options.operation.as_deref().unwrap_or(operation);
        let fingerprint = options.fingerprint.clone().unwrap_or_else(|| {
            let condition = options.if_head.map(|id| id.to_string());
            let request = Fingerprint::new(operation)
                .maybe(condition.as_deref())
                .maybe(options.by.message.as_deref());
            fingerprint(request).finish()
        });
        Ok(Some(Self {
            key: key.clone(),
            actor: options.by.actor.clone(),
            operation: operation.to_owned(),
            fingerprint,
        }))
    }

    /// The name of the first claim.
    pub(super) fn name(&self) -> String {
        claim_name(&self.key, self.actor.as_ref())
    }

    pub(super) fn is_of(&self, proof: &Idempotency) -> bool {
        proof.key == self.key && proof.actor == self.actor
    }

    /// A commit that was made with the key answers this request, if it was this request.
    pub(super) fn own(&self, commit: Arc<Commit>) -> Result<Arc<Commit>> {
        let proof = commit.idempotency.as_ref();
        match proof.is_some_and(|proof| proof.fingerprint == self.fingerprint) {
            true => Ok(commit),
            false => Err(self.mismatch(Some(commit.id))),
        }
    }

    /// The key was used by another request.
    pub(super) fn mismatch(&self, commit: Option<CommitId>) -> Error {
        let message = format!("idempotency key '{}' was used by another request", self.key);
        self.conflict(message, IdempotencyCause::PayloadMismatch, commit)
            .with_hint("use a new key for a new request")
    }

    pub(super) fn in_progress(&self) -> Error {
        let message = format!("the request with idempotency key '{}' is running", self.key);
        self.conflict(message, IdempotencyCause::InProgress, None)
            .with_hint("repeat it in a moment")
    }

    fn conflict(
        &self,
        message: String,
        cause: IdempotencyCause,
        commit: Option<CommitId>,
    ) -> Error {
        Error::new(ErrorKind::IdempotencyConflict, message).with_detail(|detail| {
            detail.idempotency = Some(IdempotencyConflict {
                key: self.key.clone(),
                cause,
                commit: commit.map(|id| id.to_string()),
            });
        })
    }
}

/// The name of the first claim of an actor's key.
pub(super) fn claim_name(key: &str, actor: Option<&ActorId>) -> String {
    Fingerprint::new("key")
        .maybe(actor.map(ActorId::as_str))
        .field(key)
        .finish()
}

/// What a commit says of the answer that it gave.
pub(crate) fn recorded<T: serde::de::DeserializeOwned>(commit: &Commit) -> Result<T> {
    let proof = commit.idempotency.as_ref();
    let answer = proof.and_then(|proof| proof.answer.clone());
    serde_json::from_value(answer.unwrap_or_default()).map_err(|error| {
        Error::corrupt(format!("commit {} does not tell its answer", commit.id)).with_source(error)
    })
}

/// A key is 1 to 255 visible ASCII characters.
fn check_key(key: &str) -> Result<()> {
    let visible = key.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
    if visible && (1..=255).contains(&key.len()) {
        return Ok(());
    }
    Err(Error::invalid(
        "the idempotency key must be 1 to 255 visible ascii characters",
    ))
}
