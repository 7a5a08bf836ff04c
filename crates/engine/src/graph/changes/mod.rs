//! Changes as people and consumers see them: entities with their images before and after, in a fixed
//! order, filtered and in pages.

mod boundary;
mod cache;
mod commit;
mod diff;
mod filter;
mod image;
mod page;
pub(super) mod token;

#[cfg(test)]
mod tests;

use omnigraph_lang::schema::TypeId;

pub(super) use self::boundary::{gap, or_gap, parentless, refuse_boundary};
pub(super) use self::cache::DeltaCache;
pub(super) use self::commit::says_nothing;
pub use self::diff::{Diff, DiffOptions, DiffSide};
pub use self::filter::ChangeFilter;
pub(super) use self::filter::Selection;
pub(super) use self::page::{Budget, Position, Walked};
use super::{ActorId, BranchName, Commit, CommitId};
use crate::error::{Error, ErrorKind, Result};

/// Changes in a page that asks for no number.
const PAGE_DEFAULT: usize = 1000;
/// The most that a page may ask for.
const PAGE_MAX: u64 = 8192;

/// What happened to an entity. In this order where one id occurs more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeOp {
    /// It was not there before.
    Insert,
    /// At least one of its values is another.
    Update,
    /// It is not there any more.
    Delete,
}

/// An entity's values at one commit.
#[derive(Clone, Debug, PartialEq)]
pub struct EntityImage {
    /// All properties: the text of a JSON object.
    pub properties: String,
    /// Ids of the nodes at both ends; of edges only.
    pub ends: Option<[String; 2]>,
}

/// One changed entity.
#[derive(Clone, Debug, PartialEq)]
pub struct EntityChange {
    /// Whether it is an edge.
    pub edge: bool,
    /// The identity of its type, which survives renames.
    pub type_id: TypeId,
    /// The type's name, the newer one where it was renamed.
    pub type_name: String,
    /// Its id.
    pub id: String,
    /// What happened.
    pub op: ChangeOp,
    /// Its values before; none for an insert.
    pub before: Option<EntityImage>,
    /// Its values after; none for a delete.
    pub after: Option<EntityImage>,
}

/// The commit to which changes belong.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangeCause {
    /// The commit.
    pub commit: CommitId,
    /// The commit against which the changes are listed.
    pub parent: Option<CommitId>,
    /// The other parent of a merge.
    pub merged_parent: Option<CommitId>,
    /// The branch on which it was written.
    pub branch: BranchName,
    /// Who wrote it.
    pub actor: Option<ActorId>,
    /// When, in microseconds since the Unix epoch.
    pub authored_at: i64,
}

/// Changes of one commit.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangeBlock {
    /// The commit.
    pub cause: ChangeCause,
    /// Its changes against its first parent: nodes before edges, by type identity, then by id.
    pub changes: Vec<EntityChange>,
}

/// One page of the changes of one commit.
#[derive(Clone, Debug, PartialEq)]
pub struct CommitChanges {
    /// The commit and its changes.
    pub block: ChangeBlock,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

/// Which part of a list of changes is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangePage {
    /// How many changes at most; none: the default.
    pub limit: Option<u64>,
    /// The `next` of an earlier page.
    pub token: Option<String>,
}

impl ChangePage {
    /// The number of changes of a page.
    pub(super) fn size(&self) -> Result<usize> {
        match self.limit {
            None => Ok(PAGE_DEFAULT),
            Some(0) => Err(Error::invalid("a page of changes needs a limit above 0")),
            Some(limit @ 1..=PAGE_MAX) => Ok(usize::try_from(limit).unwrap_or(PAGE_DEFAULT)),
            Some(limit) => Err(Error::new(
                ErrorKind::ResourceLimit,
                format!("a page has at most {PAGE_MAX} changes"),
            )
            .with_hint("ask for less and follow the pages")
            .with_detail(|detail| {
                detail.limit = Some(("commit_changes_page_changes".to_owned(), PAGE_MAX, limit));
            })),
        }
    }
}

impl ChangeCause {
    pub(super) fn of(commit: &Commit) -> Self {
        let parent = |at: usize| commit.parents.get(at).map(|parent| parent.id);
        Self {
            commit: commit.id,
            parent: parent(0),
            merged_parent: parent(1),
            branch: commit.branch.clone(),
            actor: commit.actor.clone(),
            authored_at: commit.created_at,
        }
    }
}

impl EntityChange {
    /// About how many bytes it takes in an answer.
    fn bytes(&self) -> usize {
        let image = |image: &Option<EntityImage>| {
            image.as_ref().map_or(0, |image| {
                let ends = image.ends.iter().flatten();
                image.properties.len() + ends.map(String::len).sum::<usize>() + 32
            })
        };
        self.id.len() + self.type_name.len() + image(&self.before) + image(&self.after) + 96
    }
}
