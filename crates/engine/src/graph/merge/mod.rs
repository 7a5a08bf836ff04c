//! Merging branches, three-way and entity by entity (storage protocol, section 6).
//!
//! Source and target are compared with their merge base by id. A table that only one side touched
//! is adopted by pointer; of the others, those entities are read that changed.
//!
//! | module | subject |
//! |---|---|
//! | `base` | common ancestors |
//! | `carry` | branches with different schemas |
//! | `entities` | which side's version of an entity stays |
//! | `check` | what both sides together could break |
//! | `conflict` | what people and clients are told |
//! | `counts` | how many entities a side touched |
//! | `three_way` | the result's tables |
//! | `locate`, `gather` | where rows lie, and rows as columns |
//! | `run` | a merge as a write |
//! | `revert` | restoring a state, undoing a commit |

mod base;
mod carry;
mod check;
mod conflict;
mod counts;
mod entities;
mod gather;
mod locate;
mod revert;
mod run;
mod three_way;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use omnigraph_lang::schema::{Catalog, EntityType};

pub use self::conflict::{ConflictImage, ConflictKind, Conflicts, MergeConflict, Resolution};
pub use self::revert::{RevertMode, RevertOptions, RevertResult};
use super::{Commit, CommitId, Touched, WriteOptions};
use crate::error::{Error, Result};

/// What is done where both sides changed an entity differently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MergeStrategy {
    /// It stays a conflict.
    #[default]
    Fail,
    /// The version of the branch that is merged into is kept.
    Ours,
    /// The version of the branch that is merged is taken.
    Theirs,
}

/// The strategy of a merge, and those of single types.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strategies {
    /// For every type that is not named.
    pub general: MergeStrategy,
    /// By the name of a node or edge type.
    pub by_type: BTreeMap<String, MergeStrategy>,
}

/// How a merge is to be done.
#[derive(Clone, Debug, Default)]
pub struct MergeOptions {
    /// Says what would happen and changes nothing.
    pub dry_run: bool,
    /// What to do with conflicts.
    pub strategies: Strategies,
    /// The commit that the source's head must be.
    pub if_source: Option<CommitId>,
    /// Ends the source after it was merged.
    pub delete_source: bool,
    /// On whose behalf, and the target's expected head.
    pub write: WriteOptions,
}

/// How a merge ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeOutcome {
    /// The target has all of the source.
    AlreadyUpToDate,
    /// The source had all of the target, so its tables were adopted.
    FastForward,
    /// Both had moved, and were put together.
    Merged,
    /// They do not fit together; of a dry run only.
    Conflicted,
}

/// What a merge did, or would do.
#[derive(Clone, Debug, PartialEq)]
pub struct MergeResult {
    /// How it ended.
    pub outcome: MergeOutcome,
    /// The commit on the target; none when nothing had to be done, or on a dry run.
    pub commit: Option<Commit>,
    /// The newest commit that both branches have.
    pub merge_base: CommitId,
    /// Whether the source was ended; none when nobody asked for it.
    pub source_deleted: Option<bool>,
    /// Why it was not.
    pub source_delete_error: Option<String>,
    /// Those that a strategy resolved; of a dry run all.
    pub conflicts: Conflicts,
    /// What the target gains.
    pub changes: Vec<Touched>,
    /// Whether an earlier request with the same key did it.
    pub replayed: bool,
}

impl Strategies {
    /// One strategy for all types.
    pub fn all(general: MergeStrategy) -> Self {
        Self {
            general,
            by_type: BTreeMap::new(),
        }
    }

    fn of(&self, entity: EntityType<'_>) -> MergeStrategy {
        let name = &entity.body().name;
        let named = match entity {
            EntityType::Node(_) => self.by_type.get(name),
            EntityType::Edge(_) => {
                let mut names = self.by_type.iter();
                let found = names.find(|(other, _)| other.eq_ignore_ascii_case(name));
                found.map(|(_, strategy)| strategy)
            }
        };
        named.copied().unwrap_or(self.general)
    }

    /// Every name is that of a type.
    fn check(&self, catalog: &Catalog) -> Result<()> {
        let unknown = |name: &&String| catalog.node(name).is_none() && catalog.edge(name).is_none();
        match self.by_type.keys().find(unknown) {
            None => Ok(()),
            Some(name) => Err(Error::invalid(format!(
                "a merge strategy names '{name}', which is no node or edge type"
            ))),
        }
    }
}
