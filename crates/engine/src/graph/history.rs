//! Walking the history: what is reachable from a head, newest first.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;

use super::model::{BranchEvent, ParentRef};
use super::{BranchName, Commit, CommitId, Graph};
use crate::error::{Error, Result};

/// Commits that are kept in memory.
const KEPT_COMMITS: usize = 20_000;

/// Some commits of a history, newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct CommitPage {
    /// The commits.
    pub commits: Vec<Commit>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

/// Commits by id: they never change.
#[derive(Debug, Default)]
pub(super) struct CommitCache {
    known: Mutex<HashMap<CommitId, Arc<Commit>>>,
}

impl CommitCache {
    pub(super) fn get(&self, id: &CommitId) -> Option<Arc<Commit>> {
        self.known.lock().get(id).cloned()
    }

    pub(super) fn put(&self, commit: &Arc<Commit>) {
        let mut known = self.known.lock();
        if known.len() >= KEPT_COMMITS {
            known.clear();
        }
        known.insert(commit.id, commit.clone());
    }
}

/// The order of histories: later versions first.
#[derive(PartialEq, Eq)]
pub(super) struct Newest(u64, i64, CommitId);

impl Newest {
    pub(super) fn of(commit: &Commit) -> Self {
        Self(commit.version, commit.created_at, commit.id)
    }
}

impl Ord for Newest {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.0, self.1, self.2).cmp(&(other.0, other.1, other.2))
    }
}

impl PartialOrd for Newest {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Commits reachable from one, newest first.
struct Walk<'a> {
    graph: &'a Graph,
    seen: HashSet<CommitId>,
    frontier: BinaryHeap<(Newest, CommitId)>,
}

impl<'a> Walk<'a> {
    fn from(graph: &'a Graph, head: &Arc<Commit>) -> Self {
        graph.shared.commits.put(head);
        Self {
            graph,
            seen: HashSet::from([head.id]),
            frontier: BinaryHeap::from([(Newest::of(head), head.id)]),
        }
    }

    async fn next(&mut self) -> Result<Option<Arc<Commit>>> {
        let Some((_, id)) = self.frontier.pop() else {
            return Ok(None);
        };
        let commit =
            self.graph.shared.commits.get(&id).ok_or_else(|| {
                Error::internal(format!("commit {id} left the cache during a walk"))
            })?;
        for parent in &commit.parents {
            if self.seen.insert(parent.id)
                && let Some(parent) = self.graph.parent(parent).await?
            {
                self.frontier.push((Newest::of(&parent), parent.id));
            }
        }
        Ok(Some(commit))
    }
}

impl Graph {
    /// The history of a branch, inherited part included, newest first. `after` is the `next` of an
    /// earlier page.
    pub async fn commits(
        &self,
        branch: &BranchName,
        limit: Option<usize>,
        after: Option<&str>,
    ) -> Result<CommitPage> {
        let head = self.shared.branches.head(branch).await?;
        let after = after.map(parse_token).transpose()?;
        let mut walk = Walk::from(self, &head.commit);
        let mut commits = Vec::new();
        while let Some(commit) = walk.next().await? {
            if after
                .as_ref()
                .is_some_and(|after| Newest::of(&commit) >= *after)
            {
                continue;
            }
            commits.push(Commit::clone(&commit));
            if limit == Some(commits.len()) {
                let next = (!walk.frontier.is_empty())
                    .then(|| format!("{}.{}.{}", commit.version, commit.created_at, commit.id));
                return Ok(CommitPage { commits, next });
            }
        }
        Ok(CommitPage {
            commits,
            next: None,
        })
    }

    /// One commit, wherever it was written.
    pub async fn commit(&self, id: &CommitId) -> Result<Commit> {
        Ok(Commit::clone(&*self.find_commit(id).await?))
    }

    /// Looks in the cache, then in the index segments, then through the histories of the living
    /// branches.
    pub(super) async fn find_commit(&self, id: &CommitId) -> Result<Arc<Commit>> {
        if let Some(commit) = self.shared.commits.get(id) {
            return Ok(commit);
        }
        Ok(self.locate_commit(id).await?.1)
    }

    /// Whether `wanted` is reachable from `head`; nothing behind `searched` is looked at again.
    pub(super) async fn reaches(
        &self,
        head: &Arc<Commit>,
        wanted: &CommitId,
        searched: Option<&CommitId>,
    ) -> Result<bool> {
        if head.id == *wanted {
            return Ok(true);
        }
        let mut walk = Walk::from(self, head);
        walk.seen.extend(searched);
        while let Some(commit) = walk.next().await? {
            if commit.id == *wanted {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The first parent; `None` for the first commit of a graph, and where the retained history ends.
    pub(super) async fn first_parent(&self, commit: &Commit) -> Result<Option<Arc<Commit>>> {
        match commit.parents.first() {
            Some(parent) => self.parent(parent).await,
            None => Ok(None),
        }
    }

    /// Where a commit lies is known from the walk that found it.
    pub(super) async fn parent(&self, at: &ParentRef) -> Result<Option<Arc<Commit>>> {
        if let Some(commit) = self.shared.commits.get(&at.id) {
            return Ok(Some(commit));
        }
        let entry = self.shared.branches.log(&at.branch).get(at.seq).await?;
        let commit = match entry.map(|entry| entry.event) {
            // The log was truncated there: the retained history ends.
            None => return Ok(None),
            Some(BranchEvent::Commit { commit, .. }) => commit,
            Some(BranchEvent::Created {
                first: Some(first), ..
            }) => first,
            Some(_) => {
                return Err(Error::corrupt(format!(
                    "entry {} of branch {} is no commit",
                    at.seq, at.branch
                )));
            }
        };
        if commit.id != at.id {
            return Err(Error::corrupt(format!(
                "entry {} of branch {} holds commit {} instead of {}",
                at.seq, at.branch, commit.id, at.id
            )));
        }
        let commit = Arc::new(*commit);
        self.shared.commits.put(&commit);
        Ok(Some(commit))
    }
}

fn parse_token(token: &str) -> Result<Newest> {
    let parse = || {
        let mut parts = token.split('.');
        let newest = Newest(
            parts.next()?.parse().ok()?,
            parts.next()?.parse().ok()?,
            CommitId::parse(parts.next()?).ok()?,
        );
        parts.next().is_none().then_some(newest)
    };
    parse().ok_or_else(|| {
        Error::invalid("the page token was not made by this listing").with_hint("start without one")
    })
}
