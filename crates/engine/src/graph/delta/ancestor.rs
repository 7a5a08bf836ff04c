//! The newest commit that two histories have in common.

use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use crate::error::Result;
use crate::graph::history::Newest;
use crate::graph::{Commit, CommitId, Graph};

const LEFT: u8 = 1;
const RIGHT: u8 = 2;

impl Graph {
    /// The best common ancestor of two commits over all their parents; a commit is an ancestor of
    /// itself. `None` where no common history is retained.
    ///
    /// A commit's version is above those of its parents, so going down by version meets each commit
    /// after everything that descends from it: the first that both sides reach is the newest.
    pub(crate) async fn merge_base(
        &self,
        a: &Arc<Commit>,
        b: &Arc<Commit>,
    ) -> Result<Option<Arc<Commit>>> {
        let mut reached: HashMap<CommitId, (u8, Arc<Commit>)> = HashMap::new();
        let mut frontier: BinaryHeap<(Newest, CommitId)> = BinaryHeap::new();
        for (commit, side) in [(a, LEFT), (b, RIGHT)] {
            let known = reached
                .entry(commit.id)
                .or_insert_with(|| (0, commit.clone()));
            if known.0 == 0 {
                frontier.push((Newest::of(commit), commit.id));
            }
            known.0 |= side;
        }
        while let Some((_, id)) = frontier.pop() {
            let Some((sides, commit)) = reached.get(&id).cloned() else {
                continue;
            };
            if sides == LEFT | RIGHT {
                return Ok(Some(commit));
            }
            for parent in &commit.parents {
                if let Some((known, _)) = reached.get_mut(&parent.id) {
                    *known |= sides;
                } else if let Some(parent) = self.parent(parent).await? {
                    frontier.push((Newest::of(&parent), parent.id));
                    reached.insert(parent.id, (sides, parent));
                }
            }
        }
        Ok(None)
    }
}
