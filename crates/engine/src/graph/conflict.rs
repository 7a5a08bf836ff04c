//! What another writer's commit means for one's own (storage protocol, section 4).

use std::sync::Arc;

use omnigraph_lang::schema::{EntityKind, TypeId};

use super::branch::{BranchState, Head, living};
use super::idempotency::Ticket;
use super::model::{BranchEntry, BranchEvent};
use super::writer::{Base, CommitRequest, Staged};
use super::{BranchName, Commit, CommitId, CommitKind, Graph};
use crate::error::{EntityName, Error, ErrorKind, Overlap, Result, WriteConflict};
use crate::log::Seq;

/// Overlaps that an error lists.
const OVERLAPS_MAX: usize = 100;

/// What to do after somebody else's entry took the place.
pub(super) enum After {
    /// One of the entries is this very request's.
    Answered(Arc<Commit>),
    /// Nothing that the write touched or read has moved: it goes behind this head as it is.
    Reparent(Head),
    /// It has to be run on the new head.
    RunAgain(WriteConflict),
}

impl Graph {
    /// Reads every entry since `seen` and decides.
    pub(super) async fn after_conflict(
        &self,
        request: &CommitRequest<'_>,
        ticket: &mut Ticket,
        base: &Base,
        staged: &Staged,
        seen: Option<Seq>,
    ) -> Result<After> {
        let name = request.branch;
        let state = self.shared.branches.state(name).await?;
        let between = self.entries_between(name, seen, &state).await?;
        if let Some(commit) = ticket.answer_among(&between)? {
            return Ok(After::Answered(commit));
        }
        // A branch that a load would make may have been made by somebody else.
        let Some(before) = base.head() else {
            return Ok(After::RunAgain(lost(base, base.snapshot.commit_id())));
        };
        let head = living(name, state)?;
        self.expect_head(name, request.options.if_head.as_ref(), &head)
            .await?;
        let moved: Vec<(TypeId, bool)> = touched(staged)
            .filter(|(id, _)| head.commit.tables.get(id) != before.commit.tables.get(id))
            .collect();
        let from_scratch = between.iter().any(|(_, entry)| starts_anew(&entry.event))
            || head.incarnation != before.incarnation
            || head.commit.schema_commit != before.commit.schema_commit
            || head.commit.schema != before.commit.schema;
        if moved.is_empty() && !from_scratch {
            return Ok(After::Reparent(head));
        }
        let mut conflict = lost(base, head.commit.id);
        conflict.entities = moved
            .iter()
            .filter_map(|(id, wrote)| overlap(base, *id, *wrote))
            .collect();
        conflict.truncated = conflict.entities.len() > OVERLAPS_MAX;
        conflict.entities.truncate(OVERLAPS_MAX);
        Ok(After::RunAgain(conflict))
    }

    /// The head must be the commit that the caller named; what maintenance and fences put behind
    /// it does not count.
    pub(super) async fn expect_head(
        &self,
        name: &BranchName,
        wanted: Option<&CommitId>,
        head: &Head,
    ) -> Result<()> {
        let Some(wanted) = wanted else {
            return Ok(());
        };
        let mut commit = Arc::clone(&head.commit);
        while commit.id != *wanted {
            let says_nothing = matches!(commit.kind, CommitKind::Maintenance | CommitKind::Fence);
            let before = match commit.parents.first() {
                Some(parent) if says_nothing => self.parent(parent).await?,
                Some(_) | None => None,
            };
            commit = before.ok_or_else(|| has_moved(name, wanted, &head.commit.id))?;
        }
        Ok(())
    }

    /// What was appended after `seen`, up to the entry that made `state`.
    async fn entries_between(
        &self,
        name: &BranchName,
        seen: Option<Seq>,
        state: &BranchState,
    ) -> Result<Vec<(Seq, BranchEntry)>> {
        let from = seen.map_or(Seq::FIRST, Seq::next);
        match state.seq() {
            Some(last) if from <= last => {
                let log = self.shared.branches.log(name);
                Ok(log.range(from, last).await?)
            }
            Some(_) | None => Ok(Vec::new()),
        }
    }
}

/// Whether what was prepared before this entry cannot be used after it.
fn starts_anew(event: &BranchEvent) -> bool {
    match event {
        BranchEvent::Created { .. } | BranchEvent::Deleted { .. } | BranchEvent::Swept { .. } => {
            true
        }
        BranchEvent::Commit { commit, .. } => commit.kind == CommitKind::Schema,
        BranchEvent::Void => false,
    }
}

/// The types of a write, and whether it wrote them.
fn touched(staged: &Staged) -> impl Iterator<Item = (TypeId, bool)> {
    let wrote = staged.tables.keys().map(|id| (*id, true));
    let read = staged
        .read
        .iter()
        .filter(|id| !staged.tables.contains_key(id));
    wrote.chain(read.map(|id| (*id, false)))
}

fn lost(base: &Base, head: CommitId) -> WriteConflict {
    WriteConflict {
        base: base.snapshot.commit_id().to_string(),
        head: head.to_string(),
        ..WriteConflict::default()
    }
}

fn overlap(base: &Base, id: TypeId, wrote: bool) -> Option<Overlap> {
    let entity = base.snapshot.schema.catalog.entity(id)?;
    let edge = entity.kind() == EntityKind::Edge;
    let constraint = match (wrote, edge) {
        (true, _) => None,
        (false, true) => Some("cascade".to_owned()),
        (false, false) => Some("endpoints".to_owned()),
    };
    Some(Overlap {
        entity: EntityName {
            edge,
            type_name: entity.body().name.clone(),
            id: None,
        },
        constraint,
    })
}

/// The error of a write that was overtaken until its tries were used up.
pub(super) fn overtaken(branch: &BranchName, tries: usize, conflict: WriteConflict) -> Error {
    Error::new(
        ErrorKind::WriteConflict,
        format!(
            "branch '{branch}' moved {tries} times while this write was prepared; nothing was written"
        ),
    )
    .with_hint("repeat it")
    .with_detail(|detail| detail.write_conflict = Some(conflict))
}

pub(super) fn has_moved(name: &BranchName, wanted: &CommitId, head: &CommitId) -> Error {
    Error::new(
        ErrorKind::Precondition,
        format!(
            "branch '{name}' has moved: expected {wanted}, head is {head}; nothing was written"
        ),
    )
    .with_hint("read again and decide")
    .with_detail(|detail| {
        detail.precondition = Some((wanted.to_string(), Some(head.to_string())));
    })
}
