//! Common ancestors.

use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use crate::error::Result;
use crate::graph::history::Newest;
use crate::graph::{Commit, CommitId, Graph};

const OURS: u8 = 1;
const THEIRS: u8 = 2;
/// An ancestor of a common ancestor that was found.
const COVERED: u8 = 4;

/// What is known of a commit during the walk.
struct Seen {
    marks: u8,
    commit: Arc<Commit>,
}

impl Graph {
    /// The best common ancestors of two commits, over all their parents: those that no other
    /// common ancestor descends from, newest first. More than one where branches were merged
    /// crosswise; none where no common history is retained.
    ///
    /// A commit's version is above those of its parents, so going down by version meets a commit
    /// after everything that descends from it.
    pub(super) async fn merge_bases(
        &self,
        ours: &Arc<Commit>,
        theirs: &Arc<Commit>,
    ) -> Result<Vec<Arc<Commit>>> {
        let mut seen: HashMap<CommitId, Seen> = HashMap::new();
        let mut frontier: BinaryHeap<(Newest, CommitId)> = BinaryHeap::new();
        for (commit, mark) in [(ours, OURS), (theirs, THEIRS)] {
            let known = seen.entry(commit.id).or_insert_with(|| {
                frontier.push((Newest::of(commit), commit.id));
                Seen {
                    marks: 0,
                    commit: commit.clone(),
                }
            });
            known.marks |= mark;
        }
        let mut bases = Vec::new();
        while let Some((_, id)) = frontier.pop() {
            let Some(at) = seen.get_mut(&id) else {
                continue;
            };
            if at.marks == OURS | THEIRS {
                bases.push(at.commit.clone());
                at.marks |= COVERED;
            }
            let (marks, commit) = (at.marks, at.commit.clone());
            // What is left are ancestors of bases only: none of it can be a base.
            let open = |id: &CommitId| seen.get(id).is_some_and(|s| s.marks & COVERED == 0);
            if marks & COVERED != 0 && !frontier.iter().any(|(_, id)| open(id)) {
                break;
            }
            for parent in &commit.parents {
                if let Some(known) = seen.get_mut(&parent.id) {
                    known.marks |= marks;
                } else if let Some(parent) = self.parent(parent).await? {
                    frontier.push((Newest::of(&parent), parent.id));
                    let known = Seen {
                        marks,
                        commit: parent.clone(),
                    };
                    seen.insert(parent.id, known);
                }
            }
        }
        Ok(bases)
    }

    /// Whether `wanted` is `head` or one of its ancestors. Looks at nothing that is older.
    pub(super) async fn descends(&self, head: &Arc<Commit>, wanted: &Commit) -> Result<bool> {
        let mut frontier = BinaryHeap::from([(Newest::of(head), head.id)]);
        let mut seen = HashMap::from([(head.id, head.clone())]);
        while let Some((_, id)) = frontier.pop() {
            if id == wanted.id {
                return Ok(true);
            }
            let Some(commit) = seen.get(&id).cloned() else {
                continue;
            };
            if commit.version <= wanted.version {
                continue;
            }
            for parent in &commit.parents {
                if !seen.contains_key(&parent.id)
                    && let Some(parent) = self.parent(parent).await?
                {
                    frontier.push((Newest::of(&parent), parent.id));
                    seen.insert(parent.id, parent);
                }
            }
        }
        Ok(false)
    }
}
