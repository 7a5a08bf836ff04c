//! Maintenance: files are rewritten and indexes extended in commits that change no row.
//!
//! The work is done beside the writers, on the head as it was. Only putting it upon the head as it
//! is, and the append, take the branch's turn. Where other writers were faster, the same work is
//! put upon the new head, table by table, as long as the fragments that it is about are unchanged
//! there; so a busy branch does not starve it (storage protocol, section 7).

#[cfg(test)]
mod tests;
mod upkeep;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use omnigraph_lang::schema::TypeId;

pub(super) use self::upkeep::IdleTables;
pub use self::upkeep::Upkeep;
use super::branch::{Head, living};
use super::model::BranchEvent;
use super::writer::{Appended, append_deadline, commit_event};
use super::{BranchName, Commit, CommitId, CommitKind, Graph, Snapshot, TableRef};
use crate::engine::Authorship;
use crate::error::{Error, ErrorKind, Result};
use crate::table::{Outlook, Pending, Policy, TableWork};

/// How often finished work is put upon a new head before it is given up.
const TRIES: usize = 8;
/// How often tables are worked on anew because their fragments changed meanwhile.
const ROUNDS: usize = 3;
/// Entries between the head that was worked on and the one that is committed on which are looked
/// through; with more, the work is done anew.
const MAX_BETWEEN: u64 = 1_000;

/// What is to be maintained, and how.
#[derive(Clone, Debug, Default)]
pub struct OptimizeOptions {
    /// Names of the types; all of them if there are none.
    pub types: Vec<String>,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Do only what has become worth its price, and a bounded amount of it.
    pub incremental: bool,
    /// On whose behalf.
    pub by: Authorship,
}

/// A declared index that is not built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingIndex {
    /// Its name.
    pub name: String,
    /// What it lacks.
    pub reason: String,
}

/// What was done to one type's table, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableMaintenance {
    /// Whether it holds edges.
    pub edge: bool,
    /// The type's name.
    pub type_name: String,
    /// Fragments before.
    pub fragments: u64,
    /// Fragments that were rewritten and are gone.
    pub fragments_removed: u64,
    /// Fragments that took their place.
    pub fragments_added: u64,
    /// Indexes that got a segment over rows that they lacked.
    pub indexes_extended: Vec<String>,
    /// Declared indexes that are not built.
    pub pending_indexes: Vec<PendingIndex>,
    /// Why nothing was done, where something failed.
    pub error: Option<String>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OptimizeOutcome {
    /// The tables that were looked at, node types first, by name.
    pub tables: Vec<TableMaintenance>,
    /// The last commit; none if there was nothing to do.
    pub commit: Option<Commit>,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptimizeProgress {
    /// The type that is worked on; none while the commit is written.
    pub type_name: Option<String>,
    /// Tables that are done.
    pub done: usize,
    /// Tables in all.
    pub total: usize,
}

/// A table that is looked at.
struct Candidate {
    id: TypeId,
    edge: bool,
    name: String,
}

/// What was worked on, and where.
struct Round {
    head: Head,
    works: BTreeMap<TypeId, TableWork>,
}

/// What came of putting work upon a version of a table: another version, or that it does not fit.
type Put = HashMap<(TypeId, u64), Option<TableRef>>;

/// What came of appending finished work.
struct Landed {
    /// Tables whose work is part of the commit.
    types: Vec<TypeId>,
    commit: Option<Arc<Commit>>,
}

impl Graph {
    /// Merges small fragments, materialises deletions and extends indexes, in a commit that
    /// changes no row. Nothing to do: no commit.
    ///
    /// A table that cannot be maintained does not keep the others from it: its error is in its
    /// part of the answer. Dropping the future leaves files that nothing names.
    ///
    /// # Errors
    /// `NotFound` if the branch or a type is missing, `WriteConflict` if other writers were always
    /// faster, and what the object store says.
    pub async fn optimize(
        &self,
        branch: &BranchName,
        options: &OptimizeOptions,
        progress: &(dyn Fn(OptimizeProgress) + Send + Sync),
    ) -> Result<OptimizeOutcome> {
        let policy = match options.incremental {
            true => Policy::incremental(),
            false => Policy::thorough(),
        };
        self.optimize_with(branch, options, &policy, progress).await
    }

    pub(super) async fn optimize_with(
        &self,
        branch: &BranchName,
        options: &OptimizeOptions,
        policy: &Policy,
        progress: &(dyn Fn(OptimizeProgress) + Send + Sync),
    ) -> Result<OptimizeOutcome> {
        let mut head = self.shared.branches.head(branch).await?;
        let mut snapshot = self.open(head.commit.clone(), Some(branch.clone())).await?;
        let mut left = candidates(&snapshot, &options.types)?;
        if options.dry_run {
            return self.forecast(&snapshot, left, policy).await;
        }
        self.store().probe_create_once().await?;
        let mut outcome = OptimizeOutcome::default();
        for round in 1..=ROUNDS {
            let (works, reports) = Box::pin(self.work(&snapshot, &left, policy, progress)).await;
            let round_of = Round { head, works };
            let landed = match round_of.works.is_empty() {
                true => Landed::nothing(),
                false => self.land_work(branch, &round_of, &options.by).await?,
            };
            let commit = landed.commit.as_deref().cloned();
            outcome.commit = commit.or(outcome.commit);
            let redo = |id: &TypeId| round_of.works.contains_key(id) && !landed.types.contains(id);
            let last = round == ROUNDS;
            for (candidate, mut report) in left.iter().zip(reports) {
                if redo(&candidate.id) {
                    if !last {
                        continue;
                    }
                    report = moved(candidate);
                }
                outcome.tables.push(report);
            }
            left.retain(|candidate| redo(&candidate.id));
            if left.is_empty() || last {
                break;
            }
            head = self.shared.branches.head(branch).await?;
            snapshot = self.open(head.commit.clone(), Some(branch.clone())).await?;
            left.retain(|candidate| snapshot.commit.tables.contains_key(&candidate.id));
        }
        self.index_history(branch).await;
        outcome
            .tables
            .sort_by(|a, b| (a.edge, &a.type_name).cmp(&(b.edge, &b.type_name)));
        Ok(outcome)
    }

    /// Makes the index segments of commits. A failure costs later readers time, nothing else.
    async fn index_history(&self, branch: &BranchName) {
        if let Err(error) = Box::pin(self.index_commits(branch)).await {
            let graph = &self.root().id;
            tracing::warn!(%graph, %branch, %error, "the history was not indexed");
        }
    }

    async fn forecast(
        &self,
        snapshot: &Snapshot,
        candidates: Vec<Candidate>,
        policy: &Policy,
    ) -> Result<OptimizeOutcome> {
        let mut outcome = OptimizeOutcome::default();
        for candidate in candidates {
            let outlook = self.outlook(snapshot, &candidate, policy).await;
            outcome.tables.push(report(&candidate, outlook));
        }
        Ok(outcome)
    }

    async fn outlook(
        &self,
        snapshot: &Snapshot,
        candidate: &Candidate,
        policy: &Policy,
    ) -> Result<Outlook> {
        let entity = entity(snapshot, candidate)?;
        let table = snapshot.table(candidate.id)?;
        self.tables().outlook(table, entity, policy).await
    }

    /// Works on the tables one after the other: maintenance is in nobody's way.
    async fn work(
        &self,
        snapshot: &Snapshot,
        candidates: &[Candidate],
        policy: &Policy,
        progress: &(dyn Fn(OptimizeProgress) + Send + Sync),
    ) -> (BTreeMap<TypeId, TableWork>, Vec<TableMaintenance>) {
        let mut works = BTreeMap::new();
        let mut reports = Vec::with_capacity(candidates.len());
        for (done, candidate) in candidates.iter().enumerate() {
            progress(OptimizeProgress {
                type_name: Some(candidate.name.clone()),
                done,
                total: candidates.len(),
            });
            let found = self.work_on(snapshot, candidate, policy).await;
            reports.push(match found {
                Ok((outlook, work)) => {
                    works.extend(work.map(|work| (candidate.id, work)));
                    report(candidate, Ok(outlook))
                }
                Err(error) => {
                    let (graph, name) = (&self.root().id, &candidate.name);
                    tracing::warn!(%graph, r#type = %name, %error, "a table was not maintained");
                    report(candidate, Err(error))
                }
            });
        }
        progress(OptimizeProgress {
            type_name: None,
            done: candidates.len(),
            total: candidates.len(),
        });
        (works, reports)
    }

    async fn work_on(
        &self,
        snapshot: &Snapshot,
        candidate: &Candidate,
        policy: &Policy,
    ) -> Result<(Outlook, Option<TableWork>)> {
        let table = snapshot.table(candidate.id)?;
        let idle = &self.shared.idle_tables;
        if idle.has(table, policy) {
            return Ok((Outlook::default(), None));
        }
        let outlook = self.outlook(snapshot, candidate, policy).await?;
        if outlook.is_idle() {
            idle.add(table, policy);
            return Ok((outlook, None));
        }
        let entity = entity(snapshot, candidate)?;
        let work = Box::pin(self.tables().maintain(table, entity, policy)).await?;
        let outlook = match &work {
            Some(work) => work.outlook.clone(),
            // What looked like work was none.
            None => self.outlook(snapshot, candidate, policy).await?,
        };
        Ok((outlook, work))
    }

    /// Puts finished work upon the head and appends it.
    async fn land_work(
        &self,
        branch: &BranchName,
        round: &Round,
        by: &Authorship,
    ) -> Result<Landed> {
        let id = CommitId::new();
        let mut put = Put::default();
        // Before the branch's turn, so that nobody waits for what is still the same in it.
        let head = self.shared.branches.head(branch).await?;
        if !self.may_follow(branch, &round.head, &head).await? {
            return Ok(Landed::nothing());
        }
        self.put_works(round, &head, &mut put).await?;
        let queue = self.queue(branch);
        let _turn = queue.lock().await;
        for _ in 0..TRIES {
            let head = self.shared.branches.head(branch).await?;
            if !self.may_follow(branch, &round.head, &head).await? {
                return Ok(Landed::nothing());
            }
            let changed = self.put_works(round, &head, &mut put).await?;
            if changed.is_empty() {
                return Ok(Landed::nothing());
            }
            let types = changed.keys().copied().collect();
            let commit = self.maintenance_commit(branch, id, &head, changed, by);
            let event = commit_event(&head, commit);
            let appended = self
                .append_event(branch, Some(head.seq), event, append_deadline())
                .await?;
            if let Appended::Landed(state) = appended {
                let head = living(branch, state)?;
                self.shared.commits.put(&head.commit);
                return Ok(Landed {
                    types,
                    commit: Some(head.commit),
                });
            }
        }
        Err(Error::new(
            ErrorKind::WriteConflict,
            format!("branch '{branch}' moved {TRIES} times while maintenance was to be appended; nothing was written"),
        )
        .with_hint("repeat it"))
    }

    /// Puts work upon the tables of a head. What came of it before is not done again, so that a
    /// conflict over other tables costs nothing.
    async fn put_works(
        &self,
        round: &Round,
        head: &Head,
        put: &mut Put,
    ) -> Result<BTreeMap<TypeId, TableRef>> {
        let mut changed = BTreeMap::new();
        for (id, work) in &round.works {
            let Some(table) = head.commit.tables.get(id) else {
                continue;
            };
            let key = (*id, table.version);
            let made = match put.entry(key) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(room) => {
                    room.insert(Box::pin(self.tables().put_work(work, table)).await?)
                }
            };
            if let Some(made) = made {
                changed.insert(*id, made.clone());
            }
        }
        Ok(changed)
    }

    /// Whether work on one head may be put upon a later one of the same life and schema, with no
    /// collection of files in between.
    async fn may_follow(&self, branch: &BranchName, from: &Head, to: &Head) -> Result<bool> {
        if from.seq == to.seq {
            return Ok(true);
        }
        if from.incarnation != to.incarnation
            || from.commit.schema_commit != to.commit.schema_commit
            || from.commit.schema != to.commit.schema
            || to.seq.0 - from.seq.0 > MAX_BETWEEN
        {
            return Ok(false);
        }
        let log = self.shared.branches.log(branch);
        let between = log.range(from.seq.next(), to.seq).await?;
        Ok(between.iter().all(|(_, entry)| {
            matches!(entry.event, BranchEvent::Commit { .. } | BranchEvent::Void)
        }))
    }

    fn maintenance_commit(
        &self,
        branch: &BranchName,
        id: CommitId,
        head: &Head,
        changed: BTreeMap<TypeId, TableRef>,
        by: &Authorship,
    ) -> Commit {
        let mut commit = Commit::clone(&head.commit);
        commit.id = id;
        commit.branch = branch.clone();
        commit.parents = vec![head.at.clone()];
        commit.version += 1;
        commit.actor.clone_from(&by.actor);
        commit.message.clone_from(&by.message);
        commit.created_at = head.time_after(self.store().clock().now_micros());
        commit.kind = CommitKind::Maintenance;
        commit.control_epoch = head.control_epoch;
        commit.fences = None;
        commit.idempotency = None;
        commit.touched = Vec::new();
        commit.tables.extend(changed);
        commit
    }
}

impl Landed {
    fn nothing() -> Self {
        Self {
            types: Vec::new(),
            commit: None,
        }
    }
}

/// The types that were named, or all: node types first, by name.
fn candidates(snapshot: &Snapshot, names: &[String]) -> Result<Vec<Candidate>> {
    let catalog = &snapshot.schema.catalog;
    let nodes = catalog.nodes.iter().map(|node| Candidate {
        id: node.id,
        edge: false,
        name: node.name.clone(),
    });
    let edges = catalog.edges.iter().map(|edge| Candidate {
        id: edge.id,
        edge: true,
        name: edge.name.clone(),
    });
    let mut all: Vec<Candidate> = nodes.chain(edges).collect();
    all.sort_by(|a, b| (a.edge, &a.name).cmp(&(b.edge, &b.name)));
    let unknown = |name: &&String| !all.iter().any(|candidate| candidate.name == **name);
    if let Some(name) = names.iter().find(unknown) {
        return Err(Error::not_found(format!("type '{name}' not found"))
            .with_hint("name node or edge types of the graph's schema"));
    }
    if !names.is_empty() {
        all.retain(|candidate| names.contains(&candidate.name));
    }
    Ok(all)
}

fn entity<'a>(
    snapshot: &'a Snapshot,
    candidate: &Candidate,
) -> Result<omnigraph_lang::schema::EntityType<'a>> {
    let found = snapshot.schema.catalog.entity(candidate.id);
    found.ok_or_else(|| Error::internal(format!("type '{}' left its schema", candidate.name)))
}

fn report(candidate: &Candidate, outlook: Result<Outlook>) -> TableMaintenance {
    let of_table = TableMaintenance {
        edge: candidate.edge,
        type_name: candidate.name.clone(),
        ..TableMaintenance::default()
    };
    match outlook {
        Ok(outlook) => TableMaintenance {
            fragments: outlook.fragments,
            fragments_removed: outlook.removed,
            fragments_added: outlook.added,
            indexes_extended: outlook.extended,
            pending_indexes: outlook.pending.into_iter().map(pending).collect(),
            ..of_table
        },
        Err(error) => TableMaintenance {
            error: Some(error.message().to_owned()),
            ..of_table
        },
    }
}

fn pending(found: Pending) -> PendingIndex {
    PendingIndex {
        name: found.index,
        reason: found.reason,
    }
}

fn moved(candidate: &Candidate) -> TableMaintenance {
    let error = Error::new(
        ErrorKind::WriteConflict,
        format!(
            "rows of '{}' changed each time while it was rewritten; repeat it when the branch is quieter",
            candidate.name
        ),
    );
    report(candidate, Err(error))
}
