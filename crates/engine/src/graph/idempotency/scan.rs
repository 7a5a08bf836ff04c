//! Looking for a key in a part of a branch's log.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Keyed;
use super::keyed::claim_name;
use crate::error::Result;
use crate::graph::model::{BranchEntry, BranchEvent};
use crate::graph::{BranchName, Commit, Graph};
use crate::log::{self, Seq};

/// Entries that are read at a time.
const SCAN: u64 = 32;
/// Keys that are remembered of a log.
const REMEMBERED: usize = 1_024;

/// What a part of a log says of a key.
pub(super) enum Scan {
    /// This commit was made with it.
    Found(Arc<Commit>),
    Nothing,
    /// The log does not reach back so far any more.
    Truncated,
}

/// The keys in the newest entries of a log, as far as this process has seen each of them: so that
/// the writers of one process need not read what they wrote themselves.
#[derive(Clone, Debug)]
pub(in crate::graph) struct Trail {
    /// Every entry from here on has been seen,
    from: Seq,
    /// up to here.
    upto: Seq,
    /// Where keys are, by the names of their claims.
    keys: VecDeque<(Seq, String)>,
}

impl Trail {
    /// Begins with one entry.
    pub(in crate::graph) fn new(seq: Seq, entry: &BranchEntry) -> Self {
        let mut trail = Self {
            from: seq,
            upto: seq,
            keys: VecDeque::new(),
        };
        trail.push(seq, entry);
        trail
    }

    /// Takes note of an entry. After a gap it begins anew.
    pub(in crate::graph) fn note(&mut self, seq: Seq, entry: &BranchEntry) {
        if seq <= self.upto {
            return;
        }
        if seq != self.upto.next() {
            *self = Self::new(seq, entry);
            return;
        }
        self.upto = seq;
        self.push(seq, entry);
    }

    fn push(&mut self, seq: Seq, entry: &BranchEntry) {
        if let Some(proof) = commit_in(&entry.event).and_then(|c| c.idempotency.as_ref()) {
            let name = claim_name(&proof.key, proof.actor.as_ref());
            self.keys.push_back((seq, name));
        }
        if self.keys.len() > REMEMBERED
            && let Some((gone, _)) = self.keys.pop_front()
        {
            self.from = gone.next();
        }
    }

    /// The entries of a part of the log that may have been made with a key; `None` where not all of
    /// them have been seen.
    fn entries_with(&self, keyed: &Keyed, from: Seq, upto: Seq) -> Option<Vec<Seq>> {
        if from < self.from || upto > self.upto {
            return None;
        }
        let wanted = keyed.name();
        let within = |seq: &Seq| (from..=upto).contains(seq);
        let found = self.keys.iter().filter(|(_, key)| *key == wanted);
        Some(found.map(|(seq, _)| *seq).filter(within).collect())
    }
}

pub(super) fn commit_in(event: &BranchEvent) -> Option<&Commit> {
    match event {
        BranchEvent::Commit { commit, .. } => Some(commit),
        BranchEvent::Created { first, .. } => first.as_deref(),
        BranchEvent::Swept { .. } | BranchEvent::Void | BranchEvent::Deleted { .. } => None,
    }
}

impl Graph {
    /// Reads a branch's log after `from` up to `upto`.
    pub(super) async fn scan(
        &self,
        keyed: &Keyed,
        branch: &BranchName,
        from: Option<Seq>,
        upto: Option<Seq>,
    ) -> Result<Scan> {
        let Some(upto) = upto else {
            return Ok(Scan::Nothing);
        };
        let log = self.shared.branches.log(branch);
        let mut next = from.map_or(Seq::FIRST, Seq::next);
        if next > upto {
            return Ok(Scan::Nothing);
        }
        let branches = &self.shared.branches;
        let known = branches.ask_trail(branch, |trail| trail.entries_with(keyed, next, upto));
        if let Some(found) = known {
            match found.first() {
                None => return Ok(Scan::Nothing),
                Some(seq) => next = *seq,
            }
        }
        while next <= upto {
            let last = Seq(upto.0.min(next.0.saturating_add(SCAN - 1)));
            let entries = match log.range(next, last).await {
                Ok(entries) => entries,
                Err(log::Error::Missing { .. }) => return Ok(Scan::Truncated),
                Err(error) => return Err(error.into()),
            };
            for (_, entry) in entries {
                let Some(commit) = commit_in(&entry.event) else {
                    continue;
                };
                if commit.idempotency.as_ref().is_some_and(|p| keyed.is_of(p)) {
                    return Ok(Scan::Found(Arc::new(commit.clone())));
                }
            }
            next = last.next();
        }
        Ok(Scan::Nothing)
    }
}
