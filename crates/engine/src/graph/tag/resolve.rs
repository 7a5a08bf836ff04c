//! From what a read names to a commit and its place: a branch, a commit, a tag, a time, or a name
//! that may be any of these.

use std::sync::Arc;

use super::{TagName, TagState, missing};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::changes::gap;
use crate::graph::model::BranchEvent;
use crate::graph::{BranchName, Commit, CommitId, Graph, ParentRef, Target};
use crate::log::Seq;

impl Graph {
    /// The commit that a target means now, and where it lies.
    pub(crate) async fn locate_target(&self, target: &Target) -> Result<(ParentRef, Arc<Commit>)> {
        match target {
            Target::Branch(name) => {
                let head = self.shared.branches.head(name).await?;
                Ok((head.at, head.commit))
            }
            Target::Commit(id) => self.locate_commit(id).await,
            Target::Tag(name) => self.tagged_commit(name).await,
            Target::AsOf { branch, at } => self.as_of(branch, *at).await,
            Target::Named(text) => {
                let target = self.what_is(text).await?;
                Box::pin(self.locate_target(&target)).await
            }
        }
    }

    /// The commit that a target means now, without its place.
    pub(crate) async fn pinned(&self, target: &Target) -> Result<Arc<Commit>> {
        match target {
            Target::Commit(id) => self.find_commit(id).await,
            other => Ok(self.locate_target(other).await?.1),
        }
    }

    /// A commit's id if there is such a commit, else a branch, else a tag.
    pub(crate) async fn what_is(&self, text: &str) -> Result<Target> {
        let text = text.trim();
        if let Ok(id) = CommitId::parse(text)
            && self.find_commit(&id).await.is_ok()
        {
            return Ok(Target::Commit(id));
        }
        let branch = BranchName::parse(text)?;
        match self.shared.branches.head(&branch).await {
            Ok(_) => return Ok(Target::Branch(branch)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let tag = TagName::parse(text)?;
        match self.shared.tags.state(&tag).await? {
            TagState::Living { .. } => Ok(Target::Tag(tag)),
            TagState::Absent | TagState::Deleted { .. } => Err(Error::not_found(format!(
                "'{text}' is no commit, no branch and no tag"
            ))),
        }
    }

    async fn tagged_commit(&self, name: &TagName) -> Result<(ParentRef, Arc<Commit>)> {
        let TagState::Living { at, .. } = self.shared.tags.state(name).await? else {
            return Err(missing(name));
        };
        let commit = self.parent(&at).await?.ok_or_else(|| gap(None, at.id))?;
        Ok((at, commit))
    }

    /// The newest commit of the branch's first-parent chain that is not younger than `at`. Found by
    /// bisecting, so that it costs a few requests however long the history is: times never go back
    /// along the chain ([`crate::graph::branch::Head::time_after`]). Only in histories that
    /// older releases have written they may, by as much as writers' clocks differed.
    async fn as_of(&self, branch: &BranchName, at: i64) -> Result<(ParentRef, Arc<Commit>)> {
        let head = self.shared.branches.head(branch).await?;
        if head.commit.created_at <= at {
            return Ok((head.at, head.commit));
        }
        let mut end = head.at;
        loop {
            let Some(span) = self.span(&end).await? else {
                return Err(gap(None, end.id));
            };
            let log = self.shared.branches.log(&span.branch);
            // The newest entry that is old enough lies in `low..high`, if there is one.
            let (mut low, mut high) = (span.first.0, span.last.0 + 1);
            let mut found: Option<(ParentRef, Arc<Commit>)> = None;
            let mut reclaimed = false;
            while low < high {
                let middle = low + (high - low) / 2;
                let mut seq = middle;
                let commit = loop {
                    match log.get(Seq(seq)).await?.map(|entry| entry.event) {
                        None => {
                            reclaimed = true;
                            break None;
                        }
                        Some(BranchEvent::Commit { commit, .. }) => break Some(commit),
                        Some(BranchEvent::Created {
                            first: Some(first), ..
                        }) => break Some(first),
                        Some(_) if seq > low => seq -= 1,
                        Some(_) => break None,
                    }
                };
                match commit {
                    Some(commit) if commit.created_at > at => high = seq,
                    Some(commit) => {
                        let commit = Arc::new(*commit);
                        self.shared.commits.put(&commit);
                        let place = ParentRef {
                            branch: span.branch.clone(),
                            incarnation: span.incarnation,
                            seq: Seq(seq),
                            id: commit.id,
                        };
                        found = Some((place, commit));
                        low = middle + 1;
                    }
                    // Nothing to see there: what matters lies behind it.
                    None => low = middle + 1,
                }
            }
            if let Some(found) = found {
                return Ok(found);
            }
            match (reclaimed, self.begins(&span).await?.base()) {
                (true, _) => return Err(gap(None, end.id)),
                (false, Some(base)) => end = base,
                (false, None) => {
                    return Err(Error::not_found(format!(
                        "branch '{branch}' has no commit that old"
                    )));
                }
            }
        }
    }
}
