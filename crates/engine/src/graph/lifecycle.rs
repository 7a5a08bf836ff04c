//! Making and ending branches: one append each.

use super::branch::{BranchInfo, BranchState, Head};
use super::model::{BranchEvent, CreatedRef};
use super::{BranchName, Commit, CommitId, Graph, Incarnation, Target};
use crate::engine::Authorship;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::writer::{Appended, append_deadline};

impl Graph {
    /// All living branches, sorted by name.
    pub async fn branches(&self) -> Result<Vec<BranchInfo>> {
        let living = self.shared.branches.living().await?;
        Ok(living
            .iter()
            .map(|(name, head)| BranchInfo::of(name, head))
            .collect())
    }

    /// One living branch.
    pub async fn branch(&self, name: &BranchName) -> Result<BranchInfo> {
        let head = self.shared.branches.head(name).await?;
        Ok(BranchInfo::of(name, &head))
    }

    /// Makes a branch at the head of another, or at one commit. Costs one object and its marker,
    /// whatever the graph's size.
    pub async fn create_branch(
        &self,
        name: &BranchName,
        from: &Target,
        by: &Authorship,
    ) -> Result<BranchInfo> {
        let begun = self.store().clock().monotonic();
        let (base, commit) = match from {
            Target::Branch(source) => {
                let head = self.shared.branches.head(source).await?;
                (head.at, Commit::clone(&head.commit))
            }
            pinned => {
                let (at, commit) = self.locate_target(pinned).await?;
                (at, Commit::clone(&commit))
            }
        };
        let old = !matches!(from, Target::Branch(_));
        if old {
            self.refuse_reclaimed(&commit).await?;
        }
        let queue = self.queue(name);
        let _turn = queue.lock().await;
        // A name that was never used needs no look: the append itself finds out.
        let mut state = self
            .shared
            .branches
            .recent(name, std::time::Duration::MAX)
            .unwrap_or(BranchState::Absent);
        loop {
            if let BranchState::Living(_) = state {
                self.shared.branches.mark_live(name).await;
                return Err(Error::new(
                    ErrorKind::AlreadyExists,
                    format!("branch '{name}' already exists"),
                ));
            }
            let event = BranchEvent::Created {
                incarnation: Incarnation(self.store().clock().fresh_id()),
                base: Some(base.clone()),
                first: None,
                created_at: (self.store().clock().now_micros()).max(commit.created_at),
                actor: by.actor.clone(),
                base_commit: Some(Box::new(commit.clone())),
                control_epoch: state.control_epoch().max(commit.control_epoch),
            };
            match self
                .append_event(name, state.seq(), event, append_deadline())
                .await?
            {
                Appended::Landed(BranchState::Living(head)) => {
                    self.shared.branches.mark_live(name).await;
                    if old || self.slept_since(begun) {
                        self.withdraw_if_reclaimed(name, &head, &commit, by).await?;
                    }
                    return Ok(BranchInfo::of(name, &head));
                }
                Appended::Landed(_) => {
                    return Err(Error::internal("a created branch does not live"));
                }
                Appended::Taken => state = self.shared.branches.state(name).await?,
            }
        }
    }

    /// A head is kept for a day after it was one. An older commit, or one whose head was read before
    /// this machine slept, may have been reclaimed between the look at it and the append, so that it
    /// is looked at again: then the branch is withdrawn, because what it stands on may be gone in a
    /// day.
    async fn withdraw_if_reclaimed(
        &self,
        name: &BranchName,
        head: &Head,
        base: &Commit,
        by: &Authorship,
    ) -> Result<()> {
        match self.refuse_reclaimed(base).await {
            Ok(()) => Ok(()),
            Err(reclaimed) => {
                self.withdraw(name, head, by).await?;
                Err(reclaimed)
            }
        }
    }

    /// Whether what was read then may be condemned by now, with time to spare for an answer.
    pub(super) fn slept_since(&self, then: std::time::Duration) -> bool {
        let now = self.store().clock().monotonic();
        now.saturating_sub(then) > super::collect::GRACE / 2
    }

    /// Ends a branch that was just made and must not be.
    pub(super) async fn withdraw(
        &self,
        name: &BranchName,
        made: &Head,
        by: &Authorship,
    ) -> Result<()> {
        let mut head = made.clone();
        while head.incarnation == made.incarnation {
            let event = BranchEvent::Deleted {
                incarnation: head.incarnation,
                last: head.at.clone(),
                control_epoch: head.control_epoch,
                actor: by.actor.clone(),
                created_at: self.store().clock().now_micros(),
            };
            let appended = self
                .append_event(name, Some(head.seq), event, append_deadline())
                .await?;
            if matches!(appended, Appended::Landed(_)) {
                break;
            }
            // Somebody was faster, and builds on what it must not.
            match self.shared.branches.state(name).await? {
                BranchState::Living(moved) => head = moved,
                BranchState::Absent | BranchState::Deleted { .. } => break,
            }
        }
        self.shared.branches.unmark_live(name).await;
        Ok(())
    }

    /// Ends a branch. Its history stays reachable where others inherited it.
    pub async fn delete_branch(
        &self,
        name: &BranchName,
        if_head: Option<CommitId>,
        by: &Authorship,
    ) -> Result<Commit> {
        if name.is_main() {
            return Err(Error::invalid("branch 'main' cannot be deleted"));
        }
        let queue = self.queue(name);
        let _turn = queue.lock().await;
        loop {
            let head = self.shared.branches.head(name).await?;
            self.expect_head(name, if_head.as_ref(), &head).await?;
            let event = BranchEvent::Deleted {
                incarnation: head.incarnation,
                last: head.at.clone(),
                control_epoch: head.control_epoch,
                actor: by.actor.clone(),
                created_at: self.store().clock().now_micros(),
            };
            let appended = self
                .append_event(name, Some(head.seq), event, append_deadline())
                .await?;
            if matches!(appended, Appended::Landed(_)) {
                self.shared.branches.unmark_live(name).await;
                return Ok(Commit::clone(&head.commit));
            }
        }
    }

    /// Writes the first entry of `main`.
    pub(crate) async fn begin(&self, first: Commit, by: &Authorship) -> Result<()> {
        let main = BranchName::main();
        let event = BranchEvent::Created {
            incarnation: Incarnation(self.store().clock().fresh_id()),
            base: None,
            created_at: first.created_at,
            control_epoch: first.control_epoch,
            first: Some(Box::new(first)),
            actor: by.actor.clone(),
            base_commit: None,
        };
        match self
            .append_event(&main, None, event, append_deadline())
            .await?
        {
            Appended::Landed(_) => {
                self.shared.branches.mark_live(&main).await;
                Ok(())
            }
            Appended::Taken => Err(Error::internal(
                "a fresh incarnation already has a main branch",
            )),
        }
    }

    pub(crate) async fn end_all_branches(&self, by: &Authorship) -> Result<()> {
        for (name, head) in self.shared.branches.living().await? {
            let mut head = head;
            loop {
                let event = BranchEvent::Deleted {
                    incarnation: head.incarnation,
                    last: head.at.clone(),
                    control_epoch: by.control_epoch.unwrap_or(0).max(head.control_epoch),
                    actor: by.actor.clone(),
                    created_at: self.store().clock().now_micros(),
                };
                let appended = self
                    .append_event(&name, Some(head.seq), event, append_deadline())
                    .await?;
                if matches!(appended, Appended::Landed(_)) {
                    break;
                }
                match self.shared.branches.state(&name).await? {
                    BranchState::Living(moved) => head = moved,
                    BranchState::Absent | BranchState::Deleted { .. } => break,
                }
            }
            self.shared.branches.unmark_live(&name).await;
        }
        Ok(())
    }
}

impl CreatedRef {
    pub(super) fn fresh(seq: crate::log::Seq, created_at: i64, base: Option<CommitId>) -> Self {
        Self {
            seq,
            created_at,
            base,
        }
    }
}
