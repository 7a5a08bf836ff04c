//! Appending, and finding out what became of an append.

use std::time::Duration;

use object_store::{ObjectStore as _, ObjectStoreExt as _, PutMode, PutPayload};
use tokio::time::Instant;
use ulid::Ulid;

use super::clock::Moment;
use super::{AppendError, Entry, Error, Log, Seq, codec};

/// Every so many entries the hint is rewritten.
const HINT_INTERVAL: u64 = 16;
/// The hint is worth no longer wait than this.
const HINT_TIMEOUT: Duration = Duration::from_secs(2);
/// One put may take so long, and no more than a third of the deadline: a lost one must leave time
/// for another.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What became of an append whose outcome was unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The entry is in the log.
    Landed,
    /// Another entry, or a void, is at its place: it never can be in the log.
    Excluded,
}

/// Whose entry is at the position.
enum Decision {
    Ours,
    Other,
}

impl<T: Entry> Log<T> {
    /// Appends after `expected`, the head that the entry was made for; `None` if the log is empty.
    /// One request, and one more for every 16th entry.
    ///
    /// An unclear answer is followed up until an entry at the position decides, or `deadline` has
    /// passed ([`AppendError::OutcomeUnknown`]; see [`Log::settle`]).
    pub async fn append(
        &self,
        expected: Option<Seq>,
        entry: &T,
        deadline: Duration,
    ) -> Result<Seq, AppendError> {
        let seq = expected.map_or(Seq::FIRST, Seq::next);
        let head_read_at = expected.and_then(|head| self.head_read_at(head));
        let started = self.now();
        let by = self.shared.clock.after(deadline);
        match self.decide(seq, entry, by).await? {
            Decision::Ours => {}
            Decision::Other => return Err(AppendError::Conflict { seq }),
        }
        self.refuse_hole(expected, seq, head_read_at).await?;
        self.remember(seq, entry, started);
        self.write_hint(seq).await;
        Ok(seq)
    }

    /// Finds out whether the entry `id` landed at `seq`, and makes sure that it never will if it
    /// has not: a void takes the place. Three requests as a rule. `seq` must be the position of an
    /// append that was tried, so that its predecessor exists.
    pub async fn settle(
        &self,
        seq: Seq,
        id: Ulid,
        deadline: Duration,
    ) -> Result<Settled, AppendError> {
        let by = self.shared.clock.after(deadline);
        let settled = match self.id_at(seq).await? {
            Some(found) if found == id => Settled::Landed,
            Some(_) => Settled::Excluded,
            None => {
                let void = T::void(self.shared.clock.fresh_id());
                match self.decide(seq, &void, by).await? {
                    Decision::Ours => Settled::Excluded,
                    Decision::Other if self.id_at(seq).await? == Some(id) => Settled::Landed,
                    Decision::Other => Settled::Excluded,
                }
            }
        };
        // The append may be as old as one likes: what was at its place may be truncated, and what
        // is there now may lie in the hole, where nobody reads it.
        if seq > Seq::FIRST {
            self.refuse_below_floor(seq).await?;
        }
        Ok(settled)
    }

    /// Puts the entry at `seq` until something is there. Not found is no answer: the first put may
    /// still land, so the same bytes are put again.
    async fn decide(&self, seq: Seq, entry: &T, by: Instant) -> Result<Decision, AppendError> {
        let clock = &self.shared.clock;
        let path = self.shared.keys.entry(seq);
        let payload = PutPayload::from(codec::encode(&path, entry)?);
        let attempt = ATTEMPT_TIMEOUT.min(by.saturating_duration_since(clock.instant()) / 3);
        let mut pause = PAUSE_MIN;
        loop {
            let until = by.min(clock.after(attempt));
            let mode = PutMode::Create.into();
            let put = self.shared.store.put_opts(&path, payload.clone(), mode);
            let cause = match clock.timeout_at(until, put).await {
                Ok(Ok(_)) => return Ok(Decision::Ours),
                Ok(Err(source)) => Error::Store {
                    path: path.to_string(),
                    source,
                },
                Err(_) => Error::TimedOut {
                    path: path.to_string(),
                },
            };
            let found = match clock.timeout_at(by, self.id_at(seq)).await {
                Ok(Err(damaged @ Error::Decode { .. })) => return Err(damaged.into()),
                Ok(Ok(found)) => found,
                // No answer either.
                Ok(Err(_)) | Err(_) => None,
            };
            match found {
                Some(id) if id == entry.entry_id() => return Ok(Decision::Ours),
                Some(_) => return Ok(Decision::Other),
                None => {}
            }
            if cause.is_refusal() || clock.after(pause) >= by {
                let cause = Some(cause);
                return Err(AppendError::OutcomeUnknown { seq, cause });
            }
            clock.sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn id_at(&self, seq: Seq) -> Result<Option<Ulid>, Error> {
        let path = self.shared.keys.entry(seq);
        match self.read(&path).await? {
            Some(bytes) => Ok(Some(codec::decode_id(&path, &bytes)?)),
            None => Ok(None),
        }
    }

    /// An append that took longer than half the grace, or whose head is of unknown age, may have
    /// gone into a hole that truncation left. The first entry is never deleted, so that an append
    /// to an empty log cannot.
    async fn refuse_hole(
        &self,
        expected: Option<Seq>,
        seq: Seq,
        head_read_at: Option<Moment>,
    ) -> Result<(), AppendError> {
        let now = self.now();
        let fresh = head_read_at.is_some_and(|at| now.since(at) <= self.shared.grace / 2);
        if expected.is_none() || fresh {
            return Ok(());
        }
        self.refuse_below_floor(seq).await
    }

    async fn refuse_below_floor(&self, seq: Seq) -> Result<(), AppendError> {
        let unknown = |cause| AppendError::OutcomeUnknown { seq, cause };
        match self.floor().await {
            Ok(Some(floor)) if floor > seq => Err(unknown(None)),
            Ok(_) => Ok(()),
            Err(error) => Err(unknown(Some(error))),
        }
    }

    /// Best effort: a lost hint costs the next reader a listing.
    async fn write_hint(&self, seq: Seq) {
        if seq.next().0.is_multiple_of(HINT_INTERVAL) {
            let path = self.shared.keys.hint();
            let put = self.shared.store.put(&path, seq.to_string().into());
            let _ = self.shared.clock.timeout(HINT_TIMEOUT, put).await;
        }
    }
}
