//! Whether a request with a key has been answered, and the right to commit where it has not.

use std::sync::Arc;

use super::Keyed;
use super::claim::{CLAIM_FORMAT, CLAIMS_MAX, Claim};
use super::scan::{Scan, commit_in};
use crate::error::Result;
use crate::graph::branch::BranchState;
use crate::graph::model::BranchEntry;
use crate::graph::{BranchName, Commit, CommitId, Graph, Idempotency};
use crate::log::Seq;

/// The right to commit under a key, and what has been read of the log so far.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    /// The id that the commit gets.
    pub(crate) commit: CommitId,
    claim: Option<Claim>,
    /// Up to here the log has been looked at.
    seen: Option<Seq>,
}

/// What a look at the key gives.
pub(crate) enum Claimed {
    /// The request has been answered by this commit.
    Answered(Arc<Commit>),
    /// It has not; whoever holds this may commit.
    Open(Ticket),
}

impl Ticket {
    /// For a request without a key.
    pub(crate) fn unkeyed() -> Self {
        Self {
            commit: CommitId::new(),
            claim: None,
            seen: None,
        }
    }

    /// What the commit says of the key; `record` is the answer beside the commit.
    pub(crate) fn proof(&self, record: Option<serde_json::Value>) -> Option<Idempotency> {
        let claim = self.claim.as_ref()?;
        Some(Idempotency {
            key: claim.key.clone(),
            actor: claim.actor.clone(),
            operation: claim.operation.clone(),
            fingerprint: claim.fingerprint.clone(),
            answer: record,
        })
    }

    /// Whether one of these entries, which follow what was seen before, is the answer.
    ///
    /// # Errors
    /// Another request with this key has committed.
    pub(crate) fn answer_among(
        &mut self,
        entries: &[(Seq, BranchEntry)],
    ) -> Result<Option<Arc<Commit>>> {
        for (seq, entry) in entries {
            self.seen = self.seen.max(Some(*seq));
            let Some(commit) = commit_in(&entry.event) else {
                continue;
            };
            if commit.id == self.commit {
                return Ok(Some(Arc::new(commit.clone())));
            }
            let (Some(claim), Some(proof)) = (&self.claim, &commit.idempotency) else {
                continue;
            };
            let keyed = claim.keyed();
            if keyed.is_of(proof) {
                return keyed.own(Arc::new(commit.clone())).map(Some);
            }
        }
        Ok(None)
    }

    /// Looks for the answer in what follows up to `upto` and was not looked at yet: no request for
    /// a write without a key, and none for a fresh claim.
    pub(crate) async fn answer(
        &mut self,
        graph: &Graph,
        branch: &BranchName,
        upto: Option<Seq>,
    ) -> Result<Option<Arc<Commit>>> {
        let Some(claim) = self.claim.as_ref().filter(|claim| claim.branch == *branch) else {
            return Ok(None);
        };
        let keyed = claim.keyed();
        match graph.scan(&keyed, branch, self.seen, upto).await? {
            Scan::Found(commit) => keyed.own(commit).map(Some),
            Scan::Nothing | Scan::Truncated => {
                self.seen = self.seen.max(upto);
                Ok(None)
            }
        }
    }
}

impl Graph {
    /// Claims a key for a write on `branch`, whose log was looked at just before (`state`); or
    /// finds what an earlier request with the key came to. One request if the key is new.
    pub(crate) async fn claim(
        &self,
        keyed: &Keyed,
        branch: &BranchName,
        state: &BranchState,
    ) -> Result<Claimed> {
        let fresh = Claim {
            format: CLAIM_FORMAT,
            key: keyed.key.clone(),
            actor: keyed.actor.clone(),
            operation: keyed.operation.clone(),
            fingerprint: keyed.fingerprint.clone(),
            branch: branch.clone(),
            base: state.seq(),
            commit: CommitId::new(),
            created_at: self.store().clock().now_micros(),
        };
        let name = keyed.name();
        let mut claims = Vec::new();
        while claims.len() < CLAIMS_MAX {
            match self.create_claim(&name, claims.len(), &fresh).await? {
                Some(other) => claims.push(other),
                None => {
                    return Ok(Claimed::Open(Ticket {
                        commit: fresh.commit,
                        seen: fresh.base,
                        claim: Some(fresh),
                    }));
                }
            }
            self.read_claims(&name, &mut claims).await?;
            if let Some(found) = self.resume(keyed, &claims).await? {
                return Ok(found);
            }
        }
        Err(keyed.mismatch(None))
    }

    /// The commit that answered the request with this key, if there is one, for requests whose
    /// fingerprint begins with `beginning`: the rest of it is not known yet.
    pub(crate) async fn answered(
        &self,
        keyed: &Keyed,
        beginning: &str,
    ) -> Result<Option<Arc<Commit>>> {
        let mut claims = Vec::new();
        self.read_claims(&keyed.name(), &mut claims).await?;
        for claim in claims {
            let (Scan::Found(commit), _) = self.landed(keyed, &claim).await? else {
                continue;
            };
            let proof = commit.idempotency.as_ref();
            return match proof.is_some_and(|proof| proof.fingerprint.starts_with(beginning)) {
                true => Ok(Some(commit)),
                false => Err(keyed.mismatch(Some(commit.id))),
            };
        }
        Ok(None)
    }

    /// What the claims that there are mean for a request. `None`: it may add one.
    async fn resume(&self, keyed: &Keyed, claims: &[Claim]) -> Result<Option<Claimed>> {
        let mut own = None;
        for claim in claims {
            match self.landed(keyed, claim).await? {
                (Scan::Found(commit), _) => {
                    return keyed
                        .own(commit)
                        .map(|commit| Some(Claimed::Answered(commit)));
                }
                (Scan::Nothing, seen)
                    if own.is_none() && claim.fingerprint == keyed.fingerprint =>
                {
                    own = Some((claim, seen));
                }
                (Scan::Nothing | Scan::Truncated, _) => {}
            }
        }
        Ok(own.map(|(claim, seen)| {
            Claimed::Open(Ticket {
                commit: claim.commit,
                claim: Some(claim.clone()),
                seen,
            })
        }))
    }

    /// Looks for a commit with the key where a claim says, and how far it looked.
    async fn landed(&self, keyed: &Keyed, claim: &Claim) -> Result<(Scan, Option<Seq>)> {
        let upto = self.shared.branches.state(&claim.branch).await?.seq();
        let scan = self.scan(keyed, &claim.branch, claim.base, upto).await?;
        Ok((scan, upto))
    }
}
