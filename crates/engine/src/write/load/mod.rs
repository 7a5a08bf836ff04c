//! Loads: input of any size, parsed and written as it comes, checked and committed at the end.
//!
//! Bytes are decoded and cut into pieces of whole lines or rows; pieces are parsed in parallel and
//! collected in order; their rows go to one writer of fragments per type. What the checks at the
//! end need of each row is noted: in memory, and beyond a share of it in sorted temporary files.

mod afresh;
mod check;
mod collect;
mod columnar;
mod columns;
mod commit;
mod embedding;
mod endpoint;
mod input;
mod json;
mod keys;
mod memory;
mod parse;
mod plan;
mod read;
mod repeat;
mod row_set;
mod session;
mod spill;
mod split;
mod state;
mod value;

#[cfg(test)]
mod tests;

use crate::graph::{BranchName, Commit, WriteOptions};

pub use input::{LoadEncoding, LoadFormat, LoadType};
pub(crate) use parse::fresh_id;
pub use session::{LoadSession, LoadWatch};

/// What becomes of entities that the graph has already (schema language, section 8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LoadMode {
    /// They stay, and an id that exists is refused.
    Append,
    /// Those with an id of the file are replaced.
    #[default]
    Merge,
    /// Those of the types that occur in the file are removed.
    Overwrite,
}

/// How a load is to be done.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// What becomes of existing entities.
    pub mode: LoadMode,
    /// The branch to start from if the target does not exist.
    pub from: Option<BranchName>,
    /// How to commit.
    pub write: WriteOptions,
    /// Values may be separated by any white space, and unknown members are passed over. The input
    /// is held in memory and limited to 32 MiB.
    pub permissive: bool,
    /// How the input is compressed.
    pub encoding: LoadEncoding,
    /// What the input holds.
    pub format: LoadFormat,
    /// Bytes of memory that the load may take; none: those of the engine's options.
    pub memory: Option<u64>,
}

/// What a load did.
#[derive(Clone, Debug)]
pub struct LoadOutcome {
    /// The branch that it went to.
    pub branch: BranchName,
    /// The branch to start from, if one was given.
    pub base_branch: Option<BranchName>,
    /// Whether the branch was created.
    pub branch_created: bool,
    /// How existing entities were treated.
    pub mode: LoadMode,
    /// Accepted lines by node type, sorted by name; types without a line are left out.
    pub nodes: Vec<(String, u64)>,
    /// Accepted lines by edge type, sorted by name; types without a line are left out.
    pub edges: Vec<(String, u64)>,
    /// Accepted lines in all.
    pub total: u64,
    /// None if there was nothing to write.
    pub commit: Option<Commit>,
    /// The most bytes that were held at once, by the load's own account.
    pub memory_peak: u64,
    /// Bytes of keys that went to temporary files.
    pub spilled_bytes: u64,
    /// Whether this is the answer of an earlier request with the same idempotency key.
    pub replayed: bool,
}

/// How far a load has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadProgress {
    /// Lines or rows that have been parsed.
    pub lines: u64,
    /// Decoded bytes that have been taken in.
    pub bytes: u64,
    /// What it does now.
    pub phase: LoadPhase,
    /// The most bytes that were held at once, by the load's own account.
    pub memory_peak: u64,
    /// Bytes of keys that went to temporary files.
    pub spilled_bytes: u64,
}

/// What a load does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadPhase {
    /// Lines or rows are parsed and written as they come.
    Reading,
    /// The input has ended, the last files are written.
    Writing,
    /// The final state is checked and committed.
    Committing,
}

impl LoadMode {
    /// The name in requests and results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Merge => "merge",
            Self::Overwrite => "overwrite",
        }
    }

    /// The mode with this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Append, Self::Merge, Self::Overwrite]
            .into_iter()
            .find(|mode| mode.as_str() == name)
    }
}
