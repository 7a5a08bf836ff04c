//! Keys for repeats: a request with a key commits once, however often it is sent.
//!
//! Before the write, a claim is created once under the key: it fixes the commit's id and from which
//! place on it can be in the branch's log. A repeat reads the claim and the log from there: it finds
//! the commit, or carries on with the same id. Whoever appends at a place has read everything
//! before it, so the commit lands once, whichever process is faster. The entry in the log is the
//! record; a claim alone proves nothing and binds nobody:
//!
//! - A request that committed nothing leaves a claim behind. Sent again, it carries on with it.
//! - The same key with another request finds a claim that is not its own. If that one's commit is
//!   in the log, this is a mismatch. If not, it claims the key anew, in the next place.
//!
//! How another operation with its own loop takes part:
//!
//! ```text
//! let _running = graph.admit(options, operation, &fingerprint)?;          // in_progress
//! let ticket = match graph.claim(keyed, target, &state).await? {
//!     Claimed::Answered(commit) => return replay(commit),                 // replayed: true
//!     Claimed::Open(ticket) => ticket,
//! };
//! // commit.id = ticket.commit; commit.idempotency = ticket.proof(record)
//! // before each run on a head, and after each lost append: ticket.answer(graph, upto)
//! ```
//!
//! A [`super::writer::Write`] run by [`Graph::commit_with`] gets all of this by itself.

use std::collections::HashMap;
use std::sync::Arc;

use object_store::{ObjectStoreExt, PutMode, PutOptions, PutPayload};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::branch::BranchState;
use super::model::{BranchEntry, BranchEvent, Idempotency};
use super::{ActorId, BranchName, Commit, CommitId, Graph, WriteOptions};
use crate::error::{Error, ErrorKind, IdempotencyCause, IdempotencyConflict, Result};
use crate::log::{self, Seq};

/// The version of the format of claims.
const CLAIM_FORMAT: u32 = 1;
/// How many different requests may try their luck with one key.
const CLAIMS_MAX: usize = 16;
/// How often a claim is put before the store is given up.
const PUTS: usize = 3;
/// Entries that are read at a time.
const SCAN: u64 = 32;

/// What a request with a key is, for the record.
#[derive(Clone, Debug)]
pub(crate) struct Keyed {
    pub(crate) key: String,
    pub(crate) actor: Option<ActorId>,
    pub(crate) operation: String,
    pub(crate) fingerprint: String,
}

/// `idempotency/<sha256 of actor and key>`, and with `-1`, `-2`, … behind it the claims of other
/// requests with the same key. Created once, never changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Claim {
    pub(crate) format: u32,
    pub(crate) key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) actor: Option<ActorId>,
    pub(crate) operation: String,
    pub(crate) fingerprint: String,
    /// The branch on which the commit is, or will be.
    pub(crate) branch: BranchName,
    /// The last entry of that branch's log that was there before the claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) base: Option<Seq>,
    /// The commit's id.
    pub(crate) commit: CommitId,
    /// When, in microseconds since the Unix epoch.
    pub(crate) created_at: i64,
}

/// The right to commit under a key, and what has been read of the log so far.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    /// The id that the commit gets.
    pub(crate) commit: CommitId,
    claim: Option<Claim>,
    /// Up to here the log has been looked at.
    seen: Option<Seq>,
}

/// What a look at the key gives.
pub(crate) enum Claimed {
    /// The request has been answered by this commit.
    Answered(Arc<Commit>),
    /// It has not; whoever holds this may commit.
    Open(Ticket),
}

/// Keys of requests that run in this process, with their fingerprints.
#[derive(Clone, Debug, Default)]
pub(super) struct Running {
    keys: Arc<Mutex<HashMap<String, String>>>,
}

/// Held while a request with a key runs.
#[derive(Debug)]
pub(crate) struct Admission {
    running: Running,
    name: String,
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.running.keys.lock().remove(&self.name);
    }
}

/// What a request says, as a hash: fields in order, each with its length.
#[derive(Clone, Debug)]
pub(crate) struct Fingerprint(Sha256);

impl Fingerprint {
    pub(crate) fn new(operation: &str) -> Self {
        Self(Sha256::new()).field(operation)
    }

    #[must_use]
    pub(crate) fn field(mut self, text: &str) -> Self {
        self.0.update((text.len() as u64).to_be_bytes());
        self.0.update(text.as_bytes());
        self
    }

    #[must_use]
    pub(crate) fn maybe(self, text: Option<&str>) -> Self {
        match text {
            None => self.field("-"),
            Some(text) => self.field("+").field(text),
        }
    }

    pub(crate) fn finish(self) -> String {
        hex::encode(self.0.finalize())
    }
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
    fn name(&self) -> String {
        let actor = self.actor.as_ref().map(ActorId::as_str);
        Fingerprint::new("key")
            .maybe(actor)
            .field(&self.key)
            .finish()
    }

    fn is_of(&self, proof: &Idempotency) -> bool {
        proof.key == self.key && proof.actor == self.actor
    }

    /// A commit that was made with the key answers this request, if it was this request.
    fn own(&self, commit: Arc<Commit>) -> Result<Arc<Commit>> {
        let proof = commit.idempotency.as_ref();
        match proof.is_some_and(|proof| proof.fingerprint == self.fingerprint) {
            true => Ok(commit),
            false => Err(self.mismatch(Some(commit.id))),
        }
    }

    /// The key was used by another request.
    fn mismatch(&self, commit: Option<CommitId>) -> Error {
        let message = format!("idempotency key '{}' was used by another request", self.key);
        self.conflict(message, IdempotencyCause::PayloadMismatch, commit)
            .with_hint("use a new key for a new request")
    }

    fn in_progress(&self) -> Error {
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

impl Ticket {
    /// For a request without a key.
    pub(crate) fn unkeyed() -> Self {
        Self {
            commit: CommitId::new(),
            claim: None,
            seen: None,
        }
    }

    /// What the commit says of the key; `record` is the answer beside the commit.
    pub(crate) fn proof(&self, record: Option<serde_json::Value>) -> Option<Idempotency> {
        let claim = self.claim.as_ref()?;
        Some(Idempotency {
            key: claim.key.clone(),
            actor: claim.actor.clone(),
            operation: claim.operation.clone(),
            fingerprint: claim.fingerprint.clone(),
            answer: record,
        })
    }

    /// Whether one of these entries, which follow what was seen before, is the answer.
    ///
    /// # Errors
    /// Another request with this key has committed.
    pub(crate) fn answer_among(
        &mut self,
        entries: &[(Seq, BranchEntry)],
    ) -> Result<Option<Arc<Commit>>> {
        for (seq, entry) in entries {
            self.seen = self.seen.max(Some(*seq));
            let Some(commit) = commit_in(&entry.event) else {
                continue;
            };
            if commit.id == self.commit {
                return Ok(Some(Arc::new(commit.clone())));
            }
            let (Some(claim), Some(proof)) = (&self.claim, &commit.idempotency) else {
                continue;
            };
            let keyed = claim.keyed();
            if keyed.is_of(proof) {
                return keyed.own(Arc::new(commit.clone())).map(Some);
            }
        }
        Ok(None)
    }

    /// Looks for the answer in what follows up to `upto` and was not looked at yet: no request for
    /// a write without a key, and none for a fresh claim.
    pub(crate) async fn answer(
        &mut self,
        graph: &Graph,
        branch: &BranchName,
        upto: Option<Seq>,
    ) -> Result<Option<Arc<Commit>>> {
        let Some(claim) = self.claim.as_ref().filter(|claim| claim.branch == *branch) else {
            return Ok(None);
        };
        let keyed = claim.keyed();
        match graph.scan(&keyed, branch, self.seen, upto).await? {
            Scan::Found(commit) => keyed.own(commit).map(Some),
            Scan::Nothing | Scan::Truncated => {
                self.seen = self.seen.max(upto);
                Ok(None)
            }
        }
    }
}

impl Claim {
    fn keyed(&self) -> Keyed {
        Keyed {
            key: self.key.clone(),
            actor: self.actor.clone(),
            operation: self.operation.clone(),
            fingerprint: self.fingerprint.clone(),
        }
    }
}

/// What a part of a log says of a key.
enum Scan {
    /// This commit was made with it.
    Found(Arc<Commit>),
    Nothing,
    /// The log does not reach back so far any more.
    Truncated,
}

fn commit_in(event: &BranchEvent) -> Option<&Commit> {
    match event {
        BranchEvent::Commit { commit, .. } => Some(commit),
        BranchEvent::Created { first, .. } => first.as_deref(),
        BranchEvent::Swept { .. } | BranchEvent::Void | BranchEvent::Deleted { .. } => None,
    }
}

impl Graph {
    /// Takes a key for this process as long as the result lives.
    pub(crate) fn admit(&self, keyed: &Keyed) -> Result<Admission> {
        use std::collections::hash_map::Entry;
        let name = keyed.name();
        let running = self.shared.running.clone();
        match running.keys.lock().entry(name.clone()) {
            Entry::Occupied(other) if *other.get() != keyed.fingerprint => {
                return Err(keyed.mismatch(None));
            }
            Entry::Occupied(_) => return Err(keyed.in_progress()),
            Entry::Vacant(free) => free.insert(keyed.fingerprint.clone()),
        };
        Ok(Admission { running, name })
    }

    /// Claims a key for a write on `branch`, whose log was looked at just before (`state`); or
    /// finds what an earlier request with the key came to. One request if the key is new.
    pub(crate) async fn claim(
        &self,
        keyed: &Keyed,
        branch: &BranchName,
        state: &BranchState,
    ) -> Result<Claimed> {
        let fresh = Claim {
            format: CLAIM_FORMAT,
            key: keyed.key.clone(),
            actor: keyed.actor.clone(),
            operation: keyed.operation.clone(),
            fingerprint: keyed.fingerprint.clone(),
            branch: branch.clone(),
            base: state.seq(),
            commit: CommitId::new(),
            created_at: self.store().clock().now_micros(),
        };
        let name = keyed.name();
        let mut claims = Vec::new();
        while claims.len() < CLAIMS_MAX {
            match self.create_claim(&name, claims.len(), &fresh).await? {
                Some(other) => claims.push(other),
                None => {
                    return Ok(Claimed::Open(Ticket {
                        commit: fresh.commit,
                        seen: fresh.base,
                        claim: Some(fresh),
                    }));
                }
            }
            self.read_claims(&name, &mut claims).await?;
            if let Some(found) = self.resume(keyed, &claims).await? {
                return Ok(found);
            }
        }
        Err(keyed.mismatch(None))
    }

    /// The commit that answered the request with this key, if there is one, for requests whose
    /// fingerprint begins with `beginning`: the rest of it is not known yet.
    pub(crate) async fn answered(
        &self,
        keyed: &Keyed,
        beginning: &str,
    ) -> Result<Option<Arc<Commit>>> {
        let mut claims = Vec::new();
        self.read_claims(&keyed.name(), &mut claims).await?;
        for claim in claims {
            let (Scan::Found(commit), _) = self.landed(keyed, &claim).await? else {
                continue;
            };
            let proof = commit.idempotency.as_ref();
            return match proof.is_some_and(|proof| proof.fingerprint.starts_with(beginning)) {
                true => Ok(Some(commit)),
                false => Err(keyed.mismatch(Some(commit.id))),
            };
        }
        Ok(None)
    }

    /// What the claims that there are mean for a request. `None`: it may add one.
    async fn resume(&self, keyed: &Keyed, claims: &[Claim]) -> Result<Option<Claimed>> {
        let mut own = None;
        for claim in claims {
            match self.landed(keyed, claim).await? {
                (Scan::Found(commit), _) => {
                    return keyed
                        .own(commit)
                        .map(|commit| Some(Claimed::Answered(commit)));
                }
                (Scan::Nothing, seen)
                    if own.is_none() && claim.fingerprint == keyed.fingerprint =>
                {
                    own = Some((claim, seen));
                }
                (Scan::Nothing | Scan::Truncated, _) => {}
            }
        }
        Ok(own.map(|(claim, seen)| {
            Claimed::Open(Ticket {
                commit: claim.commit,
                claim: Some(claim.clone()),
                seen,
            })
        }))
    }

    /// Looks for a commit with the key where a claim says, and how far it looked.
    async fn landed(&self, keyed: &Keyed, claim: &Claim) -> Result<(Scan, Option<Seq>)> {
        let upto = self.shared.branches.state(&claim.branch).await?.seq();
        let scan = self.scan(keyed, &claim.branch, claim.base, upto).await?;
        Ok((scan, upto))
    }

    /// Reads a branch's log after `from` up to `upto`.
    async fn scan(
        &self,
        keyed: &Keyed,
        branch: &BranchName,
        from: Option<Seq>,
        upto: Option<Seq>,
    ) -> Result<Scan> {
        let Some(upto) = upto else {
            return Ok(Scan::Nothing);
        };
        let log = self.shared.branches.log(branch);
        let mut next = from.map_or(Seq::FIRST, Seq::next);
        while next <= upto {
            let last = Seq(upto.0.min(next.0.saturating_add(SCAN - 1)));
            let entries = match log.range(next, last).await {
                Ok(entries) => entries,
                Err(log::Error::Missing { .. }) => return Ok(Scan::Truncated),
                Err(error) => return Err(error.into()),
            };
            for (_, entry) in entries {
                let Some(commit) = commit_in(&entry.event) else {
                    continue;
                };
                if commit.idempotency.as_ref().is_some_and(|p| keyed.is_of(p)) {
                    return Ok(Scan::Found(Arc::new(commit.clone())));
                }
            }
            next = last.next();
        }
        Ok(Scan::Nothing)
    }

    /// Adds the claims of a key that follow those that are known.
    async fn read_claims(&self, name: &str, claims: &mut Vec<Claim>) -> Result<()> {
        while claims.len() < CLAIMS_MAX {
            match self.read_claim(name, claims.len()).await? {
                Some(claim) => claims.push(claim),
                None => break,
            }
        }
        Ok(())
    }

    async fn read_claim(&self, name: &str, place: usize) -> Result<Option<Claim>> {
        let path = self.claim_path(name, place);
        let bytes = match self.store().object_store().get(&path).await {
            Ok(found) => found.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let claim: Claim = serde_json::from_slice(&bytes).map_err(|error| {
            Error::corrupt(format!("claim {path} cannot be read")).with_source(error)
        })?;
        if claim.format > CLAIM_FORMAT {
            return Err(Error::corrupt(format!(
                "claim {path} has format {}, this program reads up to {CLAIM_FORMAT}",
                claim.format
            ))
            .with_hint("upgrade this program"));
        }
        Ok(Some(claim))
    }

    /// Puts a claim at a place, or finds the one that is there. An unclear answer is followed up
    /// by a look.
    async fn create_claim(&self, name: &str, place: usize, claim: &Claim) -> Result<Option<Claim>> {
        let path = self.claim_path(name, place);
        let bytes = serde_json::to_vec(claim)
            .map_err(|error| Error::internal("a claim cannot be written").with_source(error))?;
        let payload = PutPayload::from(bytes);
        let mut refused = None;
        for _ in 0..PUTS {
            let options = PutOptions {
                mode: PutMode::Create,
                ..PutOptions::default()
            };
            let put = self.store().object_store();
            match put.put_opts(&path, payload.clone(), options).await {
                Ok(_) => return Ok(None),
                Err(error) => refused = Some(error),
            }
            // The library repeats requests and may have collided with its own first try.
            if let Ok(Some(found)) = self.read_claim(name, place).await {
                return Ok((found.commit != claim.commit).then_some(found));
            }
        }
        let error = Error::new(
            ErrorKind::Unavailable,
            "the object store did not take the claim of an idempotency key; nothing was written",
        );
        Err(match refused {
            Some(cause) => error.with_source(cause),
            None => error,
        })
    }

    fn claim_path(&self, name: &str, place: usize) -> object_store::path::Path {
        let root = self.shared.root.path();
        self.store().path(&match place {
            0 => format!("{root}/idempotency/{name}"),
            place => format!("{root}/idempotency/{name}-{place}"),
        })
    }
}
