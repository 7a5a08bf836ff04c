//! The first-parent chain of a branch: stretches of branch logs, one for each level of forking. Its
//! commits are found by reading forward, so a poll costs what it delivers and not its distance from
//! the head.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::graph::model::BranchEvent;
use crate::graph::{BranchName, Commit, CommitId, Graph, Incarnation, ParentRef};
use crate::log::{self, Seq};

/// A commit and where it lies.
#[derive(Clone, Debug)]
pub(in crate::graph) struct Placed {
    pub(super) at: ParentRef,
    pub(super) commit: Arc<Commit>,
}

/// A stretch of one life of a branch.
#[derive(Clone, Debug)]
pub(in crate::graph) struct Span {
    pub(in crate::graph) branch: BranchName,
    pub(in crate::graph) incarnation: Incarnation,
    /// The entry that began this life.
    pub(in crate::graph) first: Seq,
    pub(in crate::graph) last: Seq,
}

/// What was read forward.
pub(super) enum Forward {
    /// The next commits, oldest first.
    Commits(Vec<Placed>),
    /// Entries behind the commit were reclaimed.
    Reclaimed,
    /// The commit is not on the chain.
    Elsewhere,
}

impl Graph {
    /// Up to `limit` commits behind `after` on the first-parent chain that ends at `cut`.
    pub(super) async fn forward(
        &self,
        after: &ParentRef,
        cut: &ParentRef,
        cut_commit: Option<&Arc<Commit>>,
        limit: usize,
    ) -> Result<Forward> {
        if after.id == cut.id {
            return Ok(Forward::Commits(Vec::new()));
        }
        if let Some(commit) = cut_commit
            && let Some(known) = self.known_behind(after, cut, commit, limit)
        {
            return Ok(Forward::Commits(known));
        }
        let mut spans = Vec::new();
        let mut end = cut.clone();
        loop {
            let Some(span) = self.span(&end).await? else {
                return Ok(Forward::Reclaimed);
            };
            if span.has(after) {
                spans.push(span);
                break;
            }
            let begins = self.begins(&span).await?;
            spans.push(span);
            match begins {
                Begins::From(base) => end = base,
                Begins::Here(_) => return Ok(Forward::Elsewhere),
                Begins::Reclaimed => return Ok(Forward::Reclaimed),
            }
        }
        let mut found = Vec::new();
        for (level, span) in spans.iter().rev().enumerate() {
            let from = if level == 0 {
                after.seq.next()
            } else {
                span.first
            };
            if !self.read_span(span, from, limit, &mut found).await? {
                return Ok(Forward::Reclaimed);
            }
            if found.len() >= limit {
                break;
            }
        }
        Ok(Forward::Commits(found))
    }

    /// The first commit of the history behind a commit, if it is still there.
    pub(super) async fn oldest(&self, cut: &ParentRef) -> Result<Option<Placed>> {
        let mut end = cut.clone();
        loop {
            let Some(span) = self.span(&end).await? else {
                return Ok(None);
            };
            match self.begins(&span).await? {
                Begins::From(base) => end = base,
                Begins::Here(first) => return Ok(Some(*first)),
                Begins::Reclaimed => return Ok(None),
            }
        }
    }

    /// Where a commit of the chain lies.
    pub(super) async fn place_of(&self, cut: &Placed, id: &CommitId) -> Result<Option<ParentRef>> {
        let mut at = cut.clone();
        loop {
            if at.at.id == *id {
                return Ok(Some(at.at));
            }
            let Some(parent) = at.commit.parents.first().cloned() else {
                return Ok(None);
            };
            if parent.id == *id {
                return Ok(Some(parent));
            }
            let Some(commit) = self.parent(&parent).await? else {
                return Ok(None);
            };
            at = Placed { at: parent, commit };
        }
    }

    /// The commits in between where all of them are at hand.
    fn known_behind(
        &self,
        after: &ParentRef,
        cut: &ParentRef,
        commit: &Arc<Commit>,
        limit: usize,
    ) -> Option<Vec<Placed>> {
        let mut found = vec![Placed {
            at: cut.clone(),
            commit: commit.clone(),
        }];
        loop {
            let parent = found.last()?.commit.parents.first()?.clone();
            if parent.id == after.id {
                found.reverse();
                return Some(found);
            }
            if found.len() == limit {
                return None;
            }
            let commit = self.shared.commits.get(&parent.id)?;
            found.push(Placed { at: parent, commit });
        }
    }

    /// The stretch of the chain that ends at this commit; `None` if its end was reclaimed.
    pub(in crate::graph) async fn span(&self, end: &ParentRef) -> Result<Option<Span>> {
        let entry = self.shared.branches.log(&end.branch).get(end.seq).await?;
        let first = match entry.map(|entry| entry.event) {
            None => return Ok(None),
            Some(BranchEvent::Commit { created, .. }) => created.seq,
            Some(BranchEvent::Created { .. }) => end.seq,
            Some(_) => {
                return Err(Error::corrupt(format!(
                    "entry {} of branch {} is no commit",
                    end.seq, end.branch
                )));
            }
        };
        Ok(Some(Span {
            branch: end.branch.clone(),
            incarnation: end.incarnation,
            first,
            last: end.seq,
        }))
    }

    pub(in crate::graph) async fn begins(&self, span: &Span) -> Result<Begins> {
        let log = self.shared.branches.log(&span.branch);
        match log.get(span.first).await?.map(|entry| entry.event) {
            None => Ok(Begins::Reclaimed),
            Some(BranchEvent::Created {
                base: Some(base), ..
            }) => Ok(Begins::From(base)),
            Some(BranchEvent::Created {
                first: Some(first),
                incarnation,
                ..
            }) => Ok(Begins::Here(Box::new(Placed {
                at: ParentRef {
                    branch: span.branch.clone(),
                    incarnation,
                    seq: span.first,
                    id: first.id,
                },
                commit: Arc::new(*first),
            }))),
            Some(_) => Err(Error::corrupt(format!(
                "entry {} of branch {} does not begin it",
                span.first, span.branch
            ))),
        }
    }

    /// Adds the commits of a stretch; whether all entries were there.
    async fn read_span(
        &self,
        span: &Span,
        from: Seq,
        limit: usize,
        found: &mut Vec<Placed>,
    ) -> Result<bool> {
        let log = self.shared.branches.log(&span.branch);
        let mut next = from;
        while next <= span.last && found.len() < limit {
            let wanted = (limit - found.len()) as u64;
            let last = Seq(next.0.saturating_add(wanted - 1)).min(span.last);
            let entries = match log.range(next, last).await {
                Ok(entries) => entries,
                Err(log::Error::Missing { .. }) => return Ok(false),
                Err(error) => return Err(error.into()),
            };
            for (seq, entry) in entries {
                let commit = match entry.event {
                    BranchEvent::Commit { commit, .. } => commit,
                    BranchEvent::Created {
                        first: Some(first), ..
                    } => first,
                    _ => continue,
                };
                let commit = Arc::new(*commit);
                self.shared.commits.put(&commit);
                found.push(Placed {
                    at: ParentRef {
                        branch: span.branch.clone(),
                        incarnation: span.incarnation,
                        seq,
                        id: commit.id,
                    },
                    commit,
                });
            }
            next = last.next();
        }
        Ok(true)
    }
}

/// What is before a stretch.
pub(in crate::graph) enum Begins {
    /// The branch was made from this commit.
    From(ParentRef),
    /// Nothing: the history begins with this commit.
    Here(Box<Placed>),
    /// The entry is gone.
    Reclaimed,
}

impl Begins {
    /// The commit that the branch was made from.
    pub(in crate::graph) fn base(self) -> Option<ParentRef> {
        match self {
            Self::From(base) => Some(base),
            Self::Here(_) | Self::Reclaimed => None,
        }
    }
}

impl Span {
    fn has(&self, at: &ParentRef) -> bool {
        self.branch == at.branch
            && self.incarnation == at.incarnation
            && (self.first..=self.last).contains(&at.seq)
    }
}
