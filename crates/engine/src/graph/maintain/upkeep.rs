//! Maintenance by itself: which branches need a look, and what is known not to need one.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;

use super::{OptimizeOptions, OptimizeOutcome};
use crate::engine::Authorship;
use crate::error::Result;
use crate::graph::{ActorId, BranchName, Graph, TableRef};
use crate::log::Seq;
use crate::table::Policy;

/// Who maintains by itself. No credential yields this name.
const ACTOR: &str = "omnigraph:maintenance";
/// Table versions that are remembered as being in order.
const KEPT_IDLE: usize = 10_000;

/// Keeps one graph in order, pass by pass.
///
/// It looks at `main`, and at the branches that this process has seen move since its last pass:
/// nothing else needs it from here, and looking at them costs no request.
#[derive(Debug)]
pub struct Upkeep {
    graph: Graph,
    /// The ends of the branches' logs after their last pass.
    seen: HashMap<BranchName, Seq>,
}

impl Upkeep {
    /// Keeps a graph in order.
    pub fn new(graph: Graph) -> Self {
        Self {
            graph,
            seen: HashMap::new(),
        }
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Does what has become worth its price. Dropping the future leaves files that nothing names.
    ///
    /// # Errors
    /// The first one; branches that were not looked at are looked at in the next pass.
    pub async fn pass(&mut self) -> Result<Vec<(BranchName, OptimizeOutcome)>> {
        self.pass_with(&Policy::incremental()).await
    }

    pub(super) async fn pass_with(
        &mut self,
        policy: &Policy,
    ) -> Result<Vec<(BranchName, OptimizeOutcome)>> {
        let branches = &self.graph.shared.branches;
        branches.state(&BranchName::main()).await?;
        let mut moved = branches.known_living();
        moved.retain(|(name, seq)| self.seen.get(name) != Some(seq));
        moved.sort();
        let options = OptimizeOptions {
            incremental: true,
            by: Authorship {
                actor: Some(ActorId::parse(ACTOR)?),
                ..Authorship::default()
            },
            ..OptimizeOptions::default()
        };
        let mut done = Vec::new();
        for (name, seq) in moved {
            let graph = self.graph.clone();
            let pass = graph.optimize_with(&name, &options, policy, &|_| {});
            let outcome = Box::pin(pass).await?;
            // What it appended itself needs no look; what others appended meanwhile does.
            let own = u64::from(outcome.commit.is_some());
            self.seen.insert(name.clone(), Seq(seq.0 + own));
            if outcome.commit.is_some() {
                done.push((name, outcome));
            }
        }
        Ok(done)
    }
}

/// Table versions that were looked at and found in order, so that nobody looks again.
#[derive(Debug, Default)]
pub(in crate::graph) struct IdleTables {
    known: Mutex<HashSet<(String, u64)>>,
}

impl IdleTables {
    pub(super) fn has(&self, table: &TableRef, policy: &Policy) -> bool {
        policy.tiered
            && self
                .known
                .lock()
                .contains(&(table.path.clone(), table.version))
    }

    pub(super) fn add(&self, table: &TableRef, policy: &Policy) {
        if !policy.tiered {
            return;
        }
        let mut known = self.known.lock();
        if known.len() >= KEPT_IDLE {
            known.clear();
        }
        known.insert((table.path.clone(), table.version));
    }
}
