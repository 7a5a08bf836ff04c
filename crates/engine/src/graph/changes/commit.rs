//! The changes of one commit against its first parent.

use serde::{Deserialize, Serialize};

use super::boundary::{gap, or_gap};
use super::token::{bound, open, seal};
use super::{
    Budget, ChangeBlock, ChangeCause, ChangeFilter, ChangePage, CommitChanges, Position, Walked,
    parentless, refuse_boundary,
};
use crate::error::Result;
use crate::graph::{Commit, CommitId, CommitKind, Graph, Incarnation};

const KIND: &str = "commit changes";

#[derive(Serialize, Deserialize)]
struct Token {
    g: Incarnation,
    c: CommitId,
    f: String,
    p: Option<Position>,
}

impl Graph {
    /// The changes of a commit against its first parent, page by page.
    ///
    /// # Errors
    /// `ChangeDiffRefused` for the first commit of a graph and across a change of the schema,
    /// `ChangeFeedGap` when the parent was reclaimed, `CursorRejected` for a token of another list.
    pub async fn commit_changes(
        &self,
        id: &CommitId,
        filter: &ChangeFilter,
        page: &ChangePage,
    ) -> Result<CommitChanges> {
        let size = page.size()?;
        let behind = match &page.token {
            None => None,
            Some(token) => {
                let token: Token = open(KIND, token)?;
                bound("graph", &token.g, &self.root().incarnation)?;
                bound("commit", &token.c, id)?;
                bound("filter", &token.f, &filter.digest())?;
                token.p
            }
        };
        let commit = self.find_commit(id).await?;
        if commit.parents.is_empty() {
            return Err(parentless(&commit));
        }
        let mut block = ChangeBlock {
            cause: ChangeCause::of(&commit),
            changes: Vec::new(),
        };
        let parent = match self.first_parent(&commit).await? {
            Some(parent) => parent,
            None => return Err(gap(None, commit.parents[0].id)),
        };
        let kept = self.refuse_old_if_reclaimed(&parent).await;
        kept.map_err(|error| or_gap(error, parent.id))?;
        let (from, to) = (self.side(&parent).await?, self.side(&commit).await?);
        let selection = filter.between(&from, &to)?;
        if says_nothing(&commit) {
            return Ok(CommitChanges { block, next: None });
        }
        refuse_boundary(&from, &to, &selection)?;
        let mut budget = Budget::new(size);
        let walked = self
            .walk(
                &from,
                &to,
                &selection,
                behind.as_ref(),
                &mut budget,
                &mut block.changes,
            )
            .await?;
        let next = match walked {
            Walked::Through => None,
            Walked::Full(p) => Some(seal(
                KIND,
                &Token {
                    g: self.root().incarnation,
                    c: *id,
                    f: filter.digest(),
                    p,
                },
            )?),
        };
        Ok(CommitChanges { block, next })
    }
}

/// Rewrites and fences change no entity by what they are.
pub(in crate::graph) fn says_nothing(commit: &Commit) -> bool {
    matches!(commit.kind, CommitKind::Maintenance | CommitKind::Fence)
}
