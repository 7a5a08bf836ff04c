//! What differs between two states.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::token::{bound, open, seal};
use super::{Budget, ChangeFilter, ChangePage, EntityChange, Position, Walked, refuse_boundary};
use crate::error::{Error, Result};
use crate::graph::{
    BranchName, Commit, CommitId, Graph, Incarnation, ReadOptions, Snapshot, Target, Touched,
};

const KIND: &str = "diff";

/// How two states are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiffOptions {
    /// Compares the newer side with the merge base of both.
    pub from_merge_base: bool,
    /// Only counts.
    pub summary_only: bool,
    /// Which changes are wanted.
    pub filter: ChangeFilter,
    /// Which part of them.
    pub page: ChangePage,
}

/// One side of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct DiffSide {
    /// The branch that was asked for, if one was.
    pub branch: Option<BranchName>,
    /// The commit.
    pub commit: CommitId,
}

/// What differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Diff {
    /// The older side as it was asked for.
    pub from: DiffSide,
    /// The newer side.
    pub to: DiffSide,
    /// The commit that `to` was compared with, if the merge base was asked for.
    pub merge_base: Option<CommitId>,
    /// How many entities differ, by type: with the first page only.
    pub summary: Vec<Touched>,
    /// The changes: nodes before edges, by type identity, then by id.
    pub changes: Vec<EntityChange>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

/// The compared commits stay fixed while a branch moves.
#[derive(Serialize, Deserialize)]
struct Token {
    g: Incarnation,
    s: [String; 2],
    a: CommitId,
    b: CommitId,
    m: bool,
    f: String,
    p: Option<Position>,
}

impl Graph {
    /// What differs between two states, page by page. A page token keeps to the commits of the first
    /// page, wherever the branches have moved.
    ///
    /// # Errors
    /// `ChangeDiffRefused` where the schemas differ in what images mean, `CursorRejected` for a token
    /// of another list.
    pub async fn diff(&self, from: &Target, to: &Target, options: &DiffOptions) -> Result<Diff> {
        let size = options.page.size()?;
        let asked = [digest_of(from), digest_of(to)];
        let token = match &options.page.token {
            None => None,
            Some(text) => {
                let token: Token = open(KIND, text)?;
                bound("graph", &token.g, &self.root().incarnation)?;
                bound("comparison", &token.s, &asked)?;
                bound("comparison", &token.m, &options.from_merge_base)?;
                bound("filter", &token.f, &options.filter.digest())?;
                Some(token)
            }
        };
        let (older, newer) = match &token {
            Some(token) => (Target::Commit(token.a), Target::Commit(token.b)),
            None => (from.clone(), to.clone()),
        };
        let read = ReadOptions::default();
        let older = self.snapshot(&older, &read).await?;
        let newer = self.snapshot(&newer, &read).await?;
        let base = match options.from_merge_base {
            true => Some(self.base_of(&older, &newer).await?),
            false => None,
        };
        let start = base.as_ref().unwrap_or(older.commit());
        let (a, b) = (self.side(start).await?, self.side(newer.commit()).await?);
        let selection = options.filter.between(&a, &b)?;
        refuse_boundary(&a, &b, &selection)?;
        let summary = match token {
            None => self.count_changes(&a, &b, &selection).await?,
            Some(_) => Vec::new(),
        };
        let mut changes = Vec::new();
        let mut next = None;
        if !options.summary_only {
            let mut budget = Budget::new(size);
            let behind = token.and_then(|token| token.p);
            let walked = self
                .walk(
                    &a,
                    &b,
                    &selection,
                    behind.as_ref(),
                    &mut budget,
                    &mut changes,
                )
                .await?;
            if let Walked::Full(p) = walked {
                let token = Token {
                    g: self.root().incarnation,
                    s: asked,
                    a: older.commit_id(),
                    b: newer.commit_id(),
                    m: options.from_merge_base,
                    f: options.filter.digest(),
                    p,
                };
                next = Some(seal(KIND, &token)?);
            }
        }
        Ok(Diff {
            from: side_of(from, &older),
            to: side_of(to, &newer),
            merge_base: base.map(|base| base.id),
            summary,
            changes,
            next,
        })
    }

    async fn base_of(&self, older: &Snapshot, newer: &Snapshot) -> Result<Arc<Commit>> {
        self.merge_base(older.commit(), newer.commit())
            .await?
            .ok_or_else(|| {
                Error::invalid("both sides have no common ancestor in the retained history")
            })
    }
}

/// A name that meant a branch on the first page keeps meaning it.
fn side_of(asked: &Target, found: &Snapshot) -> DiffSide {
    DiffSide {
        branch: match asked {
            Target::Branch(name) => Some(name.clone()),
            _ => found.branch().cloned(),
        },
        commit: found.commit_id(),
    }
}

/// Binds a token to what was asked for, whatever its length.
fn digest_of(target: &Target) -> String {
    use sha2::{Digest, Sha256};
    let text = match target {
        Target::Branch(name) => format!("branch {name}"),
        Target::Commit(id) => format!("commit {id}"),
        Target::Tag(name) => format!("tag {name}"),
        Target::AsOf { branch, at } => format!("at {at} {branch}"),
        Target::Named(text) => format!("named {text}"),
    };
    hex::encode(&Sha256::digest(text)[..8])
}
