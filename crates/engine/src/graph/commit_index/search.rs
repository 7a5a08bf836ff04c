//! From an id to the commit: by a segment where one has it, else through the histories of the living
//! branches, stepping over what segments cover.

use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

use super::covering;
use super::segment::{Name, Place, commit_of};
use crate::error::{Error, Result};
use crate::graph::branch::BranchState;
use crate::graph::ids::{BranchName, CommitId, Incarnation};
use crate::graph::model::ParentRef;
use crate::graph::{Commit, Graph};
use crate::log::Seq;

/// Entries of a log that are read at once, at most.
const READ_AHEAD: u64 = 64;

impl Graph {
    /// Where a commit lies that a living branch has in its history, and the commit.
    pub(in crate::graph) async fn locate_commit(
        &self,
        id: &CommitId,
    ) -> Result<(ParentRef, Arc<Commit>)> {
        let index = &self.shared.commit_index;
        let known = index.remembered();
        let hinted = match &known {
            Some(names) => self.by_segment(names, id).await?,
            None => None,
        };
        if let Some(found) = hinted {
            return Ok(found);
        }
        let names = index.list().await?;
        if known.as_ref() != Some(&names)
            && let Some(found) = self.by_segment(&names, id).await?
        {
            return Ok(found);
        }
        match self.by_walk(&names, id).await? {
            Some(found) => Ok(found),
            None => Err(Error::commit_not_found(id)),
        }
    }

    /// Tries the segments whose ids it may be among. What they say counts if the entry says the
    /// same and its branch lives; else the walk decides.
    async fn by_segment(
        &self,
        names: &[Name],
        id: &CommitId,
    ) -> Result<Option<(ParentRef, Arc<Commit>)>> {
        for name in names.iter().filter(|name| name.may_have(id)) {
            let Some(segment) = self.shared.commit_index.load(name).await? else {
                continue;
            };
            let Some(place) = segment.find(id) else {
                continue;
            };
            let at = at(&name.branch, place);
            let Ok(Some(commit)) = self.parent(&at).await else {
                continue;
            };
            if let BranchState::Living(head) = self.shared.branches.state(&name.branch).await?
                && head.incarnation == at.incarnation
                && at.seq <= head.seq
            {
                return Ok(Some((at, commit)));
            }
        }
        Ok(None)
    }

    async fn by_walk(
        &self,
        names: &[Name],
        id: &CommitId,
    ) -> Result<Option<(ParentRef, Arc<Commit>)>> {
        let mut walk = Walk {
            graph: self,
            names,
            frontier: BinaryHeap::new(),
            seen: HashSet::new(),
            stepped: HashMap::new(),
            ahead: HashMap::new(),
        };
        for (_, head) in self.shared.branches.living().await? {
            self.shared.commits.put(&head.commit);
            walk.push(&head.at);
        }
        while let Some(ByAge(at)) = walk.frontier.pop() {
            if at.id == *id {
                // Where the log was truncated, the retained history ends.
                return Ok(self.parent(&at).await?.map(|commit| (at, commit)));
            }
            if let Some(found) = walk.step(&at, id).await? {
                let commit = self.parent(&found).await?;
                if let Some(commit) = commit {
                    return Ok(Some((found, commit)));
                }
            }
        }
        Ok(None)
    }
}

/// Positions that are still to be looked at, later ids first: ids begin with a time.
struct Walk<'a> {
    graph: &'a Graph,
    names: &'a [Name],
    frontier: BinaryHeap<ByAge>,
    seen: HashSet<CommitId>,
    /// How far up each segment was stepped over, by life of the branch.
    stepped: HashMap<(Name, Incarnation), Seq>,
    /// How many entries of a log were read at once last.
    ahead: HashMap<BranchName, u64>,
}

impl Walk<'_> {
    fn push(&mut self, at: &ParentRef) {
        if self.seen.insert(at.id) {
            self.frontier.push(ByAge(at.clone()));
        }
    }

    /// Goes on to what is before a position. Answers with the wanted commit's place, if a segment
    /// that was stepped over has it.
    async fn step(&mut self, at: &ParentRef, id: &CommitId) -> Result<Option<ParentRef>> {
        let graph = self.graph;
        if graph.shared.commits.get(&at.id).is_none()
            && let Some(name) = covering(self.names, &at.branch, at.seq)
            && let Some(segment) = graph.shared.commit_index.load(name).await?
        {
            let key = (name.clone(), at.incarnation);
            if self.stepped.get(&key).is_some_and(|seq| *seq >= at.seq) {
                return Ok(None);
            }
            self.stepped.insert(key, at.seq);
            for parent in segment.links_from(at) {
                self.push(parent);
            }
            let found = segment
                .find(id)
                .filter(|place| place.incarnation == at.incarnation && place.seq <= at.seq);
            return Ok(found.map(|place| self::at(&at.branch, place)));
        }
        if graph.shared.commits.get(&at.id).is_none() {
            self.read_ahead(at).await;
        }
        if let Some(commit) = graph.parent(at).await? {
            for parent in &commit.parents {
                self.push(parent);
            }
        }
        Ok(None)
    }

    /// Reads entries before a position that no segment covers, twice as many each time. Entries that
    /// are missing are nobody's concern here.
    async fn read_ahead(&mut self, at: &ParentRef) {
        let ahead = self.ahead.entry(at.branch.clone()).or_insert(0);
        *ahead = (*ahead * 2).clamp(1, READ_AHEAD);
        let covered = self
            .names
            .iter()
            .filter(|name| name.branch == at.branch && name.last < at.seq)
            .map(|name| name.last.0 + 1)
            .max();
        let from = (at.seq.0 + 1).saturating_sub(*ahead);
        let from = Seq(from.max(covered.unwrap_or(0)));
        if from == at.seq {
            return;
        }
        let log = self.graph.shared.branches.log(&at.branch);
        let Ok(entries) = log.range(from, at.seq).await else {
            return;
        };
        for (_, entry) in &entries {
            if let Some((incarnation, commit)) = commit_of(entry)
                && incarnation == at.incarnation
            {
                self.graph.shared.commits.put(&Arc::new(commit.clone()));
            }
        }
    }
}

/// Later ids are greater.
#[derive(PartialEq, Eq)]
struct ByAge(ParentRef);

impl Ord for ByAge {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0.id, self.0.seq).cmp(&(other.0.id, other.0.seq))
    }
}

impl PartialOrd for ByAge {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

fn at(branch: &BranchName, place: Place) -> ParentRef {
    ParentRef {
        branch: branch.clone(),
        incarnation: place.incarnation,
        seq: place.seq,
        id: place.id,
    }
}

impl Error {
    /// No branch has such a commit. Also what callers are told of one that they may not see.
    pub fn commit_not_found(id: &CommitId) -> Self {
        Error::not_found(format!("commit '{id}' not found"))
    }
}
