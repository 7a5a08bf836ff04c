//! Making the index segments that a log lacks.

use std::sync::Arc;

use super::covering;
use super::segment::{Name, Segment};
use crate::error::Result;
use crate::graph::Graph;
use crate::graph::ids::BranchName;
use crate::log::Seq;

/// Entries of a small segment, which is made of log entries.
const SMALL: u64 = 50;
/// Entries of a large segment, which is made of small ones.
pub(super) const LARGE: u64 = 1_000;
/// Small segments that one call makes, so that a long history is caught up with bit by bit.
const AT_ONCE: usize = 200;

impl Graph {
    /// Writes the index segments that the log of a branch lacks, and says how many. What no
    /// segment of full size would have is left for later.
    pub(in crate::graph) async fn index_commits(&self, branch: &BranchName) -> Result<usize> {
        let Some(head) = self.shared.branches.state(branch).await?.seq() else {
            return Ok(0);
        };
        let full = (head.0 + 1) / SMALL;
        let missing = |names: &[Name]| -> Vec<u64> {
            let lacks = |at: &u64| covering(names, branch, Seq(at * SMALL)).is_none();
            (0..full).filter(lacks).collect()
        };
        if full == 0 {
            return Ok(0);
        }
        let index = &self.shared.commit_index;
        if let Some(names) = index.remembered()
            && missing(&names).is_empty()
        {
            return Ok(0);
        }
        let mut to_make = missing(&index.list().await?);
        let log = self.shared.branches.log(branch);
        if to_make.first() == Some(&0) && log.get(Seq(1)).await?.is_none() && head.0 > 0 {
            // The log was truncated; what is below its floor is not history any more.
            let (floor, _) = log.positions().await?;
            to_make.retain(|at| at * SMALL >= floor.0);
        }
        to_make.truncate(AT_ONCE);
        let mut made = 0;
        for at in to_make {
            let (first, last) = (Seq(at * SMALL), Seq((at + 1) * SMALL - 1));
            let entries = match log.range(first, last).await {
                Ok(entries) => entries,
                // Truncated meanwhile.
                Err(crate::log::Error::Missing { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            if let Some(segment) = Segment::of(branch, &entries) {
                index.put(segment).await?;
                made += 1;
            }
        }
        Ok(made + self.join_segments(branch, head).await?)
    }

    /// Makes large segments of small ones, then removes these.
    async fn join_segments(&self, branch: &BranchName, head: Seq) -> Result<usize> {
        let index = &self.shared.commit_index;
        let names = index.remembered().unwrap_or_default();
        let mut made = 0;
        for at in 0..(head.0 + 1) / LARGE {
            let (first, last) = (at * LARGE, (at + 1) * LARGE - 1);
            let mut parts: Vec<&Name> = names
                .iter()
                .filter(|name| name.branch == *branch)
                .filter(|name| first <= name.first.0 && name.last.0 <= last)
                .collect();
            parts.sort_by_key(|name| name.first);
            let has_large = parts
                .iter()
                .any(|name| name.last.0 - name.first.0 + 1 == LARGE);
            if !has_large {
                let Some(joined) = self.join(&parts, last).await? else {
                    continue;
                };
                index.put(joined).await?;
                made += 1;
            }
            for name in parts {
                if name.last.0 - name.first.0 + 1 < LARGE {
                    index.remove(name).await;
                }
            }
        }
        Ok(made)
    }

    async fn join(&self, parts: &[&Name], last: u64) -> Result<Option<Segment>> {
        let whole = parts.last().is_some_and(|name| name.last.0 == last)
            && parts.len() as u64 == LARGE / SMALL;
        if !whole {
            return Ok(None);
        }
        let mut segments: Vec<Arc<Segment>> = Vec::with_capacity(parts.len());
        for name in parts {
            match self.shared.commit_index.load(name).await? {
                Some(segment) => segments.push(segment),
                None => return Ok(None),
            }
        }
        Ok(Segment::joined(&segments))
    }
}
