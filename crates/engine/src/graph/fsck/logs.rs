//! The branch logs: without holes, in a legal order, with parents that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore as _;

use super::super::branch::Head;
use super::super::model::{BranchEntry, BranchEvent, CreatedRef, ParentRef};
use super::super::{BranchName, Commit, CommitId, CommitKind, Graph};
use super::{FsckReport, Survey};
use crate::error::{Error, Result};
use crate::log::Seq;

/// Logs that are read at the same time.
const PARALLEL: usize = 8;
const RESTORE: &str = "restore the graph from a backup";

/// An entry with its stored format; `None` if it is not there any more.
type Stored = std::result::Result<Option<(u64, BranchEntry)>, crate::log::Error>;

/// One log as it was read.
struct Read {
    name: BranchName,
    floor: Seq,
    entries: BTreeMap<Seq, BranchEntry>,
    /// Of the entries, in no order.
    formats: Vec<u64>,
    broken: Vec<(Seq, String)>,
}

/// Follows one log from entry to entry.
struct Reader<'a> {
    log: &'a Read,
    places: &'a BTreeMap<(BranchName, Seq), CommitId>,
    floors: &'a BTreeMap<BranchName, Seq>,
    commits: &'a BTreeMap<CommitId, Arc<Commit>>,
    /// The branch as the entries so far leave it. `None` before the first that is there.
    state: State,
    report: &'a mut FsckReport,
}

enum State {
    Unknown,
    Absent,
    Living(Head),
    Ended,
}

impl Graph {
    pub(super) async fn check_logs(&self, report: &mut FsckReport) -> Result<Survey> {
        let names = self.log_names(report).await?;
        let logs: Vec<Read> = futures::stream::iter(names)
            .map(|name| self.read_log(name))
            .buffered(PARALLEL)
            .try_collect()
            .await?;
        let mut survey = Survey::default();
        let mut places = BTreeMap::new();
        let mut floors = BTreeMap::new();
        for log in &logs {
            report.branches += 1;
            report.entries += log.entries.len() as u64;
            for format in &log.formats {
                report.formatted("branch entry", *format, crate::log::FORMAT);
            }
            floors.insert(log.name.clone(), log.floor);
            for (seq, entry) in &log.entries {
                let Some(commit) = commit_of(&entry.event) else {
                    continue;
                };
                let place = format!("branch {} entry {seq}", log.name);
                if survey.commits.contains_key(&commit.id) {
                    report.error(
                        place,
                        format!("commit {} is there twice", commit.id),
                        RESTORE,
                    );
                    continue;
                }
                places.insert((log.name.clone(), *seq), commit.id);
                survey.commits.insert(commit.id, Arc::new(commit.clone()));
            }
        }
        for log in &logs {
            let reader = Reader {
                log,
                places: &places,
                floors: &floors,
                commits: &survey.commits,
                state: State::Unknown,
                report,
            };
            if let Some(head) = reader.follow() {
                survey.heads.push((log.name.clone(), head.commit));
            }
        }
        self.check_markers(&survey, report).await?;
        Ok(survey)
    }

    /// Names that have a directory of log entries.
    async fn log_names(&self, report: &mut FsckReport) -> Result<BTreeSet<BranchName>> {
        let prefix = self
            .store()
            .path(&format!("{}/branches", self.shared.root.path()));
        let listed = self
            .store()
            .object_store()
            .list_with_delimiter(Some(&prefix))
            .await?;
        let mut names = BTreeSet::from([BranchName::main()]);
        for directory in listed.common_prefixes {
            let segment = directory.filename().unwrap_or_default();
            match BranchName::decode(segment) {
                Ok(name) => {
                    names.insert(name);
                }
                Err(error) => report.warning(
                    directory.to_string(),
                    format!("is no log of a branch: {}", error.message()),
                    "remove it if nobody knows what it is",
                ),
            }
        }
        Ok(names)
    }

    async fn read_log(&self, name: BranchName) -> Result<Read> {
        let log = self.shared.branches.log(&name);
        let (floor, listed) = log.positions().await?;
        let read: Vec<(Seq, Stored)> = futures::stream::iter(listed)
            .map(|seq| {
                let log = log.clone();
                async move { (seq, log.get_stored(seq).await) }
            })
            .buffered(PARALLEL)
            .collect()
            .await;
        let mut entries = BTreeMap::new();
        let mut formats = Vec::new();
        let mut broken = Vec::new();
        for (seq, entry) in read {
            match entry {
                Ok(Some((format, entry))) => {
                    formats.push(format);
                    entries.insert(seq, entry);
                }
                // Truncated between the listing and the read.
                Ok(None) => {}
                Err(
                    error @ (crate::log::Error::Decode { .. } | crate::log::Error::Format { .. }),
                ) => {
                    broken.push((seq, error.to_string()));
                }
                Err(error) => return Err(Error::from(error)),
            }
        }
        Ok(Read {
            name,
            floor,
            entries,
            formats,
            broken,
        })
    }

    /// Markers are hints, but a branch without one is missing in listings.
    async fn check_markers(&self, survey: &Survey, report: &mut FsckReport) -> Result<()> {
        let marked: BTreeSet<BranchName> =
            self.shared.branches.names().await?.into_iter().collect();
        let living: BTreeSet<BranchName> =
            survey.heads.iter().map(|(name, _)| name.clone()).collect();
        for name in living.difference(&marked) {
            report.warning(
                format!("branch {name}"),
                "lives, but its marker is missing, so listings do not show it",
                "write to the branch under its name, or create it again: the refusal renews the marker",
            );
        }
        for name in marked.difference(&living).filter(|name| !name.is_main()) {
            report.warning(
                format!("branch {name}"),
                "has ended, but its marker is still there",
                "delete it again; nothing else is affected",
            );
        }
        Ok(())
    }
}

fn commit_of(event: &BranchEvent) -> Option<&Commit> {
    match event {
        BranchEvent::Commit { commit, .. } => Some(commit),
        BranchEvent::Created { first, .. } => first.as_deref(),
        BranchEvent::Void | BranchEvent::Swept { .. } | BranchEvent::Deleted { .. } => None,
    }
}

impl Reader<'_> {
    fn place(&self, seq: Seq) -> String {
        format!("branch {} entry {seq}", self.log.name)
    }

    fn wrong(&mut self, seq: Seq, message: impl Into<String>) {
        let place = self.place(seq);
        self.report.error(place, message, RESTORE);
    }

    /// The head that the whole log leaves behind, if the branch lives.
    fn follow(mut self) -> Option<Head> {
        let log = self.log;
        for (seq, message) in &log.broken {
            self.wrong(*seq, message.clone());
        }
        if log.entries.is_empty() && log.broken.is_empty() && log.name.is_main() {
            self.wrong(Seq::FIRST, "the log of main is empty");
        }
        let mut expected = Seq::FIRST;
        for (seq, entry) in &log.entries {
            if *seq != expected {
                let truncated = *seq <= log.floor.max(Seq::FIRST.next());
                let broken = log.broken.iter().any(|(broken, _)| *broken < *seq);
                if !truncated && !broken && expected >= log.floor {
                    self.wrong(
                        *seq,
                        format!("entries {expected} and on are missing before it"),
                    );
                }
                self.state = State::Unknown;
            } else if *seq == Seq::FIRST {
                self.state = State::Absent;
            }
            self.step(*seq, &entry.event);
            expected = seq.next();
        }
        match self.state {
            State::Living(head) => Some(head),
            State::Unknown | State::Absent | State::Ended => None,
        }
    }

    fn step(&mut self, seq: Seq, event: &BranchEvent) {
        match event {
            BranchEvent::Void => {}
            BranchEvent::Swept { before, .. } => {
                if let (State::Living(head), Some(before)) = (&self.state, before)
                    && head.said != *before
                {
                    let said = head.said;
                    self.wrong(
                        seq,
                        format!("points back to entry {before}, but {said} is what counts"),
                    );
                }
            }
            BranchEvent::Created {
                incarnation,
                base,
                first,
                created_at,
                base_commit,
                control_epoch,
                ..
            } => {
                if matches!(self.state, State::Living(_)) {
                    self.wrong(seq, "creates a branch that lives");
                }
                let created = CreatedRef {
                    seq,
                    created_at: *created_at,
                    base: base.as_ref().map(|base| base.id),
                };
                if let Some(base) = base {
                    self.parent_exists(seq, base);
                }
                let commit = match (first, base_commit) {
                    (Some(first), _) => {
                        self.commit(seq, first, None);
                        Arc::new(Commit::clone(first))
                    }
                    (None, Some(base)) => Arc::new(Commit::clone(base)),
                    (None, None) => {
                        self.wrong(seq, "creates a branch from nothing");
                        return;
                    }
                };
                let at = match (first, base) {
                    (None, Some(base)) => base.clone(),
                    _ => self.at(seq, *incarnation, commit.id),
                };
                self.state = State::Living(Head {
                    seq,
                    said: seq,
                    at,
                    control_epoch: (*control_epoch).max(commit.control_epoch),
                    commit,
                    incarnation: *incarnation,
                    created,
                });
            }
            BranchEvent::Commit {
                incarnation,
                commit,
                created,
            } => self.committed(seq, *incarnation, commit, created),
            BranchEvent::Deleted {
                incarnation, last, ..
            } => {
                match &self.state {
                    State::Living(head) if head.incarnation == *incarnation && head.at == *last => {
                    }
                    State::Living(_) => self.wrong(seq, "ends another head than the branch has"),
                    State::Absent | State::Ended => {
                        self.wrong(seq, "ends a branch that does not live");
                    }
                    State::Unknown => {}
                }
                self.state = State::Ended;
            }
        }
    }

    fn committed(
        &mut self,
        seq: Seq,
        incarnation: super::super::Incarnation,
        commit: &Commit,
        created: &CreatedRef,
    ) {
        let before = match &self.state {
            State::Living(head) => Some(head.clone()),
            State::Unknown => None,
            State::Absent | State::Ended => {
                self.wrong(seq, "commits to a branch that does not live");
                None
            }
        };
        if let Some(head) = &before {
            if head.incarnation != incarnation {
                self.wrong(seq, "commits to another life of the branch");
            }
            if commit.parents.first() != Some(&head.at) {
                self.wrong(seq, "its first parent is not the head before it");
            }
            if commit.control_epoch < head.control_epoch {
                self.wrong(
                    seq,
                    "its control epoch is lower than that of the entry before it",
                );
            }
        }
        self.commit(seq, commit, before.as_ref());
        self.state = State::Living(Head {
            seq,
            said: seq,
            at: self.at(seq, incarnation, commit.id),
            control_epoch: commit.control_epoch,
            commit: Arc::new(commit.clone()),
            incarnation,
            created: created.clone(),
        });
    }

    /// What must hold for a commit wherever it lies.
    fn commit(&mut self, seq: Seq, commit: &Commit, before: Option<&Head>) {
        if commit.branch != self.log.name {
            self.wrong(seq, format!("its commit names branch {}", commit.branch));
        }
        for parent in &commit.parents {
            self.parent_exists(seq, parent);
        }
        let known: Vec<&Arc<Commit>> = commit
            .parents
            .iter()
            .filter_map(|parent| self.commits.get(&parent.id))
            .collect();
        if let Some(highest) = known.iter().map(|parent| parent.version).max()
            && commit.version <= highest
        {
            self.wrong(
                seq,
                format!("version {} is not above its parents'", commit.version),
            );
        }
        let moved = before.is_some_and(|head| head.commit.schema != commit.schema);
        if moved
            && matches!(
                commit.kind,
                CommitKind::Mutate | CommitKind::Load | CommitKind::Maintenance | CommitKind::Fence
            )
        {
            self.wrong(seq, "a commit of data moves the schema");
        }
    }

    /// A parent lies where the commit says, or below the floor of that log.
    fn parent_exists(&mut self, seq: Seq, parent: &ParentRef) {
        let found = self.places.get(&(parent.branch.clone(), parent.seq));
        let floor = self.floors.get(&parent.branch).copied();
        match (found, floor) {
            (Some(id), _) if *id == parent.id => {}
            (Some(id), _) => self.wrong(
                seq,
                format!(
                    "its parent {} should lie at entry {} of branch {}, where {id} is",
                    parent.id, parent.seq, parent.branch
                ),
            ),
            (None, Some(floor)) if parent.seq < floor => {}
            (None, _) => self.wrong(
                seq,
                format!(
                    "its parent {} is missing at entry {} of branch {}",
                    parent.id, parent.seq, parent.branch
                ),
            ),
        }
    }

    fn at(&self, seq: Seq, incarnation: super::super::Incarnation, id: CommitId) -> ParentRef {
        ParentRef {
            branch: self.log.name.clone(),
            incarnation,
            seq,
            id,
        }
    }
}
