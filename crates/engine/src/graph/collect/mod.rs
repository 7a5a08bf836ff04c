//! Collection: removing what no kept commit needs (storage protocol, section 7).
//!
//! In two phases that lie a day apart, so that nothing that anybody may still be looking at or
//! building on goes: first the objects that no root refers to are written down (they are
//! *condemned*), and from then on the commits that are not kept any more count as reclaimed. At
//! least [`GRACE`] later every branch gets a `Swept` entry, so that writers who began before start
//! from scratch; the roots are marked again, and what is condemned and still unmarked is deleted.
//!
//! | file | subject |
//! |---|---|
//! | `history` | the logs of all branches, as far as commits can be reached |
//! | `roots` | which commits are kept, and how far the logs have to reach back |
//! | `mark` | the objects that the roots need |
//! | `record` | what was decided: a log, and what it says of a commit |
//! | `condemn`, `sweep` | the two phases |
//! | `remove` | removing a deleted graph as a whole |

mod condemn;
mod history;
mod mark;
mod record;
mod remove;
mod roots;
mod sweep;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

pub(crate) use self::condemn::below;
pub(crate) use self::history::History;
pub(crate) use self::mark::{Marked, Marker};
pub(crate) use self::record::{Collection, Record};
pub use self::remove::Removal;
pub(crate) use self::roots::{Boundary, Roots};
pub(crate) use self::sweep::delete;
use super::{CommitId, Graph};
use crate::error::{Error, Result};

/// Time between the two phases, and the age that an object must have to be condemned.
pub(crate) const GRACE: Duration = Duration::from_secs(24 * 3600);
/// How long reads rely on what they know of collections.
const LOOK: Duration = Duration::from_secs(60);

/// What of the history is kept, on each branch. Whichever rule keeps more counts, and what was a
/// head within the last 24 hours is always kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// The newest commits, not counting those that changed no data.
    pub commits: Option<u64>,
    /// What was a head within so much time.
    pub age: Option<Duration>,
}

/// How a collection is run.
#[derive(Clone, Default)]
pub struct CollectOptions {
    /// What is kept.
    pub retention: Retention,
    /// Says what would happen and changes nothing.
    pub dry_run: bool,
    /// Is told how far it is.
    pub progress: Option<Arc<dyn Fn(CollectProgress) + Send + Sync>>,
}

impl std::fmt::Debug for CollectOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CollectOptions")
            .field("retention", &self.retention)
            .field("dry_run", &self.dry_run)
            .finish_non_exhaustive()
    }
}

/// How far a collection or a backup is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CollectProgress {
    /// What it does.
    pub step: &'static str,
    /// How much of that is done.
    pub done: u64,
    /// Of how much; 0 is unknown.
    pub total: u64,
    /// The bytes of what is done, where they count.
    pub bytes: u64,
}

/// A number of objects and what they take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Amount {
    pub(crate) fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
    }
}

/// What a collection found in one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectedTable {
    /// Whether it holds edges.
    pub edge: bool,
    /// The type's name; the table's directory where no kept schema has the type.
    pub type_name: String,
    /// What was removed, or would be.
    pub removed: Amount,
}

/// What a collection did, or would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectOutcome {
    /// Nothing was changed.
    pub dry_run: bool,
    /// Objects that were removed; on a dry run those that nothing needs.
    pub removed: Amount,
    /// Objects that are condemned and wait for their removal.
    pub condemned: Amount,
    /// From when on they can be removed, in microseconds since the Unix epoch.
    pub removable_at: Option<i64>,
    /// `removed` by table.
    pub tables: Vec<CollectedTable>,
    /// Entries of branch logs that were removed.
    pub log_entries: u64,
    /// The oldest commit of `main` that is kept.
    pub oldest_retained: Option<CommitId>,
}

impl Graph {
    /// Collects what no kept commit needs: removes what was condemned long enough ago, and condemns
    /// what is not needed now. Harmless if several processes try, and carried on by the next if one
    /// dies.
    ///
    /// # Errors
    /// `Invalid` without any rule of retention; `Corrupt` if an object that a kept commit needs is
    /// missing: then nothing is removed.
    pub async fn collect(&self, options: &CollectOptions) -> Result<CollectOutcome> {
        // Erased, so that callers need not know what it is made of.
        let work: BoxFuture<'_, _> = Box::pin(self.collect_now(options));
        work.await
    }

    async fn collect_now(&self, options: &CollectOptions) -> Result<CollectOutcome> {
        let retention = options.retention;
        if retention.commits.is_none() && retention.age.is_none() {
            return Err(Error::invalid("a collection needs to know what to keep")
                .with_hint("say how many commits, how old they may be, or both"));
        }
        if retention.commits == Some(0) {
            return Err(Error::invalid("at least one commit is kept on each branch"));
        }
        if options.dry_run {
            return Box::pin(self.preview(options)).await;
        }
        self.store().probe_create_once().await?;
        let swept = Box::pin(self.sweep(options)).await?;
        let condemned = Box::pin(self.condemn(options)).await?;
        Ok(CollectOutcome {
            dry_run: false,
            removed: swept.removed,
            tables: swept.tables,
            log_entries: swept.log_entries,
            ..condemned
        })
    }

    /// The oldest commit of a branch that is kept; none as long as nothing was reclaimed.
    pub async fn oldest_retained(&self, branch: &super::BranchName) -> Result<Option<CommitId>> {
        let record = self.shared.collection.record(Duration::ZERO).await?;
        Ok(record.and_then(|record| record.oldest(branch)))
    }

    /// Refuses a commit whose tables are reclaimed or about to be. Whoever makes an older commit's
    /// tables reachable again (a branch made at it, a tag, a revert to it) asks before it reads the
    /// head that it appends to, on each try, and whoever cannot collide with a `Swept` entry asks
    /// again after it has appended.
    pub(crate) async fn refuse_reclaimed(&self, commit: &super::Commit) -> Result<()> {
        self.refuse_reclaimed_within(commit, Duration::ZERO).await
    }

    /// For reading: what is not a day old cannot have been reclaimed, and of the rest a look of
    /// late will do, because a day lies between the decision and the removal.
    pub(crate) async fn refuse_old_if_reclaimed(&self, commit: &super::Commit) -> Result<()> {
        let age = self
            .store()
            .clock()
            .now_micros()
            .saturating_sub(commit.created_at);
        if age < i64::try_from(GRACE.as_micros()).unwrap_or(i64::MAX) {
            return Ok(());
        }
        self.refuse_reclaimed_within(commit, LOOK).await
    }

    async fn refuse_reclaimed_within(
        &self,
        commit: &super::Commit,
        at_most: Duration,
    ) -> Result<()> {
        match self.shared.collection.record(at_most).await? {
            Some(record) if !record.retains(commit) => Err(reclaimed(commit.id, &record)),
            Some(_) | None => Ok(()),
        }
    }
}

/// The error that a commit is not kept any more.
pub(crate) fn reclaimed(id: CommitId, record: &Record) -> Error {
    let error = Error::not_found(format!(
        "commit '{id}' is not kept any more: its history was reclaimed"
    ));
    match record.oldest(&super::BranchName::main()) {
        Some(oldest) => error
            .with_hint(format!(
                "the oldest commit that is kept on main is {oldest}; keep more with the graph's retention"
            ))
            .with_detail(|detail| detail.oldest_retained = Some(oldest.to_string())),
        None => error,
    }
}
