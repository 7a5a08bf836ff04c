//! Following a branch: its commits in first-parent order, oldest first, each with its changes.
//!
//! The server keeps nothing about consumers: a cursor says which commit was delivered last.
//! Delivery is at least once, and a cursor moves over complete commits only.

mod baseline;
mod chain;
mod poll;

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::baseline::Baseline;
use super::changes::Position;
use super::changes::token::{bound, seal};
use super::{BranchName, ChangeBlock, ChangeFilter, CommitId, Graph, Incarnation, ParentRef};
use crate::error::{Error, Result};

/// Commits that one poll walks over, unless it asks for another number.
pub const FEED_COMMITS: usize = 128;

const CURSOR: &str = "change cursor";
const PAGE: &str = "change page";

/// Where a poll begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedPosition {
    /// Behind the head as it is now.
    Now,
    /// Behind the first commit of the history.
    Beginning,
    /// Behind a commit of the branch's first-parent chain.
    After(CommitId),
    /// Where the last poll ended.
    Cursor(String),
    /// In the middle of a poll.
    Page(String),
}

impl FeedPosition {
    /// Reads `now`, `beginning` or `after:<commit id>`.
    pub fn parse_start(text: &str) -> Result<Self> {
        match text {
            "now" => Ok(Self::Now),
            "beginning" => Ok(Self::Beginning),
            _ => match text.strip_prefix("after:") {
                Some(id) => Ok(Self::After(CommitId::parse(id)?)),
                None => Err(Error::invalid(format!(
                    "'{text}' is no start of a change feed: 'now', 'beginning' or 'after:<commit id>'"
                ))),
            },
        }
    }
}

/// A poll of a change feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedRequest {
    /// The branch.
    pub branch: BranchName,
    /// Where to begin.
    pub position: FeedPosition,
    /// Which changes are wanted.
    pub filter: ChangeFilter,
    /// How many changes a page has at most; none: the default.
    pub limit: Option<u64>,
    /// How long to wait for a commit when there is none.
    pub wait: Duration,
}

/// One page of a change feed.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedPage {
    /// Commits with their changes; commits without a wanted change are left out.
    pub blocks: Vec<ChangeBlock>,
    /// How it goes on.
    pub end: FeedEnd,
}

/// How a page of a change feed goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedEnd {
    /// More of the same poll.
    Page(String),
    /// The poll is complete.
    Cursor {
        /// Where the next poll begins.
        cursor: String,
        /// Whether everything up to the head of this poll was delivered.
        caught_up: bool,
    },
}

/// What a cursor says: this commit and all before it were delivered.
#[derive(Clone, Serialize, Deserialize)]
struct Cursor {
    g: Incarnation,
    b: BranchName,
    i: Incarnation,
    f: String,
    at: ParentRef,
}

/// What a page token says.
#[derive(Clone, Serialize, Deserialize)]
struct Page {
    #[serde(flatten)]
    cursor: Cursor,
    /// The head of the poll.
    cut: ParentRef,
    /// Commits that the poll may still walk over.
    left: usize,
    /// The last change that was delivered of the commit behind `at`.
    p: Option<Position>,
}

impl Cursor {
    fn seal(&self) -> Result<String> {
        seal(CURSOR, self)
    }

    /// It must be of this graph, this life of the branch and this filter.
    fn check(&self, graph: &Graph, request: &FeedRequest, life: Incarnation) -> Result<()> {
        bound("graph", &self.g, &graph.root().incarnation)?;
        bound("branch", &self.b, &request.branch)?;
        bound("life of this branch", &self.i, &life)?;
        bound("filter", &self.f, &request.filter.digest())
    }
}
